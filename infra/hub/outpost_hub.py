"""Connects JupyterHub to its Outposts.

This file is the same for every installation: it is mounted into the hub pod and started by two lines
of configuration, `import outpost_hub` and `outpost_hub.configure(c, get_config("custom.outposts"))`.
What differs between installations is data, the value `custom.outposts` of the Helm values, and files
from mounted Secrets. Data is checked before use; wrong data stops the hub with every fault named.

Shape of `custom.outposts`, all keys (those with "optional" may be left out; no others are accepted):

    namePrefix: jupyterhub          # optional; first part of the names of pods and Services: [a-z0-9-], at
                                    # most 22 characters, different for each hub that shares an Outpost
    authDir: /etc/outpost/auth      # one file for each system, named after it, holding "user:password";
                                    # read at every request, so that a rotated password needs no restart
    sshKey: /etc/outpost/ssh/ssh-privatekey    # needed when a system has `ssh`
    userOptions: [profile]          # optional; names that a start may carry beside system and flavor
    systems:
      remote:                       # [a-z0-9-], at most 32 characters; what a start calls `system`
        displayName: Remote cluster # optional; the name itself
        description: Has GPUs.      # optional; one line for the form
        url: https://10.0.0.3:30080/services             # the Outpost's API
        hubApiUrl: https://hub.example.org/hub/api       # this hub, as servers on that system reach it
        caFile: /etc/outpost/ca/remote.pem               # optional; certi's list of public CAs
        defaultServer: true         # optional; false where unnamed servers cannot run (an Outpost in Python,
                                    # an ingress that merges slashes)
        flavor: small               # optional; what a start gets that names none: the first of `flavors`
        flavors:                    # optional; what the form offers, and then the only ones accepted
          - name: small             # [A-Za-z0-9._-], at most 63 characters
            displayName: Small      # optional; the name itself
            description: 1 core     # optional
        ssh:                        # optional; without it servers on that system are reached directly
          host: 10.0.0.3
          port: 30022               # optional; 22
          user: jhuboutpost         # optional
          knownHosts: /etc/outpost/known_hosts/remote    # optional; pins the host key. Its lines begin with
                                    # the alias outpost-<system>. Without it the first key seen is taken.

Every hook below has the arguments of jupyterhub-outpostspawner 2.2.11 and 2.2.13.
"""

import asyncio
import base64
import bisect
import html
import json
import math
import re
import tempfile
import time
import weakref
from datetime import datetime
from hmac import compare_digest
from http.client import responses
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import kubernetes
from jupyterhub.apihandlers import APIHandler, default_handlers
from tornado import web
from traitlets.log import get_logger

# Pairs of JupyterHub (major, minor) and jupyterhub-outpostspawner that this file is tested with.
TESTED_PAIRS = {((5, 5), (2, 2, 11)), ((6, 1), (2, 2, 13))}
GOOD_PAIRS = "JupyterHub 5.5.4 with jupyterhub-outpostspawner 2.2.11, or JupyterHub 6.1.1 with 2.2.13"
TESTED_BASE = "2.1.2"


