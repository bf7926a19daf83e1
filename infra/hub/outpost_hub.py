"""Connects JupyterHub to its outposts.

This module is the same for every installation. It is mounted into the hub's pod, and two lines of configuration
start it: `import outpost_hub` and `outpost_hub.configure(c, get_config("custom.outposts"))`. What differs between
installations is data: the value `custom.outposts` of the Helm values, and files from mounted Secrets. Data is checked
before it is used; invalid data stops the hub with a message that lists every fault.

All keys of `custom.outposts`; other keys are refused:

    namePrefix: jupyterhub          # optional; first part of the names of pods and Services: [a-z0-9-], at
                                    # most 22 characters, different for each hub that shares an outpost
    authDir: /etc/outpost/auth      # one file for each system, named after it, with "user:password"; read
                                    # for every request, so that a rotated password needs no restart
    sshKey: /etc/outpost/ssh/ssh-privatekey    # required if a system has `ssh`
    userOptions: [profile]          # optional; names of options that a start may set besides system and flavor
    systems:
      remote:                       # [a-z0-9-], at most 32 characters; what a start calls `system`
        formerNames: [north]        # optional; names that servers of this system were started under before
        displayName: Remote cluster # optional; defaults to the name
        description: Has GPUs.      # optional; one line for the form
        url: https://10.0.0.3:30080/services             # the outpost's API
        hubApiUrl: https://hub.example.org/hub/api       # this hub's API, as servers on that system reach it
        caFile: /etc/outpost/ca/remote.pem               # optional; defaults to certifi's public CAs
        defaultServer: true         # optional; false if unnamed servers cannot run there (the Python outpost,
                                    # an Ingress that merges slashes)
        flavor: small               # optional; used if a start names none; defaults to the first of `flavors`
        flavors:                    # optional; offered by the form, and the only ones accepted
          - name: small             # [A-Za-z0-9._-], at most 63 characters
            displayName: Small      # optional; defaults to the name
            description: 1 core     # optional
        ssh:                        # optional; without it, servers on that system are reached directly
          host: 10.0.0.3
          port: 30022               # optional; defaults to 22
          user: jhuboutpost         # optional
          knownHosts: /etc/outpost/known_hosts/remote    # optional; pins the host key. Its lines begin with the
                                    # alias outpost-<system>. Without it, the first key seen is accepted.

The arguments of every hook are those of jupyterhub-outpostspawner 2.2.11 and 2.2.13, "the client" below.
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

import certifi
import kubernetes
from jupyterhub.apihandlers import APIHandler, default_handlers
from tornado import web
from traitlets.log import get_logger

# ---- Versions

# Pairs of JupyterHub (major, minor) and jupyterhub-outpostspawner that this module is tested with.
TESTED_PAIRS = {((5, 5), (2, 2, 11)), ((6, 1), (2, 2, 13))}
GOOD_PAIRS = "JupyterHub 5.5.4 with jupyterhub-outpostspawner 2.2.11, or JupyterHub 6.1.1 with 2.2.13"
TESTED_BASE = "2.1.2"


def _numbers(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def check_pair(hub, client, base=TESTED_BASE):
    """Raises RuntimeError for versions that cannot work together. Returns a warning, or None."""
    pair = f"JupyterHub {hub} with jupyterhub-outpostspawner {client}"
    if _numbers(hub) < (5, 3):
        raise RuntimeError(f"{pair} does not work: this JupyterHub is too old. Use {GOOD_PAIRS}.")
    if _numbers(hub) < (6,) and _numbers(client) >= (2, 2, 12):
        raise RuntimeError(f"{pair} does not work: this client requires JupyterHub 6. Use {GOOD_PAIRS}.")
    if (_numbers(hub)[:2], _numbers(client)) not in TESTED_PAIRS:
        return f"{pair} has not been tested. Tested pairs: {GOOD_PAIRS}."
    if base != TESTED_BASE:
        return f"jupyterhub-forwardbasespawner {base} has not been tested. Tested version: {TESTED_BASE}."
    return None


# Before the import: there, a pair that does not fit fails with a message that does not name the cause.
_pair_warning = check_pair(
    version("jupyterhub"), version("jupyterhub-outpostspawner"), version("jupyterhub-forwardbasespawner")
)

import outpostspawner  # noqa: E402
from forwardbasespawner.forward import get_name  # noqa: E402

# ---- Names and limits

# Patterns of names: plain characters only, because the client puts some of them into a shell command.
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

# The client's packages add routes. All but these are closed.
PLUGINS = ("outpostspawner", "forwardbasespawner")
EVENT_ROUTES = (r"/api/users/progress/events/([^/]+)", r"/api/users/progress/events/([^/]+)/([^/]+)")
OPEN_ROUTES = (*EVENT_ROUTES, r"/api/servers", r"/api/recreateforward/([^/]+)")

SOCKETS = "/tmp"  # folder of the control sockets of ssh; the path of a socket has at most 108 characters

CONNECT_SECONDS = 15  # for one attempt to open an ssh connection
START_SECONDS = 8  # for repeating a start that an outpost cannot accept; less than a request to a silent address takes
START_PAUSE = 2  # seconds between two such attempts
RECONNECT_SECONDS = 600  # for reconnecting running servers after a restart of the hub
WATCH_SECONDS = 5  # between two checks of a system's connection
POD_STOP_SECONDS = 60  # for the pod of a server of KubeSpawner to end; the grace period is 30 s by default
RENEW_AT_ONCE = 8  # tunnels of one system renewed in parallel

# Sizes in bytes. "As JSON" is how the hub's database and API write a value: ASCII, a character takes up to 12 bytes.
MAX_BODY = 256 * 1024  # of an event, as it is sent
MAX_TEXT = 4000  # of one text, as JSON
MAX_HTML = 8000  # of one text as HTML, as JSON: escaping makes a text longer
MAX_KEPT = 128 * 1024  # of all events of one start, and of all log lines of one server, as JSON
MAX_ANSWER = 1024 * 1024  # of an outpost's answer
MAX_REASON = 16 * 1024  # of the reason that an outpost gives for an error, as JSON

MAX_EVENTS = 500  # of one start, and log lines of one server
MAX_SSH_OUTPUT = 1500  # characters in the log; the warning about a changed host key has 900

# curl's errors for a request that never arrived: unknown host, connection refused, TLS handshake failed.
NOT_SENT = (6, 7, 35)
CURLOPT_CA_CACHE_TIMEOUT = 321  # of curl 7.87 and newer; pycurl has no name for it

SUMMARY = "<details><summary>"  # the beginning of an event with a title, which gets the time
EVENT_TAGS = re.compile(r"&lt;(/?(?:details|summary|pre|br)/?)&gt;")  # tags that keep their meaning; the rest is text


# ---- Data: custom.outposts


class Faults:
    """Collects the faults of the data, so that one message lists all of them.

    Each method checks one value and returns it, or a value of the same type if it is invalid.
    """

    def __init__(self):
        self.found = []

    def add(self, where, what):
        self.found.append(f"  {where}: {what}")

    def raise_any(self):
        if self.found:
            raise ValueError("custom.outposts is invalid:\n" + "\n".join(self.found))

    def map(self, where, data, names):
        if not isinstance(data, dict):
            self.add(where, "must be a map")
            return {}
        for name in data:
            if name not in names:
                self.add(f"{where}.{name}", f"unknown key; expected one of: {', '.join(names)}")
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

    def flag(self, where, value, default):
        if value is None:
            return default
        if not isinstance(value, bool):
            self.add(where, "must be true or false")
        return value is True

    def list(self, where, value):
        if value is None or isinstance(value, list):
            return value or []
        self.add(where, "must be a list")
        return []

    def path(self, where, value):
        return self.match(where, value, PATH, "an absolute path of plain characters")

    def file(self, where, value):
        path = self.path(where, value)
        if path and not Path(path).is_file():
            self.add(where, f"file {path} does not exist")
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
        self.add(where, f"{value!r} is not a port, 1 to 65535")
        return 0


class Flavor:
    """Resources that a user picks by name. Only the outpost knows what they are."""

    KEYS = ("name", "displayName", "description")

    def __init__(self, where, data, faults):
        data = faults.map(where, data, self.KEYS)
        self.name = faults.match(f"{where}.name", data.get("name"), FLAVOR_NAME, "a flavor name")
        self.display_name = faults.text(f"{where}.displayName", data.get("displayName"), self.name)
        self.description = faults.text(f"{where}.description", data.get("description"), "")

    @property
    def label(self):
        return f"{self.display_name} ({self.description})" if self.description else self.display_name


class System:
    """One outpost: its address, the hub's address as its servers see it, and how to tunnel to it."""

    KEYS = (
        "formerNames", "displayName", "description", "url", "hubApiUrl", "caFile", "defaultServer", "flavor", "flavors",
        "ssh",
    )  # fmt: skip
    SSH_KEYS = ("host", "port", "user", "knownHosts")

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
        self.auth_file = Path(settings["authDir"]) / self.name
        self._flavors(where, data, faults)

        self.tunnels = weakref.WeakSet()  # spawners of running servers whose tunnel this process has made
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
            raise StartError(f"The hub has no password for {self.display_name}. {TELL_ADMINS}") from e
        return "Basic " + base64.b64encode(credentials.encode()).decode()


