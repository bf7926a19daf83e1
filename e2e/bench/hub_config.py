"""JupyterHub as e2e/bench measures it: the real one, with the outposts' module or with KubeSpawner.

The cluster is simulated and servers answer at one port of this machine. There is no proxy process: the hub does what
it does for routes, with nobody to tell them to.
"""

import json
import os
from pathlib import Path

from no_proxy import NoProxy
from tornado.httpclient import AsyncHTTPClient

folder = Path(os.environ["HUB_FOLDER"])
port = int(os.environ["HUB_PORT"])
lab_port = int(os.environ["LAB_PORT"])

c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.cleanup_servers = False
c.JupyterHub.log_level = "WARN"
# The answer to a start comes when the server is ready, so that nobody has to ask.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 600}
c.JupyterHub.concurrent_spawn_limit = 0
# Else each request of the measurement costs the hub thousands of hashes of its token.
c.JupyterHub.trust_user_provided_tokens = True
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["HUB_TOKEN"]}]
scopes = ["admin:users", "admin:servers", "access:servers", "tokens"]
c.JupyterHub.load_roles = [{"name": "bench", "services": ["bench"], "scopes": scopes}]
# As zero-to-jupyterhub sets it.
AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")
c.Spawner.start_timeout = 600
c.Spawner.http_timeout = 120

if os.environ["HUB_SPAWNER"] == "KubeSpawner":
    import kubespawner

    if not kubespawner.__file__.startswith(str(folder / "kubespawner.whl")):
        raise ImportError(f"{kubespawner.__file__} is another release of KubeSpawner")
    c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
    c.KubeSpawner.port = lab_port
    c.KubeSpawner.namespace = os.environ["HUB_NAMESPACE"]
    c.KubeSpawner.image = "localhost/outposts/pause:1"
else:
    import kubernetes
    import outpost_hub

    # The hub's own cluster is simulated; its client is the real Kubernetes package.
    def load_incluster_config():
        configuration = kubernetes.client.Configuration()
        configuration.host = os.environ["KUBERNETES_API"]
        kubernetes.client.Configuration.set_default(configuration)

    kubernetes.config.load_incluster_config = load_incluster_config
    outpost_hub.configure(c, json.loads((folder / "settings.json").read_text()))
    c.OutpostSpawner.custom_port = lab_port
    c.OutpostSpawner.namespace = os.environ["HUB_NAMESPACE"]
    make_service = c.OutpostSpawner.ssh_custom_svc

    async def service(spawner, port_forward_info):
        """Makes the Service as usual. Its name does not resolve here: the hub gets the address of all servers."""
        _, port = await make_service(spawner, port_forward_info)
        return "127.0.0.1", port

    c.OutpostSpawner.ssh_custom_svc = service
