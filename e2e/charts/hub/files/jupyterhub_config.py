"""Configures JupyterHub from the values of the Helm release: what zero-to-jupyterhub does, as far as it is needed here."""

import os
import sys
from urllib.parse import urlparse

from tornado.httpclient import AsyncHTTPClient

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from z2jh import get_config, get_name, get_secret_value  # noqa: E402

# pycurl's client verifies certificates as the rest of the system does, and is faster.
AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")

base_url = get_config("hub.baseUrl", "/").rstrip("/")
c.JupyterHub.base_url = base_url + "/"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = f"http://{get_name('hub')}:{os.environ['HUB_SERVICE_PORT']}"
c.JupyterHub.ip = os.environ["PROXY_PUBLIC_SERVICE_HOST"]
c.JupyterHub.port = int(os.environ["PROXY_PUBLIC_SERVICE_PORT"])
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}

c.ConfigurableHTTPProxy.api_url = f"http://{get_name('proxy-api')}:{os.environ['PROXY_API_SERVICE_PORT']}"
c.ConfigurableHTTPProxy.should_start = False

database = get_config("hub.db.type")
if database == "sqlite-pvc":
    c.JupyterHub.db_url = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
elif database == "sqlite-memory":
    c.JupyterHub.db_url = "sqlite://"
else:
    c.JupyterHub.db_url = get_config("hub.db.url")
    if urlparse(c.JupyterHub.db_url).scheme.startswith("mysql") and get_secret_value("hub.db.password"):
        c.JupyterHub.db_kwargs = {"connect_args": {"password": get_secret_value("hub.db.password")}}

c.JupyterHub.cookie_secret = bytes.fromhex(get_secret_value("hub.config.JupyterHub.cookie_secret"))
c.CryptKeeper.keys = [k for k in get_secret_value("hub.config.CryptKeeper.keys", "").split(";") if k]

for trait, value in (
    ("active_server_limit", get_config("hub.activeServerLimit")),
    ("allow_named_servers", get_config("hub.allowNamedServers")),
    ("authenticate_prometheus", get_config("hub.authenticatePrometheus")),
    ("concurrent_spawn_limit", get_config("hub.concurrentSpawnLimit")),
    ("named_server_limit_per_user", get_config("hub.namedServerLimitPerUser")),
    ("redirect_to_server", get_config("hub.redirectToServer")),
    ("shutdown_on_logout", get_config("hub.shutdownOnLogout")),
    ("template_paths", get_config("hub.templatePaths")),
    ("template_vars", get_config("hub.templateVars")),
):
    if value is not None:
        setattr(c.JupyterHub, trait, value)
c.Spawner.consecutive_failure_limit = get_config("hub.consecutiveFailureLimit", 0)
c.Spawner.debug = get_config("debug.enabled", False)

c.JupyterHub.services = []
c.JupyterHub.load_roles = []

if get_config("cull.enabled"):
    command = [
        sys.executable,
        "-m",
        "jupyterhub_idle_culler",
        f"--url=http://localhost:8081{base_url}/hub/api",
        f"--timeout={get_config('cull.timeout')}",
        f"--cull-every={get_config('cull.every')}",
        f"--concurrency={get_config('cull.concurrency')}",
    ]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    if get_config("cull.users"):
        command.append("--cull-users")
        scopes.append("admin:users")
    if not get_config("cull.adminUsers"):
        command.append("--cull-admin-users=false")
    if get_config("cull.removeNamedServers"):
        command.append("--remove-named-servers")
    if get_config("cull.maxAge"):
        command.append(f"--max-age={get_config('cull.maxAge')}")
    c.JupyterHub.services.append({"name": "jupyterhub-idle-culler", "command": command})
    c.JupyterHub.load_roles.append(
        {"name": "jupyterhub-idle-culler", "services": ["jupyterhub-idle-culler"], "scopes": scopes}
    )

for name, service in get_config("hub.services", {}).items():
    service = {key: value for key, value in service.items() if key != "apiToken" and value is not None}
    c.JupyterHub.services.append(
        {"name": name, "api_token": get_secret_value(f"hub.services.{name}.apiToken"), **service}
    )
for name, role in get_config("hub.loadRoles", {}).items():
    c.JupyterHub.load_roles.append({"name": name, **role})

# What came as a Secret's own entry stays as it was read there.
ELSEWHERE = {"ConfigurableHTTPProxy": {"auth_token"}, "CryptKeeper": {"keys"}, "JupyterHub": {"cookie_secret"}}
for section, settings in get_config("hub.config", {}).items():
    for trait, value in (settings or {}).items():
        if trait not in ELSEWHERE.get(section, ()):
            setattr(c[section], trait, value)

for name, text in sorted(get_config("hub.extraConfig", {}).items()):
    exec(compile(text, f"hub.extraConfig.{name}", "exec"))
