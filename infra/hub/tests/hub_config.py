"""JupyterHub in the tests: the module as in production, and nothing that requires a cluster."""

import json
import os
import time
from pathlib import Path

import kubernetes
import outpost_hub
from jupyterhub.auth import DummyAuthenticator
from no_proxy import NoProxy
from traitlets.config import Config

folder = Path(os.environ["HUB_FOLDER"])
port = int(os.environ["HUB_PORT"])


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.base_url = os.environ["HUB_BASE_URL"] + "/"
c.JupyterHub.default_url = os.environ["HUB_BASE_URL"] + "/hub/home"
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")


class Login(DummyAuthenticator):
    """Whoever logs in has an auth state for which the client would send the access token."""

    async def authenticate(self, handler, data):
        found = await super().authenticate(handler, data)
        found = found if isinstance(found, dict) else {"name": found}
        return {**found, "auth_state": {"access_token": "t0ken", "outpost_flavors": {"small": {}}}}


c.JupyterHub.authenticator_class = Login
c.Authenticator.enable_auth_state = True
c.CryptKeeper.keys = ["0" * 64]
c.Authenticator.allow_all = True
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.services = [{"name": "tests", "api_token": "5" * 64}]
SCOPES = [
    "admin:users", "admin:groups", "admin:servers", "admin:server_state", "access:servers", "tokens", "shares",
    "read:metrics", "list:services", "read:services", "custom:outposts:list",
]  # fmt: skip
c.JupyterHub.load_roles = [{"name": "tests", "services": ["tests"], "scopes": SCOPES}]

c.OutpostSpawner.start_timeout = 60
c.OutpostSpawner.http_timeout = 60
c.OutpostSpawner.custom_poll_interval = 1000


# Seconds by which the hub's clock is ahead of this machine's.
clock = folder / "clock"
machine_time = time.time
time.time = lambda: machine_time() + (float(clock.read_text() or 0) if clock.exists() else 0)


# The cluster's API is a fake; its client is the real Kubernetes package.
def load_incluster_config():
    configuration = kubernetes.client.Configuration()
    configuration.host = os.environ["KUBERNETES_API"]
    kubernetes.client.Configuration.set_default(configuration)


kubernetes.config.load_incluster_config = load_incluster_config
outpost_hub.cluster.get_name = outpost_hub.forwarded.get_name = lambda key: key
outpost_hub.cluster.NAMESPACE = folder / "namespace"
outpost_hub.cluster.NAMESPACE.write_text("jupyter")
outpost_hub.systems.SOCKETS = os.environ["HUB_SOCKETS"]


# The client runs ssh as UID 1000 if it can, the hub's user in its image. Tests that run as root must behave like a hub
# that does not, or some ssh processes would belong to another user.
def setuid(uid):
    raise PermissionError


os.setuid = setuid

outpost_hub.tunnels.CHECK_SECONDS = 0.5
outpost_hub.data.LOOK_SECONDS = 0
outpost_hub.claims.REST_SECONDS = float(os.environ.get("HUB_REST_SECONDS", outpost_hub.claims.REST_SECONDS))
if "HUB_FORGOTTEN_SECONDS" in os.environ:
    outpost_hub.forgotten.LOOK_SECONDS = 0.5
    outpost_hub.forgotten.FORGOTTEN_SECONDS = float(os.environ["HUB_FORGOTTEN_SECONDS"])
outpost_hub.owed.FIRST_PAUSE = 0.5
outpost_hub.owed.PAUSE_SECONDS = 2
# What a test adds, as `hub` of zero-to-jupyterhub's values has it.
added = folder / "values.json"
if added.exists():
    values = json.loads(added.read_text())
    c.merge(Config(values.get("config", {})))
    c.JupyterHub.load_roles += [{"name": name, **role} for name, role in values.get("loadRoles", {}).items()]
outpost_hub.configure(c, folder / "settings.json")

make_service = c.OutpostSpawner.ssh_custom_svc


async def service(spawner, port_forward_info):
    """Makes the Service as usual. Its name does not resolve here, so the hub gets an address of this machine."""
    host, port = await make_service(spawner, port_forward_info)
    assert host == f"{spawner.svc_name}.jupyter.svc"
    return os.environ.get("HUB_NODES", "127.0.0.1").format(spawner.user.id), port


c.OutpostSpawner.ssh_custom_svc = service
c.OutpostSpawner.namespace = "jupyter"