def _numbers(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def check_pair(hub, client, base=TESTED_BASE):
    """Refuses versions that cannot work together; the text returned, if any, is a warning."""
    pair = f"JupyterHub {hub} with jupyterhub-outpostspawner {client}"
    if _numbers(hub) < (5, 3):
        raise RuntimeError(f"{pair} does not work: the hub is too old. Use {GOOD_PAIRS}.")
    if _numbers(hub) < (6,) and _numbers(client) >= (2, 2, 12):
        raise RuntimeError(f"{pair} does not work: that client needs JupyterHub 6. Use {GOOD_PAIRS}.")
    if (_numbers(hub)[:2], _numbers(client)) not in TESTED_PAIRS:
        return f"{pair} has not been tested. Tested: {GOOD_PAIRS}."
    if base != TESTED_BASE:
        return f"jupyterhub-forwardbasespawner {base} has not been tested. Tested: {TESTED_BASE}."
    return None


# Before the import: a wrong pair dies there, with a message that helps nobody.
_pair_warning = check_pair(
    version("jupyterhub"), version("jupyterhub-outpostspawner"), version("jupyterhub-forwardbasespawner")
)

import outpostspawner  # noqa: E402
from forwardbasespawner.forward import get_name  # noqa: E402

# What names may hold: plain characters, whatever the packages below do with them.
SYSTEM_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
PREFIX = re.compile(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?")
SERVER_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?")
FLAVOR_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
SSH_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
SSH_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")
URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
SERVICE_ADDRESS = re.compile(r"(https?://)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?:([0-9]{1,5})")

# The plugins add more routes than this setup uses; all but these are closed.
PLUGINS = ("outpostspawner", "forwardbasespawner")
EVENT_ROUTES = (r"/api/users/progress/events/([^/]+)", r"/api/users/progress/events/([^/]+)/([^/]+)")
OPEN_ROUTES = (*EVENT_ROUTES, r"/api/servers", r"/api/recreateforward/([^/]+)")

SOCKETS = "/tmp"  # of the ssh connections; a socket's path has at most 108 characters
CONNECT_SECONDS = 15  # for one attempt to open a connection
START_SECONDS = 8  # for a start that an Outpost cannot take; shorter than an attempt that nobody answers
START_PAUSE = 2  # seconds between two such attempts
NO_CONNECTION = (6, 7, 35)  # of curl's errors: no such name, nobody listens, broken off before a request could be sent
RECONNECT_SECONDS = 600  # for running servers after a restart of the hub
WATCH_SECONDS = 5  # between two looks at a system's connection
RENEW_AT_ONCE = 8  # tunnels of a system
MAX_BODY = 256 * 1024  # bytes of an event as it is sent
MAX_TEXT = 4000  # bytes of one text, as JSON
MAX_HTML = 8000  # bytes of one text as HTML, as JSON: escaping makes texts longer
MAX_EVENTS = 500  # of one start
MAX_KEPT = 128 * 1024  # bytes of all events of one start, and of all its log lines, as JSON
MAX_ANSWER = 1024 * 1024  # bytes of an Outpost's answer
MAX_REASON = 16 * 1024  # bytes of what it says about an error
MAX_SAID = 1500  # of what ssh said, in the log: its words about a changed host key are 900 characters

# What an event may contain when it is shown as HTML; anything else is shown as text.
SUMMARY = "<details><summary>"  # what a client puts its time after
EVENT_TAGS = re.compile(r"&lt;(/?(?:details|summary|pre|br)/?)&gt;")


class Faults:
    """Collects what is wrong with the data, so that all of it is said at once."""

    def __init__(self):
        self.found = []

    def add(self, where, what):
        self.found.append(f"  {where}: {what}")

    def raise_any(self):
        if self.found:
            raise ValueError("custom.outposts is not valid:\n" + "\n".join(self.found))

    def known(self, where, data, names):
        if not isinstance(data, dict):
            self.add(where, "is not a map")
            return {}
        for name in data:
            if name not in names:
                self.add(f"{where}.{name}", f"is not known; there are: {', '.join(names)}")
        return data

    def match(self, where, value, pattern, what):
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        self.add(where, f"{value!r} is not {what}")
        return ""

    def text(self, where, value, default):
        if value is None or value == "":
            return default
        if isinstance(value, str) and len(value) <= MAX_TEXT:
            return value
        self.add(where, f"must be a string of at most {MAX_TEXT} characters")
        return ""

    def flag(self, where, value):
        if not isinstance(value, bool):
            self.add(where, "must be true or false")
        return value is True

    def list(self, where, value):
        if value is None or isinstance(value, list):
            return value or []
        self.add(where, "must be a list")
        return []

    def file(self, where, value):
        path = self.match(where, value, PATH, "an absolute path of plain characters")
        if path and not Path(path).is_file():
            self.add(where, f"there is no file {path}")
        return path

    def url(self, where, value):
        url = self.match(where, value, URL, "an http(s) URL of plain characters")
        port = URL.fullmatch(url)[1] if url else None
        if port:
            self.port(where, int(port[1:]))
        return url.rstrip("/")

    def port(self, where, value):
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
            return value
        self.add(where, f"{value!r} is not a port")
        return 0


class Flavor:
    """Resources that a user picks; what they are, only the Outpost knows."""

    KEYS = ("name", "displayName", "description")

    def __init__(self, where, data, faults):
        data = faults.known(where, data, self.KEYS)
        self.name = faults.match(f"{where}.name", data.get("name"), FLAVOR_NAME, "the name of a flavor")
        self.display_name = faults.text(f"{where}.displayName", data.get("displayName"), self.name)
        self.description = faults.text(f"{where}.description", data.get("description"), "")

    @property
    def label(self):
        return f"{self.display_name} ({self.description})" if self.description else self.display_name


class System:
    """One Outpost: where it answers, where its servers find the hub, and how to tunnel to it."""

    KEYS = (
        "displayName", "description", "url", "hubApiUrl", "caFile", "defaultServer", "flavor", "flavors", "ssh",
    )  # fmt: skip
    SSH_KEYS = ("host", "port", "user", "knownHosts")

    def __init__(self, name, data, settings, faults):
        where = f"systems.{name}"
        data = faults.known(where, data, self.KEYS)
        self.name = faults.match(where, name, SYSTEM_NAME, "the name of a system")
        self.display_name = faults.text(f"{where}.displayName", data.get("displayName"), self.name)
        self.description = faults.text(f"{where}.description", data.get("description"), "")
        self.url = faults.url(f"{where}.url", data.get("url"))
        self.hub_api_url = faults.url(f"{where}.hubApiUrl", data.get("hubApiUrl"))
        self.ca_file = None
        if data.get("caFile") not in (None, ""):
            self.ca_file = faults.file(f"{where}.caFile", data["caFile"])
        self.default_server = faults.flag(f"{where}.defaultServer", data.get("defaultServer", True))
        self.auth_file = Path(settings["authDir"]) / self.name
        self._flavors(where, data, faults)

        # What this process knows of the tunnels: they are those of the running servers in `tunnels`.
        self.tunnels = weakref.WeakSet()
        self.lock = asyncio.Lock()
        self.watch = None
        self.tunnel = data.get("ssh") is not None
        if self.tunnel:
            self._ssh(f"{where}.ssh", data["ssh"], settings, faults)

    def _flavors(self, where, data, faults):
        flavors = faults.list(f"{where}.flavors", data.get("flavors"))
        found = [Flavor(f"{where}.flavors[{i}]", f, faults) for i, f in enumerate(flavors)]
        self.flavors = {f.name: f for f in found}
        if len(self.flavors) != len(found):
            faults.add(f"{where}.flavors", "has a name twice")
        self.flavor = next(iter(self.flavors), None)
        if data.get("flavor") not in (None, ""):
            self.flavor = faults.match(f"{where}.flavor", data["flavor"], FLAVOR_NAME, "the name of a flavor")
            if self.flavors and self.flavor not in self.flavors:
                faults.add(f"{where}.flavor", f"{self.flavor!r} is not one of `flavors`")

    def _ssh(self, where, data, settings, faults):
        data = faults.known(where, data, self.SSH_KEYS)
        self.ssh_host = faults.match(f"{where}.host", data.get("host"), SSH_HOST, "a host name or IPv4 address")
        self.ssh_port = faults.port(f"{where}.port", data.get("port", 22))
        self.ssh_user = faults.match(f"{where}.user", data.get("user", "jhuboutpost"), SSH_USER, "a user name")
        self.ssh_key = faults.file("sshKey", settings.get("sshKey"))
        alias = f"outpost-{self.name}"
        # One control socket for each system. The plugin's default is named after the host alone, so two
        # systems behind one address would share a connection, and users would meet each other.
        self.ssh_options = {
            "ControlPath": f"{SOCKETS}/{alias}.sock",
            "ConnectTimeout": str(CONNECT_SECONDS - 5),
            # A dead connection is noticed after 15 s. The plugin's 45 s are most of the minute that a
            # short loss of the network may cost.
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
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

    def authorization(self):
        try:
            credentials = self.auth_file.read_text().strip()
        except OSError as e:
            raise StartError(f"The hub has no password for {self.display_name}. Tell its administrators.") from e
        return "Basic " + base64.b64encode(credentials.encode()).decode()


class StartError(web.HTTPError):
    """A start that failed, in words for the user: JupyterHub shows these attributes."""

    def __init__(self, message, status=502):
        # The client joins lines of the reason, so that there must be one.
        super().__init__(status, message, reason=responses[status])
        self.jupyterhub_message = message
        self.jupyterhub_html_message = html.escape(message)


class WrongHostKey(ConnectionError):
    """The other end of an ssh connection is not the one whose host key is known here."""


def client_error(error):
    """Code, 0 for none, and reason of a failed request to an Outpost.

    The client's own error is "<action> request to <URL> failed: <code>" with the Outpost's text as reason.
    """
    found = re.search(r" failed(?:: (\d+))?$", getattr(error, "log_message", None) or "")
    code = int(found[1]) if found and found[1] else 0
    return code, str(getattr(error, "reason", "") or "").strip()


def not_taken(error):
    """Whether a start has not been begun: nobody was there, or nobody who could."""
    code, _ = client_error(error)
    return code in (502, 503) or getattr(error.__context__, "errno", None) in NO_CONNECTION


def unavailable(reason):
    """What an Outpost says that can start nothing at the moment, "" if it has said nothing."""
    try:
        (sentence,) = json.loads(reason)["args"]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(sentence)[:MAX_TEXT]


def plain_words(system, error):
    """What went wrong with a request to an Outpost, for the user."""
    if isinstance(error, StartError):
        return error.jupyterhub_message
    code, reason = client_error(error)
    if code == 419:
        return f"{system.display_name}: {reason[:MAX_TEXT] or 'the server could not be started.'}"
    if code == 401:
        return f"{system.display_name} does not accept the hub's password. Tell the administrators of the hub."
    if code == 503 and (sentence := unavailable(reason)):
        return f"{system.display_name} cannot start servers at the moment: {sentence}"
    if code in (0, 502, 503, 504, 599):
        detail = " The hub does not trust its certificate." if re.search("certificate|SSL", reason) else ""
        return f"{system.display_name} cannot be reached at the moment.{detail} Try again later, or choose another system."
    return f"{system.display_name} answered with the unexpected code {code}. Tell the administrators of the hub."


def json_size(value):
    return len(json.dumps(value))


def safe_text(value, size):
    """The longest beginning of a string that can be stored and that JSON writes in `size` bytes; "" for anything else."""
    if not isinstance(value, str):
        return ""
    # JSON may hold halves of surrogate pairs, which no log and no page takes.
    text = value[:size].encode("utf-8", "replace").decode()
    if json_size(text) <= size:
        return text
    return text[: bisect.bisect_right(range(len(text) + 1), size, key=lambda n: json_size(text[:n])) - 1]


def safe_number(value, low, high):
    """A finite number, moved between `low` and `high`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(max(value, low), high)


def safe_html(text):
    """`text` as HTML in which only the tags that events are made of have a meaning."""
    safe = EVENT_TAGS.sub(r"<\1>", html.escape(html.unescape(text), quote=False))
    short = safe_text(safe, MAX_HTML)
    # Cut within a tag or an entity, the rest would have another meaning.
    return safe if short == safe else re.sub(r"<[^>]*$|&[^;\s]{0,8}$", "", short)


def safe_event(event):
    """An event of a start, fit to be shown and stored: texts of limited size, HTML without surprises, finite numbers."""
    if not isinstance(event, dict):
        return {}
    message = safe_text(event.get("message"), MAX_TEXT)
    safe = {"message": message, "html_message": safe_html(safe_text(event.get("html_message"), MAX_HTML) or message)}
    progress = safe_number(event.get("progress"), 0, 100)
    if progress is not None:
        safe["progress"] = progress
    if event.get("failed"):
        safe["failed"] = True
    return safe


def newest(items, count=MAX_EVENTS, size=MAX_KEPT):
    """The last of `items`, as many as there may be, in their order."""
    kept = []
    for item in reversed(items):
        size -= json_size(item) + 2
        if size < 0 or len(kept) == count:
            break
        kept.append(item)
    return kept[::-1]


def safe_state(state):
    """What a hub keeps of a server, before it is stored and after it is read: of limited size, and all numbers finite.

    Texts and numbers in it come from servers and Outposts, and a row may be older than this module.
    """
    safe = dict(state)
    if "events" in state:
        events = state["events"] if isinstance(state["events"], list) else []
        safe["events"] = newest([safe_event(e) for e in events[-MAX_EVENTS:] if isinstance(e, dict)])
    if "logs" in state:
        safe["logs"] = safe_logs(state["logs"])
    if "exitCode" in state:
        safe["exitCode"] = safe_exit_code(state["exitCode"])
    if "port_forward_info" in state:
        info = state["port_forward_info"]
        address = safe_address(info.get("service")) if isinstance(info, dict) else ""
        safe["port_forward_info"] = {"service": address} if address else {}
    if "custom_port" in state:
        safe["custom_port"] = int(safe_number(state["custom_port"], 0, 65535) or 0)
    return safe


def safe_logs(logs):
    lines = logs[-MAX_EVENTS:] if isinstance(logs, list) else []
    return newest([safe_text(line, MAX_TEXT) for line in lines])


def safe_exit_code(code):
    code = safe_number(code, -(2**31), 2**31 - 1)
    return None if code is None else int(code)


def safe_address(address):
    """Where an Outpost says that a server is; "" for what is not host:port, with or without http(s)://."""
    found = SERVICE_ADDRESS.fullmatch(address) if isinstance(address, str) else None
    return address if found and 0 < int(found[3]) < 65536 else ""


def safe_answer(action, answer):
    """What the client uses of an Outpost's answer to "start", "poll" or "stop", whatever it was."""
    if answer is None and action == "stop":
        return None
    answer = answer if isinstance(answer, dict) else {}
    if action == "start":
        return {"service": safe_address(answer.get("service"))}
    return {"status": safe_exit_code(answer.get("status")), "logs": safe_logs(answer.get("logs"))}


class Events(APIHandler):
    """Takes the events of a start from the server itself, or from the Outpost, which has the server's token too.

    Whoever may open a server, by a cookie or by a token of their own, may not speak for it.
    """

    _accept_cookie_auth = False

    async def post(self, user_name, server_name=""):
        self.set_header("Cache-Control", "no-cache")
        spawner = self.own_spawner(user_name, server_name or "")
        event = self.event()
        self.set_status(204)
        if spawner.pending == "stop" or spawner.already_stopped:
            return
        if event.get("failed"):
            await self.end(spawner, safe_event(event))
        elif not spawner.keep_event(event):
            raise web.HTTPError(400, "The event is empty, or this start has too many.")

    def own_spawner(self, user_name, server_name):
        """The spawner whose token the request carries. Any other gets one answer, whether there is such a server or not."""
        token = self.get_auth_token()
        user = self.find_user(user_name) if token and self.current_user else None
        if user is not None and server_name in user.spawners:
            spawner = user.spawners[server_name]
            if spawner.api_token and compare_digest(spawner.api_token.encode(), token.encode()):
                return spawner
        raise web.HTTPError(403, "Only the server itself can report its events.")

    def event(self):
        if len(self.request.body) > MAX_BODY:
            raise web.HTTPError(413, f"An event has at most {MAX_BODY} bytes.")
        try:
            event = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise web.HTTPError(400, "An event must be a JSON object.")
        return event

    async def end(self, spawner, event):
        spawner.last_event = event
        if spawner.pending:
            spawner.events.append(event)
            # The page that shows this start looks for events every second, and a start needs a moment to be cancelled.
            await asyncio.sleep(spawner.yield_wait_seconds)
            if spawner._spawn_future:
                spawner._spawn_future.cancel()
            await asyncio.sleep(spawner.yield_wait_seconds)
        elif await spawner.poll_and_notify() is not None:
            return  # it has died, and the hub knows now
        if spawner.active and not spawner.pending:
            await self.stop_single_user(spawner.user, spawner.name)


CURLOPT_CA_CACHE_TIMEOUT = 321  # of curl 7.87 and newer; pycurl has no name for it


def prepare_curl(curl):
    """Sets what tornado's client has no name for.

    curl keeps for a day what it read from a CA file, and would not trust a new CA; and it takes answers of any size.
    """
    import pycurl  # only its client comes here

    curl.setopt(pycurl.MAXFILESIZE, MAX_ANSWER)
    try:
        curl.setopt(CURLOPT_CA_CACHE_TIMEOUT, 0)
    except pycurl.error:
        pass  # an older curl, which keeps nothing


class Spawner(outpostspawner.OutpostSpawner):
    """The unmodified client; what is shown to users passes through here.

    c.OutpostSpawner configures it, as it does its parent.
    """

    outposts = None  # the one Outposts of this hub, set by configure
    start_error = None  # the StartError of the current start

    async def progress(self):
        if self._spawn_future is None:
            # The start has ended since the page asked: the client would end the page's request with an error, and the hub
            # knows no reason any more.
            if self.start_error:
                yield safe_event({"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message})
            return
        # The client puts texts of the Outpost, of servers and of users into HTML as they are.
        last = None
        async for event in super().progress():
            said = (event.get("message"), event.get("html_message"))
            if (said == last or said[0] == "Server requested") and not event.get("failed"):  # the hub itself has said that
                continue
            last = said
            if event.get("failed") and self.start_error:
                event = {"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message}
            yield safe_event(event)

    def keep_event(self, event):
        """Adds an event of the current start; reports whether there was something in it and room for it."""
        event = self.run_filter_events(event)
        if not isinstance(event, dict) or not event:
            return False
        shown = safe_text(event.get("html_message") or event.get("message"), MAX_HTML)
        if shown.startswith(SUMMARY):
            now = datetime.now().isoformat(" ", "milliseconds")
            event = {**event, "html_message": f"{SUMMARY}{now}: {shown.removeprefix(SUMMARY)}"}
        event = safe_event(event)
        kept = json_size(self.events) + json_size(event) + 2
        if len(self.events) >= MAX_EVENTS or kept > MAX_KEPT:
            return False
        self.events.append(event)
        return True

    def get_state(self):
        return safe_state(super().get_state())

    def load_state(self, state):
        super().load_state(safe_state(state))

    async def fetch(self, req, action):
        try:
            return safe_answer(action, await super().fetch(req, action))
        except web.HTTPError as e:
            e.reason = safe_text(e.reason, MAX_REASON)
            raise

    async def _start(self):
        try:
            return await super()._start()
        except web.HTTPError as e:
            # The client's own words name addresses and put the Outpost's text where HTML is expected.
            raise self.start_error or e from e

    async def send_request(self, req, action, raise_exception=True):
        # An Outpost that restarts, or the Ingress before it, is away for seconds: no start shall fail for that. If one has
        # arrived all the same, it is known there by its start id and not made twice.
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                return await super().send_request(req, action, raise_exception)
            except web.HTTPError as e:
                if action != "start" or not not_taken(e) or time.monotonic() > give_up:
                    raise
                self.log.warning(f"{self._log_name} - the start was not taken, will try again")
            await asyncio.sleep(START_PAUSE)

    async def subprocess_cmd(self, cmd, timeout=3):
        # The client gives ssh one to three seconds, too few for a hub that is busy: starts failed for nothing.
        return await super().subprocess_cmd(cmd, timeout=max(timeout, CONNECT_SECONDS))

    async def run_ssh_forward(self, create_svc=True):
        try:
            return await super().run_ssh_forward(create_svc)
        except web.HTTPError as e:
            system = self.outposts.of(self)
            self.log.warning(f"{self._log_name} - no tunnel to {system.name}: {e.log_message}")
            self.start_error = StartError(
                f"The server runs on {system.display_name}, but the hub cannot open a tunnel to it. Try again later."
            )
            raise self.start_error from e


def _kubernetes():
    kubernetes.config.load_incluster_config()
    return kubernetes.client.CoreV1Api()


def make_service(name, namespace, port, labels):
    """A Service that leads to a port of the hub's pod. One that is there and does so is left alone: proxies use it."""
    api = _kubernetes()
    selector = dict(api.read_namespaced_service(name=get_name("hub"), namespace=namespace).spec.selector)
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {**selector, **labels}},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": port}],
        },
    }
    try:
        api.create_namespaced_service(namespace=namespace, body=manifest)
    except Exception as e:
        if getattr(e, "status", None) != 409:
            raise
        there = api.read_namespaced_service(name=name, namespace=namespace)
        if dict(there.spec.selector) != selector or [p.port for p in there.spec.ports] != [port]:
            api.delete_namespaced_service(name=name, namespace=namespace)
            api.create_namespaced_service(namespace=namespace, body=manifest)


def remove_service(name, namespace):
    try:
        _kubernetes().delete_namespaced_service(name=name, namespace=namespace)
    except Exception as e:
        if getattr(e, "status", None) != 404:
            raise


class Outposts:
    """All systems of this hub, and the hooks through which the client asks about them."""

    KEYS = ("namePrefix", "authDir", "sshKey", "userOptions", "systems")
    HOOKS = (
        "options_form", "options_from_form", "apply_user_options", "pre_spawn_hook",
        "request_url", "request_headers", "request_kwargs", "request_kwargs_start", "custom_user_options",
        "custom_misc", "extra_labels", "failed_spawn_request_hook", "public_api_url", "ssh_during_startup", "ssh_node",
        "ssh_port", "ssh_username", "ssh_key", "ssh_forward_options", "ssh_recreate_at_start", "ssh_custom_svc",
        "ssh_custom_svc_remove", "update_start_response", "update_expected_path", "pre_poll_hook", "pre_stop_hook",
    )  # fmt: skip

    def __init__(self, settings):
        faults = Faults()
        settings = dict(faults.known("custom.outposts", settings, self.KEYS))
        prefix = settings.get("namePrefix", "jupyterhub")
        self.prefix = faults.match("namePrefix", prefix, PREFIX, "[a-z0-9-], at most 22 characters")
        settings["authDir"] = faults.match("authDir", settings.get("authDir"), PATH, "an absolute path")
        options = faults.list("userOptions", settings.get("userOptions"))
        self.user_options = tuple(
            faults.match(f"userOptions[{i}]", o, OPTION_NAME, "the name of an option") for i, o in enumerate(options)
        )
        systems = settings.get("systems")
        if not isinstance(systems, dict) or not systems:
            faults.add("systems", "is empty")
            systems = {}
        self.systems = {n: System(n, d, settings, faults) for n, d in systems.items()}
        faults.raise_any()

    def __deepcopy__(self, memo):
        # traitlets copies what is configured, with every hook the object it is bound to. This one is shared.
        return self

    def system(self, user_options):
        name = (user_options or {}).get("system")
        if isinstance(name, list) and len(name) == 1:
            # As JupyterHub stores what a form has sent, in servers started before this file was there.
            name = name[0]
        if name is None and len(self.systems) == 1:
            (name,) = self.systems
        if not isinstance(name, str) or name not in self.systems:
            raise StartError(f"Choose one of these systems: {', '.join(sorted(self.systems))}.", 400)
        return self.systems[name]

    def of(self, spawner):
        return self.system(spawner.user_options)

    # What the user sees and sends.

    def options_form(self, spawner):
        systems = sorted(self.systems.values(), key=lambda s: (s.display_name, s.name))
        if not spawner.name:
            systems = [s for s in systems if s.default_server]
        if not systems:
            return "<p>This hub starts named servers only: go to its home page, type a name, and add the server.</p>"
        chosen = spawner.user_options.get("system")
        if chosen not in [s.name for s in systems]:
            chosen = systems[0].name
        return '<div class="form-group">' + "".join(self._form_of(s, s.name == chosen) for s in systems) + "</div>"

    def _form_of(self, system, checked):
        # No script: each system has a field of its own for the flavor, and options_from_form takes the right one.
        text = f"<strong>{html.escape(system.display_name)}</strong>"
        if system.description:
            text += f" {html.escape(system.description)}"
        parts = [
            '<div class="radio form-check mb-3 outpost-system">',
            f'<label for="system-{system.name}">',
            f'<input type="radio" name="system" id="system-{system.name}" value="{system.name}"',
            f' required{" checked" if checked else ""}> {text}</label>',
        ]
        if system.flavors:
            parts.append(f'<select class="form-control form-select" name="flavor-{system.name}"')
            parts.append(f' aria-label="Resources on {html.escape(system.display_name)}">')
            for flavor in system.flavors.values():
                selected = " selected" if flavor.name == system.flavor else ""
                parts.append(f'<option value="{flavor.name}"{selected}>{html.escape(flavor.label)}</option>')
            parts.append("</select>")
        parts.append("</div>")
        return "".join(parts)

    def options_from_form(self, form_data):
        # A form sends a list of texts for every field; everything after this expects one text.
        def field(name):
            values = form_data.get(name) or [None]
            return values[0]

        system = self.system({"system": field("system")})
        options = {"system": system.name}
        flavor = field(f"flavor-{system.name}") or field("flavor")
        if flavor:
            options["flavor"] = flavor
        options.update({name: field(name) for name in self.user_options if field(name)})
        return self.checked(options)

    def checked(self, user_options):
        """The options of a start with defaults filled in, or an error for the user. Only texts get through."""
        system = self.system(user_options)
        for name, value in user_options.items():
            if name not in ("system", "flavor", *self.user_options):
                allowed = ", ".join(("system", "flavor", *self.user_options))
                raise StartError(f"A server has no option {name[:63]!r}. There are: {allowed}.", 400)
            if name != "system" and not (isinstance(value, str) and len(value) <= 256 and value.isprintable()):
                raise StartError(f"The option {name} is not a text of at most 256 characters.", 400)
        options = {**user_options, "system": system.name}
        flavor = options.get("flavor") or system.flavor
        if flavor:
            if system.flavors and flavor not in system.flavors:
                flavors = ", ".join(system.flavors)
                raise StartError(f"{system.display_name} has no flavor {flavor[:63]!r}. There are: {flavors}.", 400)
            if not FLAVOR_NAME.fullmatch(flavor):
                raise StartError("That is not the name of a flavor.", 400)
            options["flavor"] = flavor
        return options

    def apply_user_options(self, spawner, user_options):
        try:
            options = self.checked(user_options)
        except StartError:
            # JupyterHub has stored them already, and shows them to administrators.
            system = user_options.get("system")
            kept = {"system": system} if isinstance(system, str) and system in self.systems else {}
            spawner.user_options = spawner.orm_spawner.user_options = kept
            raise
        spawner.user_options = options
        # The hub's own record too: the route that renews tunnels looks for the system there.
        spawner.orm_spawner.user_options = options

    def pre_spawn_hook(self, spawner):
        if not SERVER_NAME.fullmatch(spawner.name):
            raise StartError(
                "A server's name has at most 32 characters: lower-case letters, digits, and '-' between them.", 400
            )
        spawner.start_error = None
        system = self.of(spawner)
        if not spawner.name and not system.default_server:
            raise StartError(f"Give the server a name: {system.display_name} runs named servers only.", 400)

    # What the Outpost gets.

    def request_url(self, spawner, user_options):
        return self.system(user_options).url

    def request_headers(self, spawner, user_options):
        return {"Authorization": self.system(user_options).authorization()}

    def request_kwargs(self, spawner, user_options):
        # tornado's curl client keeps the CAs of an earlier request for a later one that names none.
        ca_file = self.system(user_options).ca_file or certifi.where()
        return {
            "connect_timeout": 10, "request_timeout": 60, "ca_certs": ca_file, "validate_cert": True,
            "prepare_curl_callback": prepare_curl,
        }  # fmt: skip

    def request_kwargs_start(self, spawner, user_options):
        # The answer to a start comes when the pod runs, images pulled.
        return {**self.request_kwargs(spawner, user_options), "request_timeout": spawner.start_timeout}

    def custom_user_options(self, spawner, user_options):
        flavor = user_options.get("flavor") or self.system(user_options).flavor
        return {"flavor": flavor} if flavor else {}

    def custom_misc(self, spawner, user_options):
        return {}

    def extra_labels(self, spawner, user_options):
        # On the pod there and on the Service here: who removes a system sees whether servers still run on it.
        return {"outposts.dev/system": self.system(user_options).name}

    def failed_spawn_request_hook(self, spawner, exception):
        spawner.start_error = StartError(plain_words(self.of(spawner), exception))

    def public_api_url(self, spawner):
        return self.of(spawner).hub_api_url

    # The tunnel. A system without `ssh` is reached directly.

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

    # The Service beside the hub that leads to the forwarded port. The client's own has a field that newer Kubernetes
    # packages refuse, and holds up the whole hub while it waits.

    async def ssh_custom_svc(self, spawner, port_forward_info):
        labels = {"component": "singleuser-server", **self.extra_labels(spawner, spawner.user_options)}
        await asyncio.to_thread(make_service, spawner.svc_name, spawner.namespace, spawner.port, labels)
        return f"{spawner.svc_name}.{spawner.namespace}.svc", spawner.port

    async def ssh_custom_svc_remove(self, spawner, port_forward_info):
        await asyncio.to_thread(remove_service, spawner.svc_name, spawner.namespace)

    async def update_start_response(self, spawner, response):
        """Runs between the Outpost's answer and the tunnel."""
        system = self.of(spawner)
        if not safe_address(response):
            spawner.log.error(f"{spawner._log_name} - {system.name} did not answer with an address")
            spawner.start_error = StartError(f"{system.display_name} did not say where the server is.")
            raise spawner.start_error
        if system.tunnel:
            try:
                # ForwardBaseSpawner would connect too, but gives up after one second.
                await self.connect(spawner)
            except ConnectionError as e:
                spawner.log.error(f"{spawner._log_name} - no connection to {system.name}: {e}")
                words = f"The hub cannot open an ssh connection to {system.display_name}. Try again later."
                if isinstance(e, WrongHostKey):
                    # Trying again would not help, and whoever answers there must not get the user's data.
                    words = (
                        f"{system.display_name} shows another ssh host key than the one this hub knows, so nothing is sent "
                        "there. Tell the administrators of the hub."
                    )
                spawner.start_error = StartError(words)
                raise spawner.start_error from e
        return response

    async def update_expected_path(self, spawner, url):
        """Runs after the tunnel stands."""
        if spawner.port_forward_info:
            await self._keep(spawner)
        return url

    async def ssh_recreate_at_start(self, spawner):
        """Asked once for each running server when the hub has restarted: its tunnels are gone then.

        JupyterHub stops a server that it does not reach at this point within http_timeout, so a network
        that is down for a moment would cost users their work: keep trying first. The tunnel is made here
        and not by the client, which stops the server when its one attempt fails; so the answer is "no".
        """
        if not spawner.port_forward_info:
            return False
        give_up = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                await self.renew(spawner)
                return False
            except (ConnectionError, web.HTTPError) as e:
                spawner.log.warning(f"{spawner._log_name} - no tunnel to {self.of(spawner).name} yet: {e}")
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(WATCH_SECONDS)

    async def pre_poll_hook(self, spawner):
        """Watches over the tunnel of a server of which this process does not know yet."""
        if spawner.port_forward_info and spawner.ready and not spawner.call_during_startup:
            if spawner not in self.of(spawner).tunnels:
                try:
                    await self.renew(spawner)
                except (ConnectionError, web.HTTPError) as e:
                    spawner.log.warning(f"{spawner._log_name} - no tunnel, will try again: {e}")
        return True

    def pre_stop_hook(self, spawner):
        self.of(spawner).tunnels.discard(spawner)

    async def renew(self, spawner):
        """Opens the connection unless it stands, and forwards the server's port through it."""
        await self.connect(spawner)
        await spawner.run_ssh_forward()
        await self._keep(spawner)

    async def _keep(self, spawner):
        system = self.of(spawner)
        spawner.outpost_connection = await self.connection(spawner)
        system.tunnels.add(spawner)
        if system.watch is None or system.watch.done():
            system.watch = asyncio.get_running_loop().create_task(self._watch(system))

    async def _watch(self, system):
        """Brings tunnels back when their connection has been lost: a new one has none of the forwards."""
        while system.tunnels:
            await asyncio.sleep(WATCH_SECONDS)
            kept = [s for s in system.tunnels if s.port_forward_info and not s._stop_pending]
            if not kept:
                continue
            try:
                connection = await self.connect(kept[0])  # they share it
            except ConnectionError as e:
                kept[0].log.warning(f"{system.name} - {len(kept)} servers have no tunnel, will try again: {e}")
                continue
            except Exception:
                kept[0].log.exception(f"{system.name} - while watching over tunnels")
                continue
            turns = asyncio.Semaphore(RENEW_AT_ONCE)
            await asyncio.gather(
                *(self._bring_back(s, system, connection, turns) for s in kept if s.outpost_connection != connection)
            )

    async def _bring_back(self, spawner, system, connection, turns):
        async with turns:
            if spawner not in system.tunnels:
                return
            spawner.log.warning(f"{spawner._log_name} - the connection to {system.name} was lost: renewing the tunnel")
            try:
                await spawner.run_ssh_forward()
                if spawner in system.tunnels:
                    spawner.outpost_connection = connection
                else:  # stopped meanwhile, and what stopping took away is there again
                    await spawner.run_ssh_forward_remove()
            except web.HTTPError as e:
                spawner.log.warning(f"{spawner._log_name} - no tunnel, will try again: {e}")
            except Exception:
                spawner.log.exception(f"{spawner._log_name} - while renewing the tunnel")

    async def _ssh(self, spawner, *args):
        """Runs ssh with the system's options, without a shell; exit code and what it said on stderr."""
        user, node, command = await spawner.get_forward_cmd(extra_args=list(args))
        process = await asyncio.create_subprocess_exec(
            *command,
            f"{user}@{node}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, stderr = await asyncio.wait_for(process.communicate(), CONNECT_SECONDS)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()
            return -1, f"no answer within {CONNECT_SECONDS} s"
        return process.returncode, stderr.decode(errors="replace").strip()

    async def connection(self, spawner):
        """The process id of the system's ssh connection; None where there is none."""
        code, said = await self._ssh(spawner, "-n", "-O", "check")
        found = re.search(r"pid=(\d+)", said)
        return int(found[1]) if code == 0 and found else None

    async def connect(self, spawner):
        """Opens the system's shared ssh connection unless it stands; its process id. ConnectionError if it cannot."""
        async with self.of(spawner).lock:
            connection = await self.connection(spawner)
            if connection:
                return connection
            # With -f the process that stays would hold a pipe open for ever: what it says goes to a file.
            with tempfile.NamedTemporaryFile("r") as log:
                code, said = await self._ssh(spawner, "-f", "-N", "-n", "-E", log.name)
                connection = await self.connection(spawner)
                if not connection:
                    said = log.read().strip() or said
                    error = WrongHostKey if "Host key verification failed" in said else ConnectionError
                    raise error(f"ssh ended with {code}: {said[-MAX_SAID:]}")
            return connection


def configure(c, settings):
    """Sets JupyterHub up for the Outposts in `settings`, the value of custom.outposts."""
    if _pair_warning:
        get_logger().warning(_pair_warning)
    outposts = Outposts(settings)
    Spawner.outposts = outposts

    c.JupyterHub.spawner_class = Spawner
    c.JupyterHub.allow_named_servers = True
    for hook in Outposts.HOOKS:
        setattr(c.OutpostSpawner, hook, getattr(outposts, hook))
    # Names of Services here and of pods there: both sides know the user's number and the server's name.
    c.OutpostSpawner.svc_name_template = f"{outposts.prefix}-{{userid}}-{{servername}}"

    default_handlers[:] = [
        (handler[0], Events, *handler[2:]) if handler[0] in EVENT_ROUTES else handler
        for handler in default_handlers
        if handler[1].__module__.split(".")[0] not in PLUGINS or handler[0] in OPEN_ROUTES
    ]
