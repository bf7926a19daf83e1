"""Form, options, requests and tunnels: the hooks of the client."""

import asyncio

from tornado import web
from traitlets.log import get_logger

from . import form
from .claims import TunnelsSettings
from .cluster import in_thread
from .errors import TELL_ADMINS, StartError, UnknownSystem, WrongHostKey, user_message
from .forgotten import Forgotten
from .forwarded import make_service, remove_service
from .login import login_of, taken_out, with_login
from .metrics import SYSTEMS
from .offer import PLAIN
from .owed import OwedStops
from .owner import SYSTEM_LABEL
from .received import safe_address
from .settings import OPTION_NAME, PREFIX, SERVER_NAME, Faults
from .systems import System


class Outposts:
    """The systems of this hub, and the hooks that the client calls."""

    KEYS = ("namePrefix", "authDir", "sshKey", "userOptions", "tunnels", "systems")
    HOOKS = (
        "options_form", "options_from_form", "apply_user_options", "pre_spawn_hook",
        "request_url", "request_headers", "request_kwargs", "request_kwargs_start", "custom_user_options",
        "custom_misc", "extra_labels", "failed_spawn_request_hook", "public_api_url", "ssh_during_startup", "ssh_node",
        "ssh_port", "ssh_username", "ssh_key", "ssh_forward_options", "ssh_recreate_at_start", "ssh_custom_svc",
        "ssh_custom_svc_remove", "update_start_response", "update_expected_path", "pre_poll_hook", "pre_stop_hook",
    )  # fmt: skip

    # With `outpost tunnels`, in place of the client's ssh.
    TUNNELS_HOOKS = ("ssh_custom_forward", "ssh_custom_forward_remove")

    def __init__(self, settings, file=None):
        self.file = file  # a DataFile that has the settings, None for those that never change
        faults = Faults()
        settings = dict(faults.map("custom.outposts", settings, self.KEYS))
        prefix = settings.get("namePrefix", "jupyterhub")
        self.prefix = faults.match("namePrefix", prefix, PREFIX, "[a-z0-9-], at most 22 characters")
        settings["authDir"] = faults.path("authDir", settings.get("authDir"))
        options = faults.list("userOptions", settings.get("userOptions"))
        self.user_options = tuple(
            faults.match(f"userOptions[{i}]", o, OPTION_NAME, "an option name") for i, o in enumerate(options)
        )
        self.tunnels = None
        if settings.get("tunnels") is not None:
            self.tunnels = TunnelsSettings("tunnels", settings["tunnels"], faults)
        settings["tunnels"] = self.tunnels
        systems = settings.get("systems")
        if not isinstance(systems, dict) or not systems:
            faults.add("systems", "must be a map with at least one system")
            systems = {}
        self.systems = {n: System(n, d, settings, faults) for n, d in systems.items()}
        # Servers, and what a user has chosen last, keep the name that a system had then.
        self.by_any_name = dict(self.systems)
        for name, system in self.systems.items():
            for former in system.former_names:
                if former in self.by_any_name:
                    faults.add(f"systems.{name}.formerNames", f"{former!r} is listed twice")
                self.by_any_name[former] = system
        faults.raise_any()
        self.owed = OwedStops(self.find, self.of)
        self.forgotten = Forgotten(self.tunnels, self.prefix) if self.tunnels else None

    def __deepcopy__(self, memo):
        # traitlets copies configured values, and with a hook the object that it is bound to. This object is shared.
        return self

    def refresh(self):
        """Takes over what has changed in the file of the data; what is wrong leaves the previous data in use."""
        if self.file:
            self.file.use(self._take)

    def _take(self, settings):
        fresh = Outposts(settings)
        if (fresh.prefix, fresh.tunnels) != (self.prefix, self.tunnels):
            raise ValueError("namePrefix and tunnels cannot change while the hub runs; restart it")
        systems = {}
        for name, system in fresh.systems.items():
            known = self._known(system)
            systems[name] = known.become(system) if known else system
        if fresh.tunnels and fresh.tunnels.dial_out_url != self.tunnels.dial_out_url:
            get_logger().warning("outposts - tunnels.dialOutUrl is used when the hub starts; restart it")
        self.systems, self.user_options = systems, fresh.user_options
        # Servers of a system that is gone run on, until they are stopped.
        self.by_any_name |= {name: systems[system.name] for name, system in fresh.by_any_name.items()}
        SYSTEMS.show(systems.values())

    def _known(self, system):
        """Returns the system that goes on as this one, None if it is new."""
        for name in (system.name, *system.former_names):
            known = self.by_any_name.get(name)
            if known and known.name == name:
                return known
        return None

    def find(self, name):
        """Returns the system that has or had a name, None if there is none."""
        self.refresh()
        return self.by_any_name.get(name)

    def system(self, user_options):
        """Returns the system that options name; StartError if they name none."""
        self.refresh()
        name = (user_options or {}).get("system")
        if isinstance(name, list) and len(name) == 1:
            # As JupyterHub stores the fields of a form, in servers that were started without this module.
            name = name[0]
        if name is None and len(self.systems) == 1:
            (name,) = self.systems
        if not isinstance(name, str) or name not in self.by_any_name:
            raise self._no_such_system()
        return self.by_any_name[name]

    def _no_such_system(self):
        return StartError(f"Choose one of these systems: {', '.join(sorted(self.systems))}.", 400)

    def of(self, spawner):
        return self.system(spawner.user_options)

    # Form and options.

    async def options_form(self, spawner):
        self.refresh()
        systems = sorted(self.systems.values(), key=lambda s: (s.display_name, s.name))
        if not spawner.name:
            systems = [s for s in systems if s.default_server]
        if not systems:
            return "<p>This hub starts named servers only. Go to its home page, enter a name, and add a server.</p>"
        offers = [o for o in await asyncio.gather(*(s.offer(spawner) for s in systems)) if not o.hidden]
        if not offers:
            return "<p>You may not start servers on any system of this hub.</p>"
        return form.render(offers, self.last_options(spawner))

    def last_options(self, spawner):
        """Returns the options of the latest start of this server, else of the user's latest server, as strings."""
        servers = [s for s in spawner.user.orm_user._orm_spawners if s.user_options and s.last_activity]
        servers.sort(key=lambda s: s.last_activity, reverse=True)
        for options in (spawner.user_options, *(s.user_options for s in servers)):
            try:
                system = self.system(options)
            except StartError:
                continue
            if options and system.name in self.systems:
                return {**{k: v for k, v in options.items() if isinstance(v, str)}, "system": system.name}
        return {}

    async def options_from_form(self, form_data, spawner):
        # A form sends a list of strings for each field; all other code expects one string.
        system = self.system({"system": (form_data.get("system") or [None])[0]})
        offer = await system.offer(spawner)
        options = self.checked(taken_out(form.options_from(form_data, offer, self.user_options)), offer)
        spawner.offered = options, offer
        return options

    def checked(self, user_options, offer):
        """Returns the options of a start with defaults filled in, all of them strings; StartError if one is invalid.

        The login beside them is beside the result.
        """
        if offer.system.name not in self.systems:
            raise self._no_such_system()
        available = ("system", "flavor", *self.user_options)
        available += tuple(n for n in offer.option_names(user_options) if n not in available)
        for name, value in user_options.items():
            if name not in available:
                raise StartError(f"Unknown option {name[:63]!r}. Available options: {', '.join(available)}.", 400)
            if name != "system" and not (isinstance(value, str) and len(value) <= 256 and value.isprintable()):
                raise StartError(f"Option {name} must be a string of at most 256 printable characters.", 400)
        options = offer.start({**user_options, "system": offer.system.name})
        offer.check_login(options, login_of(user_options))
        return with_login(options, login_of(user_options))

    async def apply_user_options(self, spawner, user_options):
        (options, offer), spawner.offered = spawner.offered, (None, None)
        spawner.unasked = None
        if options is not user_options:
            offer = None
        try:
            system = self.system(user_options)
            if offer is None and (offer := system.offer_unasked(user_options)):
                spawner.unasked = user_options
            offer = offer or await system.offer(spawner)
            if offer.unheard and set(user_options) <= PLAIN:
                spawner.unasked = user_options  # its flavors may be known by the time it refuses a start without one
            self._use(spawner, user_options, offer)
        except StartError:
            self._use_none(spawner, user_options)
            raise

    async def ask_after_refusal(self, spawner):
        """Asks the outpost about a start that was sent unasked and refused. Reports whether it has other options now.

        Raises StartError if a start that asks before would have been refused: both are in the same words.
        """
        (options, spawner.unasked), sent = (spawner.unasked, None), spawner.user_options
        try:
            offer = await self.of(spawner).offer(spawner)
            self._use(spawner, options, offer)
        except StartError:
            self._use_none(spawner, sent)
            raise
        if offer.unheard:
            spawner.unasked = options  # it may have an answer by the next refusal
        return spawner.user_options != sent

    def _use(self, spawner, user_options, offer):
        options = self.checked(user_options, offer)
        spawner.login, options = login_of(options), dict(options)
        spawner.user_options = options
        spawner.own_image = offer.own_image(options)
        # The stored options too: the route that renews tunnels reads the system from there. What is set costs the hub a
        # look at its database, even if it is the same.
        if spawner.orm_spawner.user_options != options:
            spawner.orm_spawner.user_options = options

    def _use_none(self, spawner, refused):
        # JupyterHub has stored the refused options already, and its API returns them.
        system = refused.get("system")
        kept = {"system": system} if isinstance(system, str) and system in self.by_any_name else {}
        spawner.user_options = spawner.orm_spawner.user_options = kept
        spawner.login = None

    def pre_spawn_hook(self, spawner):
        if not SERVER_NAME.fullmatch(spawner.name):
            raise StartError(
                "Invalid server name. Use lower-case letters, digits, and '-' between them, at most 32 characters.", 400
            )
        spawner.start_error = None
        spawner.kube_state = None
        system = self.of(spawner)
        if not spawner.name and not system.default_server:
            raise StartError(f"{system.display_name} runs named servers only. Give the server a name.", 400)

    # Requests to the outpost.

    def request_url(self, spawner, user_options):
        return self.system(user_options).url

    def request_headers(self, spawner, user_options):
        return {"Authorization": self.system(user_options).authorization()}

    def request_kwargs(self, spawner, user_options):
        return self.system(user_options).request_options()

    def request_kwargs_start(self, spawner, user_options):
        # The outpost answers a start when the pod runs, after its images have been pulled.
        return {**self.request_kwargs(spawner, user_options), "request_timeout": spawner.start_timeout}

    def custom_user_options(self, spawner, user_options):
        flavor = user_options.get("flavor") or self.system(user_options).flavor
        return {"flavor": flavor} if flavor else {}

    def custom_misc(self, spawner, user_options):
        return {"image": spawner.own_image} if spawner.own_image else {}

    def extra_labels(self, spawner, user_options):
        # On the pod there and on the Service here: they show whether a system that is to be removed still has servers.
        return {SYSTEM_LABEL: self.system(user_options).name}

    def failed_spawn_request_hook(self, spawner, exception):
        spawner.start_error = StartError(user_message(self.of(spawner), exception))

    def public_api_url(self, spawner):
        return self.of(spawner).hub_api_url

    # Tunnels. A system without `ssh` is reached directly.

    def ssh_during_startup(self, spawner):
        return self.of(spawner).tunnel

    def ssh_node(self, spawner, port_forward_info):
        return self.of(spawner).ssh_host

    def ssh_port(self, spawner, port_forward_info):
        return self.of(spawner).ssh_port

    def ssh_username(self, spawner, port_forward_info):
        return self.of(spawner).ssh_user

    def ssh_key(self, spawner, port_forward_info):
        return self.of(spawner).ssh_key

    def ssh_forward_options(self, spawner, port_forward_info):
        return self.of(spawner).ssh_options

    # The Service for the forwarded port of the hub. The client's own manifest has a field that newer Kubernetes
    # packages refuse, and its calls block the hub's event loop.

    async def ssh_custom_svc(self, spawner, port_forward_info):
        labels = {"component": "singleuser-server", **self.extra_labels(spawner, spawner.user_options)}
        host = f"{spawner.svc_name}.{spawner.namespace}.svc"
        if self.tunnels:
            system = self.of(spawner)
            await system.tunnels.serve(spawner, labels, system.former_names)
            return host, spawner.port
        await in_thread(make_service, spawner.svc_name, spawner.namespace, spawner.port, labels)
        return host, spawner.port

    async def ssh_custom_svc_remove(self, spawner, port_forward_info):
        if self.tunnels:
            await self.of(spawner).tunnels.remove(spawner.svc_name, spawner.namespace)
        else:
            await in_thread(remove_service, spawner.svc_name, spawner.namespace)

    async def ssh_custom_forward(self, spawner, port_forward_info):
        """Does nothing: the Service that the client makes next is all that the tunnels need."""

    async def ssh_custom_forward_remove(self, spawner, port_forward_info):
        """Does nothing, as above."""

    async def update_start_response(self, spawner, response):
        """Runs after the outpost's answer and before the tunnel is made."""
        system = self.of(spawner)
        if not safe_address(response):
            spawner.log.error(f"{spawner._log_name} - {system.name} did not answer with the server's address")
            message = f"{system.display_name} did not return the server's address. {TELL_ADMINS}"
            spawner.start_error = StartError(message)
            raise spawner.start_error
        if system.tunnel:
            try:
                # The client would connect too, but gives up after one second.
                await system.tunnels.connect(spawner)
            except ConnectionError as e:
                spawner.log.error(f"{spawner._log_name} - cannot connect to {system.name}: {e}")
                message = f"The hub cannot open an SSH connection to {system.display_name}. Try again later."
                if system.dials_out:
                    message = f"{system.display_name} is not connected to this hub. Try again later."
                if isinstance(e, UnknownSystem):
                    message = f"{system.display_name} is not known to the hub's tunnels yet. Try again in a minute."
                if isinstance(e, WrongHostKey):
                    # Another attempt would not help, and an unknown server must not get the user's data.
                    message = (
                        f"The SSH host key of {system.display_name} is not the one that this hub knows, "
                        f"so nothing is sent there. {TELL_ADMINS}"
                    )
                spawner.start_error = StartError(message)
                raise spawner.start_error from e
        return response

    async def update_expected_path(self, spawner, url):
        """Runs after the tunnel has been made."""
        if spawner.port_forward_info:
            await self.of(spawner).tunnels.keep(spawner)
        return url

    async def ssh_recreate_at_start(self, spawner):
        """Runs once for each running server after a restart of the hub, which has ended its tunnels.

        After it, JupyterHub stops a server that it does not reach within http_timeout. A short loss of the network
        would then cost users their work, so the hub keeps trying here first. It always returns False: the client
        would make the tunnel itself, and stop the server if its only attempt failed.
        """
        if spawner.port_forward_info:
            await self.of(spawner).tunnels.reopen(spawner)
        return False

    async def pre_poll_hook(self, spawner):
        """Makes the tunnel of a running server for which this process has not made one."""
        if spawner.port_forward_info and spawner.ready and not spawner.call_during_startup:
            tunnels = self.of(spawner).tunnels
            if spawner not in tunnels.servers:
                try:
                    await tunnels.renew(spawner)
                except (ConnectionError, web.HTTPError) as e:
                    spawner.log.warning(f"{spawner._log_name} - no tunnel, retrying: {e}")
        return True

    def pre_stop_hook(self, spawner):
        system = self.of(spawner)
        system.watch(spawner).forget(spawner)
        system.tunnels.servers.discard(spawner)
