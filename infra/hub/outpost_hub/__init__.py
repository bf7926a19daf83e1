"""Connects JupyterHub to its outposts.

This module is the same for every installation. It is mounted into the hub's pod, and two lines of configuration
start it: `import outpost_hub` and `outpost_hub.configure(c, "/etc/outpost/data/outposts.yaml")`. What differs between
installations is data: that file, and files from mounted Secrets. Data is checked before it is used; invalid data stops
the hub with a message that lists every fault. When the file changes, systems come and go without a restart of the hub;
what is wrong then leaves the previous data in use, with a line in the log. Data that never changes may be given in
place of the file, such as `get_config("custom.outposts")`, a value of the Helm values.

All keys of the data; other keys are refused:

    namePrefix: jupyterhub          # optional; first part of the names of pods and Services: [a-z0-9-], at
                                    # most 22 characters, different for each hub that shares an outpost
    authDir: /etc/outpost/auth      # one file for each system, named after it, with "user:password"; read
                                    # for every request, so that a rotated password needs no restart
    sshKey: /etc/outpost/ssh/ssh-privatekey    # required if a system has `ssh` and there are no `tunnels`
    userOptions: [profile]          # optional; names of options that a start may set besides system and flavor
    tunnels:                        # optional; `outpost tunnels` leads to servers, in place of ssh in this pod
      name: hub                     # OUTPOST_TUNNELS_NAME there
      url: http://outpost-tunnels.jupyter.svc:8081   # where they say what has become of Services
      ports: 20000-29999            # optional; OUTPOST_TUNNELS_PORTS there
      dialOutUrl: http://outpost-tunnels.jupyter.svc:8082   # optional; where outposts connect that dial out: the hub's
                                    # public URL leads there, at /services/outposts, from the hub's start on
    systems:
      remote:                       # [a-z0-9-], at most 32 characters; what a start calls `system`
        formerNames: [north]        # optional; names that servers of this system were started under before
        displayName: Remote cluster # optional; defaults to the name
        description: Has GPUs.      # optional; one line for the form
        connect: dialOut            # optional; the outpost connects to the tunnels, in place of `ssh` and `caFile`; `url`
                                    # is http://outpost-tunnels.jupyter.svc:8083/systems/NAME/services then
        url: https://10.0.0.3:30080/services             # the outpost's API
        hubApiUrl: https://hub.example.org/hub/api       # this hub's API, as servers on that system reach it
        caFile: /etc/outpost/ca/remote.pem               # optional; defaults to certifi's public CAs
        defaultServer: true         # optional; false if unnamed servers cannot run there (the Python outpost,
                                    # an Ingress that merges slashes)
        concurrentStarts: 10        # optional; how many starts this hub sends there at once, 1 to 500; the others wait,
                                    # as part of their start_timeout. Defaults to JupyterHub.concurrent_spawn_limit;
                                    # another number is for starts from then on
        sendAuthState: [access_token]   # optional; keys of the user's auth state that the outpost gets with a start and
                                    # with a question for its catalog, beside name, groups and admin
        flavor: small               # optional; used if a start names none; defaults to the first of `flavors`
        flavors:                    # optional; the only ones offered and accepted, also of those in the outpost's
                                    # catalog. What has no text here has that of the catalog
          - name: small             # [A-Za-z0-9._-], at most 63 characters
            displayName: Small      # optional; defaults to the name
            description: 1 core     # optional
        ssh:                        # optional; without it, servers on that system are reached directly. With `tunnels`,
                                    # what follows is for ssh alone, and the tunnels know it from their own file
          host: 10.0.0.3
          port: 30022               # optional; defaults to 22
          user: jhuboutpost         # optional
          knownHosts: /etc/outpost/known_hosts/remote    # optional; pins the host key. Its lines begin with the
                                    # alias outpost-<system>. Without it, the first key seen is accepted.

The arguments of every hook are those of jupyterhub-outpostspawner 2.2.11 and 2.2.13, "the client" below.
"""

import functools
from importlib.metadata import version
from pathlib import Path

from jupyterhub.apihandlers import default_handlers
from jupyterhub.apihandlers.users import UserServerAPIHandler
from traitlets.log import get_logger

from .versions import check_pair

# Before the imports of the client: there, a pair that does not fit fails with a message that does not name the cause.
_pair_warning = check_pair(
    version("jupyterhub"), version("jupyterhub-outpostspawner"), version("jupyterhub-forwardbasespawner")
)

from .api import ROUTE, SCOPES, ListOutposts  # noqa: E402
from .data import DataFile  # noqa: E402
from .defaults import Appended, Templates, set_defaults  # noqa: E402
from .events import EVENT_ROUTES, Events  # noqa: E402
from .form import take_large_forms  # noqa: E402
from .home import home  # noqa: E402
from .login import Servers, keep_out_of_database  # noqa: E402
from .metrics import SYSTEMS  # noqa: E402
from .outposts import Outposts  # noqa: E402
from .pages import template_folder  # noqa: E402
from .spawner import Spawner  # noqa: E402

# The client's packages add routes. All but these are closed.
PLUGINS = ("outpostspawner", "forwardbasespawner")
SERVICE = "outposts"  # of JupyterHub: its URL is /services/outposts
OPEN_ROUTES = (*EVENT_ROUTES, r"/api/servers", r"/api/recreateforward/([^/]+)")


def configure(c, settings):
    """Configures JupyterHub for the outposts in `settings`: the path of a YAML file, or what would be in it.

    Raises ValueError with every fault of the settings.
    """
    if _pair_warning:
        get_logger().warning(_pair_warning)
    file = DataFile(settings) if isinstance(settings, (str, Path)) else None
    outposts = Outposts(file.begin() if file else settings, file)
    Spawner.outposts = outposts
    outposts.owed.begin_with_hub()
    if outposts.forgotten:
        outposts.forgotten.begin_with_hub()
    SYSTEMS.show(outposts.systems.values())
    keep_out_of_database()
    take_large_forms()
    set_defaults(c)

    c.JupyterHub.spawner_class = Spawner
    c.JupyterHub.allow_named_servers = True
    for hook in (*Outposts.HOOKS, *(Outposts.TUNNELS_HOOKS if outposts.tunnels else ())):
        setattr(c.OutpostSpawner, hook, getattr(outposts, hook))
    # Name of the Service here and of the pod there, made of the user's ID and the server's name.
    c.OutpostSpawner.svc_name_template = f"{outposts.prefix}-{{userid}}-{{servername}}"

    if outposts.tunnels and outposts.tunnels.dial_out_url:
        # Outposts that dial out prove who they are by SSH, so that nobody logs in there.
        service = {"name": SERVICE, "url": outposts.tunnels.dial_out_url, "display": False}
        c.JupyterHub.services = Appended(service).merge_into(c.JupyterHub.services)

    c.JupyterHub.template_paths = Templates(template_folder()).merge_into(c.JupyterHub.template_paths)
    c.JupyterHub.template_vars.update({"outposts_home": lambda user: functools.partial(home, outposts, user)})
    c.JupyterHub.custom_scopes.update(SCOPES)

    ListOutposts.outposts = outposts
    default_handlers[:] = [
        (handler[0], _answering(*handler[:2]), *handler[2:])
        for handler in default_handlers
        if handler[1].__module__.split(".")[0] not in PLUGINS or handler[0] in OPEN_ROUTES
    ]
    default_handlers.append((ROUTE, ListOutposts))


def _answering(route, handler):
    """Returns the class that answers requests of a route, in place of that which JupyterHub or the client has."""
    if route in EVENT_ROUTES:
        return Events
    return Servers if handler is UserServerAPIHandler else handler