# ---- Errors

TELL_ADMINS = "Tell the administrators of the hub."


class StartError(web.HTTPError):
    """A failed start, with a message for the user in the attributes that JupyterHub shows."""

    def __init__(self, message, status=502):
        # The client reads the reason, so it must not be None.
        super().__init__(status, message, reason=responses[status])
        self.jupyterhub_message = message
        self.jupyterhub_html_message = html.escape(message)


class WrongHostKey(ConnectionError):
    """An ssh server has shown a host key other than the known one."""


def client_error(error):
    """Returns the status code, 0 for none, and the reason of a failed request to an outpost.

    The client's error is "<action> request to <URL> failed: <code>" with the outpost's text as its reason.
    """
    found = re.search(r" failed(?:: (\d+))?$", getattr(error, "log_message", None) or "")
    code = int(found[1]) if found and found[1] else 0
    return code, str(getattr(error, "reason", "") or "").strip()


def not_accepted(error):
    """Reports whether the outpost has not begun the start: it could not be reached, or was not ready."""
    code, _ = client_error(error)
    return code in (502, 503) or getattr(error.__context__, "errno", None) in NOT_SENT


def unavailable(reason):
    """Returns the message of an outpost that cannot start servers, "" if it has sent none."""
    try:
        (sentence,) = json.loads(reason)["args"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return safe_text(sentence, MAX_TEXT)


def user_message(system, error):
    """Returns what to tell the user about a failed request to an outpost."""
    if isinstance(error, StartError):
        return error.jupyterhub_message
    code, reason = client_error(error)
    if code == 419:
        return f"{system.display_name}: {safe_text(reason, MAX_TEXT) or 'the server could not be started.'}"
    if code == 401:
        return f"{system.display_name} does not accept the hub's password. {TELL_ADMINS}"
    if code == 503 and (sentence := unavailable(reason)):
        return f"{system.display_name} cannot start servers at the moment: {sentence}"
    if code in (0, 502, 503, 504, 599):
        detail = " The hub does not trust its certificate." if re.search("certificate|SSL", reason) else ""
        advice = "Try again later, or choose another system."
        return f"{system.display_name} cannot be reached at the moment.{detail} {advice}"
    return f"{system.display_name} answered with unexpected status {code}. {TELL_ADMINS}"


# ---- Texts and numbers from servers and outposts, as they are shown and stored


def json_size(value):
    return len(json.dumps(value))


def safe_text(value, size):
    """Returns the longest beginning of a string that takes at most `size` bytes as JSON; "" for any other type."""
    if not isinstance(value, str):
        return ""
    # JSON can contain lone surrogates, which cannot be encoded as UTF-8.
    text = value[:size].encode("utf-8", "replace").decode()
    if json_size(text) <= size:
        return text
    return text[: bisect.bisect_right(range(len(text) + 1), size, key=lambda n: json_size(text[:n])) - 1]


def safe_number(value, low, high):
    """Returns a finite number, limited to `low` and `high`; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(max(value, low), high)


def safe_html(text):
    """Returns `text` as HTML in which only EVENT_TAGS have a meaning, cut to MAX_HTML."""
    safe = EVENT_TAGS.sub(r"<\1>", html.escape(html.unescape(text), quote=False))
    short = safe_text(safe, MAX_HTML)
    # The end of a cut text may be part of a tag or of an entity.
    return safe if short == safe else re.sub(r"<[^>]*$|&[^;\s]{0,8}$", "", short)


def safe_event(event):
    """Returns an event that can be shown and stored: texts of limited size, safe HTML, finite numbers."""
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
    """Returns the last of `items` that fit into `count` and `size`, in their order."""
    kept = []
    for item in reversed(items):
        size -= json_size(item) + 2
        if size < 0 or len(kept) == count:
            break
        kept.append(item)
    return kept[::-1]


def safe_logs(logs):
    lines = logs[-MAX_EVENTS:] if isinstance(logs, list) else []
    return newest([safe_text(line, MAX_TEXT) for line in lines])


def safe_exit_code(code):
    code = safe_number(code, -(2**31), 2**31 - 1)
    return None if code is None else int(code)


def safe_address(address):
    """Returns a server's address as an outpost gives it, [http[s]://]host:port; "" for any other value."""
    found = SERVICE_ADDRESS.fullmatch(address) if isinstance(address, str) else None
    return address if found and 0 < int(found[3]) < 65536 else ""


def safe_state(state):
    """Returns a spawner's state with values from servers and outposts limited in size, and with finite numbers.

    It applies before a state is stored and after one is read: a row may be older than this module.
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


def safe_answer(action, answer):
    """Returns the parts that the client uses of an outpost's answer to the action "start", "poll" or "stop"."""
    if answer is None and action == "stop":
        return None
    answer = answer if isinstance(answer, dict) else {}
    if action == "start":
        return {"service": safe_address(answer.get("service"))}
    return {"status": safe_exit_code(answer.get("status")), "logs": safe_logs(answer.get("logs"))}


# ---- Events: what servers report


class Events(APIHandler):
    """Receives the events of a start. They come from the server or its outpost, which both have the server's token.

    No other credentials are accepted: permission to open a server is not permission to report for it.
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
            raise web.HTTPError(400, "The event is empty, or this start has reported too many.")

    def own_spawner(self, user_name, server_name):
        """Returns the spawner whose token the request carries.

        All other requests get the same answer, so that it does not reveal which users and servers exist.
        """
        token = self.get_auth_token()
        user = self.find_user(user_name) if token and self.current_user else None
        if user is not None and server_name in user.spawners:
            spawner = user.spawners[server_name]
            if spawner.api_token and compare_digest(spawner.api_token.encode(), token.encode()):
                return spawner
        raise web.HTTPError(403, "Only the server itself can report its events.")

    def event(self):
        """Returns the body as a dict. Neither the log nor an answer repeats any part of it."""
        if len(self.request.body) > MAX_BODY:
            raise web.HTTPError(413, f"An event must have at most {MAX_BODY} bytes.")
        try:
            event = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise web.HTTPError(400, "An event must be a JSON object.")
        return event

    async def end(self, spawner, event):
        """Stops a server, or cancels its start, that has reported its failure."""
        if spawner.pending and any(e.get("failed") for e in spawner.events):
            return  # this start is being cancelled
        spawner.last_event = event
        if spawner.pending:
            spawner.events.append(event)
            # The progress page looks for events at this interval, and a start takes a moment to be cancelled.
            await asyncio.sleep(spawner.yield_wait_seconds)
            if spawner._spawn_future:
                spawner._spawn_future.cancel()
            await asyncio.sleep(spawner.yield_wait_seconds)
        elif await spawner.poll_and_notify() is not None:
            return  # it had ended already, and the hub has been notified
        if spawner.active and not spawner.pending:
            await self.stop_single_user(spawner.user, spawner.name)


# ---- Services: the hub's forwarded ports in Kubernetes


def _kubernetes():
    kubernetes.config.load_incluster_config()
    return kubernetes.client.CoreV1Api()


def make_service(name, namespace, port, labels):
    """Makes a Service for a port of the hub's pod. One that fits already is left alone, because the proxy uses it."""
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


# ---- Servers of KubeSpawner, which this hub had before


def pod_status(namespace, name):
    """Returns None while the pod of a server runs, else its exit code, 1 if there is none."""
    try:
        status = _kubernetes().read_namespaced_pod(name=name, namespace=namespace).status
    except kubernetes.client.ApiException as e:
        if e.status == 404:
            return 1
        raise
    if status.phase not in ("Succeeded", "Failed"):
        return None
    codes = [s.state.terminated.exit_code for s in status.container_statuses or [] if s.state.terminated]
    return max(codes, default=1)


def remove_pod(namespace, name):
    """Deletes a pod and waits until it is gone: what it has mounted is free then."""
    api = _kubernetes()
    try:
        api.delete_namespaced_pod(name=name, namespace=namespace)
        for _ in range(POD_STOP_SECONDS):
            api.read_namespaced_pod(name=name, namespace=namespace)
            time.sleep(1)
    except kubernetes.client.ApiException as e:
        if e.status != 404:
            raise


# ---- Form, options, requests and tunnels: the hooks of the client


class Outposts:
    """The systems of this hub, and the hooks that the client calls."""

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
        settings = dict(faults.map("custom.outposts", settings, self.KEYS))
        prefix = settings.get("namePrefix", "jupyterhub")
        self.prefix = faults.match("namePrefix", prefix, PREFIX, "[a-z0-9-], at most 22 characters")
        settings["authDir"] = faults.path("authDir", settings.get("authDir"))
        options = faults.list("userOptions", settings.get("userOptions"))
        self.user_options = tuple(
            faults.match(f"userOptions[{i}]", o, OPTION_NAME, "an option name") for i, o in enumerate(options)
        )
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

    def __deepcopy__(self, memo):
        # traitlets copies configured values, and with a hook the object that it is bound to. This object is shared.
        return self

    def system(self, user_options):
        """Returns the system that options name; StartError if they name none."""
        name = (user_options or {}).get("system")
        if isinstance(name, list) and len(name) == 1:
            # As JupyterHub stores the fields of a form, in servers that were started without this module.
            name = name[0]
        if name is None and len(self.systems) == 1:
            (name,) = self.systems
        if not isinstance(name, str) or name not in self.by_any_name:
            raise StartError(f"Choose one of these systems: {', '.join(sorted(self.systems))}.", 400)
        return self.by_any_name[name]

    def of(self, spawner):
        return self.system(spawner.user_options)

    # Form and options.

    def options_form(self, spawner):
        systems = sorted(self.systems.values(), key=lambda s: (s.display_name, s.name))
        if not spawner.name:
            systems = [s for s in systems if s.default_server]
        if not systems:
            return "<p>This hub starts named servers only. Go to its home page, enter a name, and add a server.</p>"
        chosen = spawner.user_options.get("system")
        chosen = self.by_any_name.get(chosen) if isinstance(chosen, str) else None
        if chosen not in systems:
            chosen = systems[0]
        return '<div class="form-group">' + "".join(self._form_of(s, s is chosen) for s in systems) + "</div>"

    def _form_of(self, system, checked):
        # Each system has its own flavor field, from which options_from_form chooses: the form needs no script.
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
        # A form sends a list of strings for each field; all other code expects one string.
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
        """Returns the options of a start with defaults filled in, all of them strings; StartError if one is invalid."""
        system = self.system(user_options)
        for name, value in user_options.items():
            if name not in ("system", "flavor", *self.user_options):
                allowed = ", ".join(("system", "flavor", *self.user_options))
                raise StartError(f"Unknown option {name[:63]!r}. Available options: {allowed}.", 400)
            if name != "system" and not (isinstance(value, str) and len(value) <= 256 and value.isprintable()):
                raise StartError(f"Option {name} must be a string of at most 256 printable characters.", 400)
        options = {**user_options, "system": system.name}
        flavor = options.get("flavor") or system.flavor
        if flavor:
            if system.flavors and flavor not in system.flavors:
                available = f"Available flavors: {', '.join(system.flavors)}."
                raise StartError(f"{system.display_name} has no flavor {flavor[:63]!r}. {available}", 400)
            if not FLAVOR_NAME.fullmatch(flavor):
                raise StartError("Invalid flavor name.", 400)
            options["flavor"] = flavor
        return options

    def apply_user_options(self, spawner, user_options):
        try:
            options = self.checked(user_options)
        except StartError:
            # JupyterHub has stored the refused options already, and its API returns them.
            system = user_options.get("system")
            kept = {"system": system} if isinstance(system, str) and system in self.by_any_name else {}
            spawner.user_options = spawner.orm_spawner.user_options = kept
            raise
        spawner.user_options = options
        # The stored options too: the route that renews tunnels reads the system from there.
        spawner.orm_spawner.user_options = options

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
        # tornado's curl client reuses the CAs of an earlier request for one that names none.
        ca_file = self.system(user_options).ca_file or certifi.where()
        return {
            "connect_timeout": 10, "request_timeout": 60, "ca_certs": ca_file, "validate_cert": True,
            "prepare_curl_callback": prepare_curl,
        }  # fmt: skip

    def request_kwargs_start(self, spawner, user_options):
        # The outpost answers a start when the pod runs, after its images have been pulled.
        return {**self.request_kwargs(spawner, user_options), "request_timeout": spawner.start_timeout}

    def custom_user_options(self, spawner, user_options):
        flavor = user_options.get("flavor") or self.system(user_options).flavor
        return {"flavor": flavor} if flavor else {}

    def custom_misc(self, spawner, user_options):
        return {}

    def extra_labels(self, spawner, user_options):
        # On the pod there and on the Service here: they show whether a system that is to be removed still has servers.
        return {"outposts.dev/system": self.system(user_options).name}

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
        await asyncio.to_thread(make_service, spawner.svc_name, spawner.namespace, spawner.port, labels)
        return f"{spawner.svc_name}.{spawner.namespace}.svc", spawner.port

    async def ssh_custom_svc_remove(self, spawner, port_forward_info):
        await asyncio.to_thread(remove_service, spawner.svc_name, spawner.namespace)

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
                await self.connect(spawner)
            except ConnectionError as e:
                spawner.log.error(f"{spawner._log_name} - cannot connect to {system.name}: {e}")
                message = f"The hub cannot open an SSH connection to {system.display_name}. Try again later."
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
            await self._keep(spawner)
        return url

    async def ssh_recreate_at_start(self, spawner):
        """Runs once for each running server after a restart of the hub, which has ended its tunnels.

        After it, JupyterHub stops a server that it does not reach within http_timeout. A short loss of the network
        would then cost users their work, so the hub keeps trying here first. It always returns False: the client
        would make the tunnel itself, and stop the server if its only attempt failed.
        """
        if not spawner.port_forward_info:
            return False
        give_up = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                await self.renew(spawner)
                return False
            except (ConnectionError, web.HTTPError) as e:
                spawner.log.warning(f"{spawner._log_name} - no tunnel to {self.of(spawner).name} yet, retrying: {e}")
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(WATCH_SECONDS)

    async def pre_poll_hook(self, spawner):
        """Makes the tunnel of a running server for which this process has not made one."""
        if spawner.port_forward_info and spawner.ready and not spawner.call_during_startup:
            if spawner not in self.of(spawner).tunnels:
                try:
                    await self.renew(spawner)
                except (ConnectionError, web.HTTPError) as e:
                    spawner.log.warning(f"{spawner._log_name} - no tunnel, retrying: {e}")
        return True

    def pre_stop_hook(self, spawner):
        self.of(spawner).tunnels.discard(spawner)

    async def renew(self, spawner):
        """Opens the system's connection unless it is open, and forwards the server's port through it."""
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
        """Renews tunnels whose connection has been lost: a new connection has no forwarded ports."""
        while system.tunnels:
            await asyncio.sleep(WATCH_SECONDS)
            kept = [s for s in system.tunnels if s.port_forward_info and not s._stop_pending]
            if not kept:
                continue
            try:
                connection = await self.connect(kept[0])  # all of them share it
            except ConnectionError as e:
                kept[0].log.warning(f"{system.name} - {len(kept)} servers have no tunnel, retrying: {e}")
                continue
            except Exception:
                kept[0].log.exception(f"{system.name} - cannot check the connection")
                continue
            turns = asyncio.Semaphore(RENEW_AT_ONCE)
            await asyncio.gather(
                *(self._renew_forward(s, system, connection, turns) for s in kept if s.outpost_connection != connection)
            )

    async def _renew_forward(self, spawner, system, connection, turns):
        async with turns:
            if spawner not in system.tunnels:
                return
            spawner.log.warning(f"{spawner._log_name} - lost the connection to {system.name}, renewing the tunnel")
            try:
                await spawner.run_ssh_forward()
                if spawner in system.tunnels:
                    spawner.outpost_connection = connection
                else:  # stopped meanwhile: undo what was forwarded after the stop
                    await spawner.run_ssh_forward_remove()
            except web.HTTPError as e:
                spawner.log.warning(f"{spawner._log_name} - no tunnel, retrying: {e}")
            except Exception:
                spawner.log.exception(f"{spawner._log_name} - cannot renew the tunnel")

    async def _ssh(self, spawner, *args):
        """Runs ssh with the system's options and without a shell. Returns its exit code and what it wrote to stderr."""
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
        """Returns the process ID of the system's ssh connection, None if there is none."""
        code, output = await self._ssh(spawner, "-n", "-O", "check")
        found = re.search(r"pid=(\d+)", output)
        return int(found[1]) if code == 0 and found else None

    async def connect(self, spawner):
        """Opens the system's shared ssh connection unless it is open, and returns its process ID.

        Raises ConnectionError, which is WrongHostKey if the host key is not the known one.
        """
        async with self.of(spawner).lock:
            connection = await self.connection(spawner)
            if connection:
                return connection
            # With -f, the process that stays would keep a pipe open: its output goes to a file.
            with tempfile.NamedTemporaryFile("r") as log:
                code, output = await self._ssh(spawner, "-f", "-N", "-n", "-E", log.name)
                connection = await self.connection(spawner)
                if not connection:
                    output = log.read().strip() or output
                    error = WrongHostKey if "Host key verification failed" in output else ConnectionError
                    raise error(f"ssh exited with code {code}: {output[-MAX_SSH_OUTPUT:]}")
            return connection


# ---- Spawner


def prepare_curl(curl):
    """Sets options of curl that tornado's client does not offer.

    By default curl caches a CA file for a day, and so would not trust a rotated CA, and accepts answers of any size.
    """
    import pycurl  # here because only tornado's curl client needs it

    curl.setopt(pycurl.MAXFILESIZE, MAX_ANSWER)
    try:
        curl.setopt(CURLOPT_CA_CACHE_TIMEOUT, 0)
    except pycurl.error:
        pass  # older than 7.87: it caches nothing


class Spawner(outpostspawner.OutpostSpawner):
    """The unmodified client, with limits on what it receives, shows and stores.

    c.OutpostSpawner configures it as it configures its parent.
    """

    outposts = None  # the Outposts of this hub, set by configure
    start_error = None  # the StartError of the current start, if it has failed
    kube_state = None  # what KubeSpawner kept of the server, if it has started it; no outpost knows it

    async def progress(self):
        if self._spawn_future is None:
            # The start has ended since the page asked. The client would fail the page's request, and JupyterHub no
            # longer has the reason.
            if self.start_error:
                yield safe_event({"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message})
            return
        # The client puts texts of outposts, servers and users into HTML without escaping them.
        last = None
        async for event in super().progress():
            shown = (event.get("message"), event.get("html_message"))
            # JupyterHub itself has shown "Server requested".
            if (shown == last or shown[0] == "Server requested") and not event.get("failed"):
                continue
            last = shown
            if event.get("failed") and self.start_error:
                event = {"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message}
            yield safe_event(event)

    def keep_event(self, event):
        """Adds an event to those of the current start. Reports whether it was not empty and there was room."""
        try:
            event = self.run_filter_events(event)
        except Exception as e:
            # Its message may repeat the event.
            self.log.warning(f"{self._log_name} - filter_events raised {type(e).__name__}")
            return False
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
        return safe_state({**super().get_state(), **(self.kube_state or {})})

    def load_state(self, state):
        super().load_state(safe_state(state))
        kept = {key: state.get(key) for key in ("namespace", "pod_name", "kubespawner_version")}
        self.kube_state = kept if all(isinstance(value, str) for value in kept.values()) else None

    def clear_state(self):
        super().clear_state()
        self.kube_state = None

    async def poll(self):
        if self.kube_state is None:
            return await super().poll()
        try:
            return await asyncio.to_thread(pod_status, self.kube_state["namespace"], self.kube_state["pod_name"])
        except Exception as e:
            # A server whose state is unknown goes on: users would lose their work.
            self.log.warning(f"{self._log_name} - cannot see pod {self.kube_state['pod_name']}: {e}")
            return None

    async def stop(self, now=False, **kwargs):
        if self.kube_state is None:
            return await super().stop(now, **kwargs)
        await asyncio.to_thread(remove_pod, self.kube_state["namespace"], self.kube_state["pod_name"])

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
            # The client's message contains addresses, and the outpost's text where HTML is expected.
            raise self.start_error or e from e

    async def send_request(self, req, action, raise_exception=True):
        # An outpost that restarts, or its Ingress, is unavailable for seconds, and a start must not fail for that. If
        # an attempt has arrived after all, the outpost recognises its start ID and does not start a second server.
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                return await super().send_request(req, action, raise_exception)
            except web.HTTPError as e:
                if action != "start" or not not_accepted(e) or time.monotonic() > give_up:
                    raise
                self.log.warning(f"{self._log_name} - the outpost did not accept the start; retrying")
            await asyncio.sleep(START_PAUSE)

    async def subprocess_cmd(self, cmd, timeout=3):
        # The client allows ssh one to three seconds, not enough on a busy hub.
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


# ---- Configuration


def configure(c, settings):
    """Configures JupyterHub for the outposts in `settings`, the value of custom.outposts.

    Raises ValueError with every fault of the settings.
    """
    if _pair_warning:
        get_logger().warning(_pair_warning)
    outposts = Outposts(settings)
    Spawner.outposts = outposts

    c.JupyterHub.spawner_class = Spawner
    c.JupyterHub.allow_named_servers = True
    for hook in Outposts.HOOKS:
        setattr(c.OutpostSpawner, hook, getattr(outposts, hook))
    # Name of the Service here and of the pod there, made of the user's ID and the server's name.
    c.OutpostSpawner.svc_name_template = f"{outposts.prefix}-{{userid}}-{{servername}}"

    default_handlers[:] = [
        (handler[0], Events, *handler[2:]) if handler[0] in EVENT_ROUTES else handler
        for handler in default_handlers
        if handler[1].__module__.split(".")[0] not in PLUGINS or handler[0] in OPEN_ROUTES
    ]
