"""The systems of a hub: one for each outpost."""

import base64
import shutil
from pathlib import Path

import certifi

from .catalogs import Catalogs
from .claims import Claims
from .client import MAX_STARTS, Client
from .curl import prepare_curl
from .errors import TELL_ADMINS, StartError
from .identity import ALWAYS, identity
from .offer import PLAIN, Offer
from .polls import Polls
from .profiles import read_profiles
from .running import configured
from .settings import FLAVOR_NAME, OPTION_NAME, SSH_HOST, SSH_USER, SYSTEM_NAME
from .tunnels import CONNECT_SECONDS, Tunnels
from .watch import Watch

DIAL_OUT = "dialOut"  # of `connect`
SOCKETS = "/tmp"  # folder of the control sockets of ssh; the path of a socket has at most 108 characters


class Flavor:
    """Resources that a user picks by name. Only the outpost knows what they are."""

    KEYS = ("name", "displayName", "description")

    def __init__(self, where, data, faults):
        data = faults.map(where, data, self.KEYS)
        self.name = faults.match(f"{where}.name", data.get("name"), FLAVOR_NAME, "a flavor name")
        self.display_name = faults.text(f"{where}.displayName", data.get("displayName"), self.name)
        self.description = faults.text(f"{where}.description", data.get("description"), "")


