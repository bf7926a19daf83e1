"""Services that `outpost tunnels` serves: each reserves a port there, and says where it leads."""

import asyncio
import contextlib
import json
import random
import re
import time
from datetime import datetime

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from .cluster import connected, delete_service, find_service, in_thread, list_services, put_service, turn_of
from .errors import AnotherHubs, UnknownSystem, WrongHostKey
from .owner import SYSTEM_LABEL, TUNNELS, another_hub, marks
from .tunnels import Tunnels

TARGET = "outposts.dev/target"  # annotation: host:port as the outpost reaches it
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")

CLAIMS = 10  # ports tried for one server
GUESSES = 3  # of them by chance alone, for a start; then the Services are looked through
CHOSEN_SECONDS = 5  # for which nobody else chooses a port that is about to be claimed: claims are ordered by seconds
REST_SECONDS = 60  # for a port that was given back: the nodes of the cluster lead to it for some time
ANSWER_SECONDS = 10  # for a claim to be decided, and for a connection that is being made
FIRST_PAUSE = 0.02  # seconds in which the tunnels usually have decided about a claim
PAUSE = 0.05  # between two questions to the tunnels
WAITS_SECONDS = 1  # for an answer that a form waits for
CONNECTED_SECONDS = 1  # for which a system is taken to be connected that has been


class TunnelsSettings:
    """Where the tunnels are, and which Services are theirs."""

    KEYS = ("name", "url", "ports", "dialOutUrl")
    FIXED = ("name", "url", "ports")  # while the hub runs

    def __init__(self, where, data, faults):
        data = faults.map(where, data, self.KEYS)
        self.name = faults.match(f"{where}.name", data.get("name"), LABEL, "the value of a label")
        self.url = faults.url(f"{where}.url", data.get("url"))
        found = re.fullmatch(r"([0-9]{4,5})-([0-9]{4,5})", str(data.get("ports", "20000-29999")))
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1024 <= first <= last < 65536:
            faults.add(f"{where}.ports", "is not a range of ports such as 20000-29999")
        self.ports = range(first, last + 1)
        dial_out_url = data.get("dialOutUrl")
        self.dial_out_url = None if dial_out_url in (None, "") else faults.url(f"{where}.dialOutUrl", dial_out_url)
        self.held = {}  # ports that nobody chooses, until when
        self.removals = {}  # of Services that are of no server: futures by name

    def __eq__(self, other):
        return isinstance(other, TunnelsSettings) and all(
            getattr(self, key) == getattr(other, key) for key in self.FIXED
        )

    def choose(self, taken=()):
        """Returns a port by chance, none of those that are taken. Only the event loop's thread calls it."""
        now = time.monotonic()
        self.held = {port: until for port, until in self.held.items() if until > now}
        port = random.choice(self.ports)
        if port in self.held or port in taken:
            free = [port for port in self.ports if port not in self.held and port not in taken]
            if not free:
                raise ConnectionError(f"all {len(self.ports)} ports of the tunnels are in use")
            port = random.choice(free)
        self.hold(port, CHOSEN_SECONDS)
        return port

    def hold(self, port, seconds=REST_SECONDS):
        """Keeps a port from being chosen for some time."""
        self.held[port] = time.monotonic() + seconds


