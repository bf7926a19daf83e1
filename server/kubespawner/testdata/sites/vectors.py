"""Records what KubeSpawner makes for the users of each site in this folder, into vectors.json.gz.

Run once:

    python3 -m venv venv && venv/bin/pip install jupyterhub-kubespawner==7.1.0 pyyaml
    venv/bin/python vectors.py

Nothing is asked of a cluster: the objects are those that KubeSpawner would create.
"""

import asyncio
import gzip
import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import yaml
from jupyterhub.utils import url_escape_path, url_path_join
from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner
from kubespawner import spawner as module
from kubespawner.objects import make_namespace, make_owner_reference
from traitlets.config import Config

FOLDER = Path(__file__).parent
HUB = SimpleNamespace(
    public_host="", url="http://hub:8081/hub/", base_url="/hub/", api_url="http://hub:8081/hub/api"
)
module.load_config = lambda **_: None
module.shared_client = lambda _: None


def spawner(options, user):
    """Returns the spawner of a user's server in a hub that runs in namespace jhub."""
    config = Config(KubeSpawner=Config(**{"namespace": "jhub", **options}))
    who = SimpleNamespace(
        name=user["name"],
        id=user["id"],
        escaped_name=url_escape_path(user["name"]),
        url=url_path_join("/user", url_escape_path(user["name"]), ""),
    )
    orm = SimpleNamespace(name=user.get("server", ""), server=None, user_options=None)
    made = KubeSpawner(
        _mock=True, config=config, user=who, hub=HUB, orm_spawner=orm, api_token="TOKEN", oauth_client_id="client"
    )
    made.user_options = user.get("user_options", {})
    return made


async def record(options, user):
    """Returns the names and objects of one start."""
    s = spawner(options, user)
    await s.load_user_options()
    client = ApiClient()
    plain = client.sanitize_for_serialization
    pod = await s.get_pod_manifest()
    made = {
        "names": {
            "pod_name": s.pod_name,
            "namespace": s.namespace,
            "pvc_name": s.pvc_name,
            "dns_name": s.dns_name,
            "secret_name": s.secret_name,
        },
        "pod": plain(pod),
        "start_returns": s._get_pod_url({**plain(pod), "status": {"podIP": "10.0.0.9"}}),
    }
    if s.storage_pvc_ensure:
        made["pvc"] = plain(s.get_pvc_manifest())
    if s.services_enabled:
        owner = make_owner_reference(s.pod_name, "11111111-2222-3333-4444-555555555555")
        made["service"] = plain(s.get_service_manifest(owner, s.port))
    if s.enable_user_namespaces:
        labels, annotations = s._expand_all(s.user_namespace_labels), s._expand_all(s.user_namespace_annotations)
        made["namespace_object"] = plain(make_namespace(s.namespace, labels=labels, annotations=annotations))
    await client.close()
    return made


async def main():
    names = ("jupyterhub-kubespawner", "jupyterhub", "kubernetes_asyncio")
    vectors = {"meta": {name: version(name) for name in names}, "sites": {}}
    for path in sorted(FOLDER.glob("*.yaml")):
        site = yaml.safe_load(path.read_text())
        vectors["sites"][path.stem] = [await record(site["options"], user) for user in site["users"]]
    text = json.dumps(vectors, sort_keys=True, separators=(",", ":")).encode()
    FOLDER.joinpath("vectors.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    print(len(vectors["sites"]), "sites", vectors["meta"])


asyncio.run(main())