class System:
    """One outpost: its address, the hub's address as its servers see it, and how to tunnel to it."""

    KEYS = (
        "formerNames", "displayName", "description", "connect", "url", "hubApiUrl", "caFile", "defaultServer",
        "concurrentStarts", "flavor", "flavors", "profiles", "sendAuthState", "ssh",
    )  # fmt: skip
    SSH_KEYS = ("host", "port", "user", "knownHosts")
    GOES_ON = ("_client", "_watch", "catalogs", "polls", "tunnels")  # when the data changes

    def __init__(self, name, data, settings, faults):
        where = f"systems.{name}"
        data = faults.map(where, data, self.KEYS)
        self.name = faults.match(where, name, SYSTEM_NAME, "a system name")
        former = faults.list(f"{where}.formerNames", data.get("formerNames"))
        self.former_names = [
            faults.match(f"{where}.formerNames[{i}]", n, SYSTEM_NAME, "a system name") for i, n in enumerate(former)
        ]
        self.display_name = faults.text(f"{where}.displayName", data.get("displayName"), self.name)
        self.description = faults.text(f"{where}.description", data.get("description"), "")
        self.url = faults.url(f"{where}.url", data.get("url"))
        self.hub_api_url = faults.url(f"{where}.hubApiUrl", data.get("hubApiUrl"))
        self.ca_file = None
        if data.get("caFile") not in (None, ""):
            self.ca_file = faults.file(f"{where}.caFile", data["caFile"])
        self.default_server = faults.flag(f"{where}.defaultServer", data.get("defaultServer"), True)
        self.concurrent_starts = None
        if data.get("concurrentStarts") is not None:
            self.concurrent_starts = faults.count(f"{where}.concurrentStarts", data["concurrentStarts"], MAX_STARTS)
        sent = faults.list(f"{where}.sendAuthState", data.get("sendAuthState"))
        self.send_auth_state = tuple(
            faults.match(f"{where}.sendAuthState[{i}]", n, OPTION_NAME, "an auth state key") for i, n in enumerate(sent)
        )
        for name in set(self.send_auth_state) & set(ALWAYS):
            faults.add(f"{where}.sendAuthState", f"{name!r} is always sent")
        self._client = self._watch = None
        self.catalogs = Catalogs(self)
        self.polls = Polls()
        self.auth_file = Path(settings["authDir"]) / self.name
        self._flavors(where, data, faults)
        self.profiles = read_profiles(f"{where}.profiles", data.get("profiles"), faults)

        tunnels = settings.get("tunnels")
        self.tunnels = Claims(self.name, tunnels) if tunnels else Tunnels(self.name)
        self.dials_out = self._dials_out(where, data, tunnels, faults)
        self.tunnel = self.dials_out or data.get("ssh") is not None
        if data.get("ssh") is not None:
            self._ssh(f"{where}.ssh", data["ssh"], settings, faults)

    @staticmethod
    def _dials_out(where, data, tunnels, faults):
        """Returns whether the outpost makes the connections, to the tunnels of this hub."""
        connect = data.get("connect")
        if connect in (None, ""):
            return False
        if connect != DIAL_OUT:
            faults.add(f"{where}.connect", f"{connect!r} is not {DIAL_OUT}; leave it out for a system with an address")
        if not tunnels:
            faults.add(f"{where}.connect", "needs `tunnels`, to which the outpost connects")
        for key in ("caFile", "ssh"):
            if data.get(key) is not None:
                faults.add(f"{where}.{key}", f"has no effect with connect: {DIAL_OUT}")
        return True

    def become(self, other):
        """Takes over the data of another, and keeps what goes on. Returns itself."""
        dropped = set(self.former_names) - set(other.former_names)
        if other.name != self.name or dropped:
            self.tunnels.servers.clear()  # the next look at each renews what has a name that is gone
        if other.concurrent_starts != self.concurrent_starts:
            self._client = None  # the next request makes one; what is under way ends in that which it has
        vars(self).update({name: value for name, value in vars(other).items() if name not in self.GOES_ON})
        self.tunnels.system = self.name
        return self

    def _flavors(self, where, data, faults):
        flavors = faults.list(f"{where}.flavors", data.get("flavors"))
        found = [Flavor(f"{where}.flavors[{i}]", f, faults) for i, f in enumerate(flavors)]
        self.flavors = {f.name: f for f in found}
        if len(self.flavors) != len(found):
            faults.add(f"{where}.flavors", "a name is listed twice")
        self.flavor = next(iter(self.flavors), None)
        if data.get("flavor") not in (None, ""):
            self.flavor = faults.match(f"{where}.flavor", data["flavor"], FLAVOR_NAME, "a flavor name")
            if self.flavors and self.flavor not in self.flavors:
                faults.add(f"{where}.flavor", f"{self.flavor!r} is not one of `flavors`")

    def _ssh(self, where, data, settings, faults):
        data = faults.map(where, data, self.SSH_KEYS)
        self.ssh_host = faults.match(f"{where}.host", data.get("host"), SSH_HOST, "a host name or IPv4 address")
        self.ssh_port = faults.port(f"{where}.port", data.get("port", 22))
        self.ssh_user = faults.match(f"{where}.user", data.get("user", "jhuboutpost"), SSH_USER, "a user name")
        self.ssh_key, self.ssh_options = None, {}
        if settings.get("tunnels"):
            return  # no ssh runs in the hub's pod
        if shutil.which("ssh") is None:
            faults.add(where, "needs the program ssh, which this hub's image does not have. Use `tunnels`")
        self.ssh_key = faults.file("sshKey", settings.get("sshKey"))
        alias = f"outpost-{self.name}"
        # One control socket for each system. The client's default is named after the host alone: two systems behind
        # one address would share a connection, and users of one would reach servers of the other.
        self.ssh_options = {
            "ControlPath": f"{SOCKETS}/{alias}.sock",
            "ConnectTimeout": str(CONNECT_SECONDS - 5),
            # A dead connection is noticed after 15 s. The client's 45 s would be most of the minute that a short loss
            # of the network may cost.
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",  # not each look at a server that does not listen yet
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "HostKeyAlias": alias,
            "GlobalKnownHostsFile": "/dev/null",
            "UserKnownHostsFile": f"{SOCKETS}/{alias}.known_hosts",
        }
        known_hosts = data.get("knownHosts")
        if known_hosts not in (None, ""):
            self.ssh_options["UserKnownHostsFile"] = faults.file(f"{where}.knownHosts", known_hosts)
            self.ssh_options["StrictHostKeyChecking"] = "yes"
            self.ssh_options["UpdateHostKeys"] = "no"
            path = Path(str(known_hosts))
            if path.is_file() and not self._pinned(path, alias):
                faults.add(f"{where}.knownHosts", f"no line of {path} begins with {alias}")

    @staticmethod
    def _pinned(known_hosts, alias):
        return any(line.split(" ")[0] == alias for line in known_hosts.read_text().splitlines())

    def client(self, spawner):
        """Returns the system's HTTP client, with places for as many starts as the hub lets begin at once."""
        return self._client_for(spawner.user.settings, spawner.http_client_defaults)

    def client_of_hub(self, settings):
        """Returns the same client where there is no spawner, by the settings of JupyterHub's handlers."""
        defaults = configured(settings["spawner_class"], settings["config"], "http_client_defaults")
        return self._client_for(settings, defaults)

    def _client_for(self, settings, defaults):
        if self._client is None:
            starts = self.concurrent_starts or settings.get("concurrent_spawn_limit") or 0
            self._client = Client(self.name, min(starts, MAX_STARTS), defaults)
        return self._client

    def watch(self, spawner):
        """Returns the watch of the system's servers."""
        if self._watch is None:
            settings, defaults = spawner.user.settings, spawner.http_client_defaults
            self._watch = Watch(self, lambda: self._client_for(settings, defaults))
        return self._watch

    async def offer(self, spawner):
        """Returns what the system offers a spawner's user at the moment, after at most a second."""
        user = spawner.user
        key = (user.name, *sorted(group.name for group in user.groups), bool(user.admin))

        async def question():
            return {"user_id": user.id, "authentication": await identity(spawner, self.send_auth_state)}

        return Offer(self, await self.catalogs.of(key, question, lambda: self.client(spawner)))

    def offer_unasked(self, options):
        """Returns an Offer for a start that may be sent before the outpost is asked what it offers; else None.

        The outpost decides about each start that is sent. Without its catalog, options of profiles cannot be told from
        unknown ones, nor can a flavor be chosen for a start that names none. One that `flavors` does not have is not
        sent: the catalog has the reason that comes before that, and the flavors that this user may know of.
        """
        offer = Offer(self)
        flavor = options.get("flavor") or offer.flavor
        plain = set(options) <= PLAIN
        listed = not self.flavors or flavor in list(self.flavors)  # whatever its type
        return offer if plain and listed and (flavor or self.catalogs.no_flavors) else None

    async def offer_to_hub(self, handler):
        """Returns what the system offers this hub, whoever its user is. `handler` is one of JupyterHub's."""

        async def question():
            return {}

        return Offer(self, await self.catalogs.of((), question, lambda: self.client_of_hub(handler.settings)))

    def places(self):
        """Returns the Places of the system's requests by kind, none before the first request."""
        return self._client.places if self._client else {}

    def watched(self):
        """Returns when the watch was heard, None if there is none, and the spawners of servers that are followed."""
        if self._watch is None:
            return None, []
        return self._watch.heard if self._watch.spawners else None, list(self._watch.spawners.values())

    def trust(self):
        """Returns the arguments of a request by which the outpost's certificate is checked."""
        # tornado's curl client reuses the CAs of an earlier request for one that names none.
        return {"ca_certs": self.ca_file or certifi.where(), "validate_cert": True}

    def request_options(self):
        """Returns the arguments of a request about a service."""
        return {"connect_timeout": 10, "request_timeout": 60, "prepare_curl_callback": prepare_curl, **self.trust()}

    def authorization(self):
        try:
            credentials = self.auth_file.read_text().strip()
        except OSError as e:
            raise StartError(f"The hub has no password for {self.display_name}. {TELL_ADMINS}") from e
        return "Basic " + base64.b64encode(credentials.encode()).decode()