class Claims(Tunnels):
    """The tunnels to the servers of one system, by `outpost tunnels`. What the Services say is all their state."""

    def __init__(self, system, settings):
        super().__init__(system)
        self.settings = settings
        self.connected_until = 0
        self.last_seen = 0  # seconds since the epoch, of an outpost that dials out

    async def keep(self, spawner):
        self.servers.add(spawner)

    async def renew(self, spawner):
        """Makes the Service of a running server unless it is as it should be."""
        await spawner.run_ssh_forward()
        await self.keep(spawner)

    async def _ask(self, path, seconds=ANSWER_SECONDS):
        """Returns an answer of the tunnels, None if they do not know; ConnectionError without an answer."""
        client = SimpleAsyncHTTPClient()
        try:
            answer = await client.fetch(
                HTTPRequest(self.settings.url + path, connect_timeout=seconds, request_timeout=seconds)
            )
            return json.loads(answer.body)
        except HTTPClientError as e:
            if e.code == 404:
                return None
            raise ConnectionError(f"the tunnels do not answer: {e}") from e
        except (OSError, ValueError) as e:
            raise ConnectionError(f"the tunnels do not answer: {e}") from e

    async def _decided(self, path, is_decided):
        """Asks until an answer is decided, or time is over. Returns the last answer, None if the tunnels know nothing.

        Raises ConnectionError if they have not answered: a replica may be about to go.
        """
        give_up = time.monotonic() + ANSWER_SECONDS
        while True:
            late = time.monotonic() > give_up
            try:
                answer = await self._ask(path)
                if late or (answer and is_decided(answer)):
                    return answer
            except ConnectionError:
                if late:
                    raise
            await asyncio.sleep(PAUSE)

    async def waits(self):
        """Reports whether the tunnels wait for an outpost that dials out; `last_seen` is what they know of it then."""
        try:
            answer = await self._ask(f"/systems/{self.system}", WAITS_SECONDS)
        except ConnectionError:
            return False
        if not isinstance(answer, dict) or answer.get("state") != "waiting":
            return False
        with contextlib.suppress(TypeError, ValueError):
            # One that has been replaced since then has not seen it.
            seen = datetime.fromisoformat(answer.get("lastSeen", "").replace("Z", "+00:00")).timestamp()
            self.last_seen = max(self.last_seen, seen)
        return True

    async def connect(self, spawner):
        """Waits for the connection to the system. Raises ConnectionError.

        That is WrongHostKey for another key, and UnknownSystem as long as the tunnels do not know the system.
        """
        if time.monotonic() < self.connected_until:
            return
        final = ("connected", "wrong_host_key", "refused_key")
        answer = await self._decided(f"/systems/{self.system}", lambda answer: answer["state"] in final)
        if answer is None:
            raise UnknownSystem(f"the tunnels do not know {self.system} yet")
        state = answer["state"]
        if state == "wrong_host_key":
            raise WrongHostKey(f"the tunnels refuse the host key of {self.system}")
        if state != "connected":
            raise ConnectionError(f"{self.system} is {state} for the tunnels")
        self.connected_until = time.monotonic() + CONNECTED_SECONDS

    async def serve(self, spawner, labels, former_names):
        """Makes the Service of a server unless it is as it should be, and waits until the tunnels serve it.

        It may have a former name of the system, which the tunnels know too: the new one may be in their file later than
        here. Until it is served nobody may be led to its address: its port may be another server's. Raises
        ConnectionError, which is AnotherHubs if another hub has a Service of this name.
        """
        target = spawner.port_forward_info["service"].removeprefix("https://").removeprefix("http://")
        name, namespace, taken = spawner.svc_name, spawner.namespace, ()
        # The proxy leads to a running server already, so that not even a claim that will be lost may be made for it.
        guesses = GUESSES if spawner._spawn_pending else 0
        if removal := self.settings.removals.get(name):
            await asyncio.wait([removal])
        as_it_should_be = self._manifest(name, labels, target, spawner.port, None)
        if not guesses and await self._kept(as_it_should_be, spawner, former_names):
            return
        for attempt in range(CLAIMS):
            if attempt >= guesses:
                taken = await in_thread(self._taken, namespace)
            target_port = self.settings.choose(taken)
            manifest = self._manifest(name, labels, target, spawner.port, target_port)
            made, left = await in_thread(_put, namespace, manifest, self.settings.ports, former_names, guesses > 0)
            for port in left:
                self.settings.hold(port)
            state = await self._state(name, made.metadata.uid)
            if state == "Served":
                return
            spawner.log.warning(f"{spawner._log_name} - port {target_port} of the tunnels: {state}")
            await self.remove(name, namespace)
        raise ConnectionError(f"no port of the tunnels in {CLAIMS} attempts")

    async def _kept(self, manifest, spawner, former_names):
        """Reports whether a server has its Service and is served. It needs no port then: there may be none."""
        there = await in_thread(lambda: find_service(connected(), spawner.namespace, spawner.svc_name))
        if there is None or not _fits(there, manifest, self.settings.ports, former_names):
            return False
        return await self._state(spawner.svc_name, there.metadata.uid) == "Served"

    async def _state(self, name, uid):
        """Returns what the tunnels have made of a Service."""

        def is_decided(answer):
            # The file of systems may be about to change.
            return answer["uid"] == uid and answer["state"] != "UnknownSystem"

        await asyncio.sleep(FIRST_PAUSE)
        answer = await self._decided(f"/services/{name}", is_decided)
        if not (answer and is_decided(answer)):
            raise ConnectionError(f"the tunnels do not serve {name}: {answer['state'] if answer else 'not seen'}")
        return answer["state"]

    def _manifest(self, name, labels, target, port, target_port):
        selector = {TUNNELS: self.settings.name}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "labels": {**labels, **selector}, "annotations": {TARGET: target, **marks()}},
            "spec": {
                "selector": selector,
                "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": target_port}],
            },
        }

    def _taken(self, namespace):
        """Returns the ports that Services have."""
        selector = f"{TUNNELS}={self.settings.name}"
        return set(ports_of(list_services(connected(), namespace, selector)))

    async def remove(self, name, namespace):
        """Deletes the Service of a server; its port rests."""
        for port in await in_thread(_delete, namespace, name):
            self.settings.hold(port)


def target_ports(service):
    return [p.target_port for p in (service.spec and service.spec.ports) or []]


def ports_of(services):
    """Returns the target ports of Services as in JSON."""
    return [port.get("targetPort") for service in services for port in service["spec"].get("ports") or []]


def _put(namespace, manifest, ports, former_names, likely_new):
    """Makes a Service unless one leads to the target already. Returns it, and the ports of those that had to go."""

    def fits(there):
        if owner := another_hub(connected(), namespace, there):
            raise AnotherHubs(manifest["metadata"]["name"], owner)
        return _fits(there, manifest, ports, former_names)

    with turn_of(namespace, manifest["metadata"]["name"]):
        made, gone = put_service(connected(), namespace, manifest, fits, likely_new)
    return made, [port for service in gone for port in target_ports(service)]


def _fits(there, manifest, ports, former_names):
    """Reports whether a Service leads where it should."""
    wanted, labels = manifest["metadata"], dict(there.metadata.labels or {})
    if labels.get(SYSTEM_LABEL) in former_names:
        labels[SYSTEM_LABEL] = wanted["labels"][SYSTEM_LABEL]
    return (
        labels.items() >= wanted["labels"].items()
        and (there.metadata.annotations or {}).get(TARGET) == wanted["annotations"][TARGET]
        and dict(there.spec.selector or {}) == manifest["spec"]["selector"]
        and [p.port for p in there.spec.ports] == [p["port"] for p in manifest["spec"]["ports"]]
        and target_ports(there)[0] in ports
    )


def _delete(namespace, name):
    """Deletes a Service unless it is another hub's. Returns the ports that it had."""
    api = connected()
    with turn_of(namespace, name):
        there = find_service(api, namespace, name)
        if there is None or another_hub(api, namespace, there):
            return []
        delete_service(api, namespace, name, there.metadata.uid)
    return target_ports(there)
