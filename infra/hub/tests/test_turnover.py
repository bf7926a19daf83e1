"""Servers behind a real `outpost tunnels` whose ports are all taken, while connections are lost and servers come and
go: no request ever reaches another user's server. Kubernetes and the outpost are fakes; hub and SSH server are real."""

import asyncio
import contextlib
import getpass
import json
import os
import random
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import stage

ROUNDS = int(os.environ.get("TURNOVER_ROUNDS", "30"))
PORTS = range(21000, 21064)
USERS = [f"user{i}" for i in range(len(PORTS))]
GIVEN_UP = 16  # servers that are stopped when all run
NODES = "127.0.2.{}"  # where nodes lead to pods: each Service has an address of its own, by the ID of its user
PORT = 20999  # of all Services, as where one is configured for all servers: their addresses differ
LATE = 5  # seconds for which nodes may lead to the target port of a Service that is gone
REST_SECONDS = 31  # for which the hub chooses no port again; the tunnels have 30 for it
# What users are told, and the hub's log has: of ports, and of tunnels that are not back yet.
TOLD = (
    "the hub cannot open a tunnel to it. Try again later.",
    "The hub cannot open an SSH connection to remote. Try again later.",
)
FULL = (
    f"all {len(PORTS)} ports of the tunnels are in use", "no port of the tunnels in 10 attempts",
    "cannot connect to remote", "the tunnels do not",
)  # fmt: skip


class Tunnels:
    """`outpost tunnels` as a process."""

    def __init__(self, folder, cluster, key, systems):
        self.program, self.log = folder / "outpost", folder / "tunnels.log"
        root = stage.HERE.parent.parent.parent
        subprocess.run(["go", "build", "-o", self.program, "./server/cmd/outpost"], cwd=root, check=True)
        (folder / "systems.yaml").write_text(json.dumps({"systems": systems}))
        self.kubeconfig = folder / "kubeconfig"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "c", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{cluster.port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }  # fmt: skip
        self.kubeconfig.write_text(json.dumps(config))
        port = stage.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.env = {
            **os.environ,
            "OUTPOST_TUNNELS_NAME": "hub",
            "OUTPOST_TUNNELS_NAMESPACE": "jupyter",
            "OUTPOST_TUNNELS_PORTS": f"{PORTS[0]}-{PORTS[-1]}",
            "OUTPOST_TUNNELS_SYSTEMS_FILE": str(folder / "systems.yaml"),
            "OUTPOST_TUNNELS_KEY_FILE": str(key),
            "OUTPOST_METRICS_LISTEN": f"127.0.0.1:{port}",
            "OUTPOST_LOG_FORMAT": "text",
        }
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "--kubeconfig", self.kubeconfig, "tunnels"], env=self.env, stderr=self.log.open("a")
        )

    def kill(self):
        self.process.kill()
        self.process.wait()


class World:
    """What is between users and their servers but for hub and tunnels: servers that answer with their user's name, and
    nodes. It runs in a thread."""

    def __init__(self, cluster, routes):
        self.cluster, self.routes = cluster, routes
        self.led = {}  # listeners by address and port of a Service
        self.asked = 0
        self.strange = set()  # (user, whose server has answered) of requests that reached another's
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.ports = {user: self.do(self.lab(user)) for user in USERS}
        self.follows = asyncio.run_coroutine_threadsafe(self.follow(), self.loop)

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    def close(self):
        self.follows.cancel()

    async def lab(self, user):
        """Starts a server. Returns its port."""
        body = json.dumps({"version": "lab", "user": user}).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

        async def serve(reader, writer):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(head % len(body) + body)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return server.sockets[0].getsockname()[1]

    def target_ports(self):
        """Returns the target ports of the Services that are there, by address and port: names lead to no others."""
        with self.cluster.changed:
            services = [(name, service["spec"]) for name, service in self.cluster.services.items()]
        return {
            (NODES.format(name.split("-")[1]), port["port"]): port["targetPort"]
            for name, spec in services if spec["selector"].get("outposts.dev/tunnels") for port in spec["ports"]
        }  # fmt: skip

    async def follow(self):
        """Leads the address and port of each Service to its target port."""
        while True:
            there = self.target_ports()
            for place in there.keys() - self.led.keys():
                self.led[place] = await self.lead(place)
            for place in self.led.keys() - there.keys():
                self.led.pop(place).close()
            await asyncio.sleep(0.02)

    async def lead(self, place):
        async def pump(reader, writer):
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()

        async def serve(reader, writer):
            with contextlib.suppress(OSError, KeyError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_ports()[place])
                await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
                far_writer.close()
            writer.close()

        return await asyncio.start_server(serve, *place)

    async def ask(self, user, place):
        """Asks for a user's server at an address and port. Returns whether it has answered."""
        writer = None
        try:
            async with asyncio.timeout(15):
                reader, writer = await asyncio.open_connection(*place)
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        except (OSError, TimeoutError):
            return False
        finally:
            if writer:
                writer.close()
        self.asked += 1
        with contextlib.suppress(ValueError):
            answer = json.loads(body)["user"]
            if answer != user:
                self.strange.add((user, answer))
            return answer == user
        return False

    def check(self):
        assert not self.follows.done(), self.follows
        assert self.strange == set(), "who was answered by whose server"

    def current(self):
        """Returns the addresses and ports that the hub's routes lead to, by user."""
        found = {}
        for spec, target in self.routes().items():
            if spec.startswith("/user/"):
                parts = urlsplit(target)
                assert parts.hostname.startswith(NODES.format("")), target
                found[spec.split("/")[2]] = parts.hostname, parts.port
        return found

    def routes_of(self, users):
        """Returns the routes, once they are those of these users: a hub that has been killed makes them anew."""
        stage.wait_for("routes", lambda: set(self.current()) == set(users))
        return self.current()

    async def ask_all(self, routes, stale):
        """Asks for each server until it has answered, as long as its route is there. Target ports of servers that are
        gone are asked once."""

        async def one(user, place):
            give_up = time.monotonic() + stage.PATIENCE
            while not await self.ask(user, place):
                if self.current().get(user) != place:
                    return
                self.check()
                assert time.monotonic() < give_up, f"{user} is out of reach"
                await asyncio.sleep(0.05)

        gone = (self.ask(user, ("127.0.0.1", port)) for _, user, port in stale)
        await asyncio.gather(*(one(user, place) for user, place in routes.items()), *gone)


class Turnover:
    def __init__(self, folder, monkeypatch):
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        monkeypatch.setenv("HUB_NODES", NODES)
        monkeypatch.setenv("HUB_REST_SECONDS", str(REST_SECONDS))
        self.cluster, self.sshd = stage.Cluster(), stage.SSHServer(folder / "sshd", key)
        self.outpost = stage.Outpost("")
        at = {"host": "127.0.0.1", "port": self.sshd.port, "user": getpass.getuser()}
        self.tunnels = Tunnels(folder, self.cluster, key, {"remote": {**at, "hostKeys": [self.sshd.public_key()]}})
        self.world = World(self.cluster, lambda: self.hub.routes())
        for user, port in self.world.ports.items():
            self.outpost.answers[user] = (200, {"service": f"127.0.0.1:{port}"})
        (folder / "values.json").write_text(json.dumps({"config": {"OutpostSpawner": {"custom_port": PORT}}}))
        (folder / "auth").mkdir()
        (folder / "auth" / "remote").write_text("jupyterhub:secret")
        system = {"url": self.outpost.url, "hubApiUrl": "http://127.0.0.1:9/hub/api", "ssh": at}
        tunnels = {"name": "hub", "url": self.tunnels.url, "ports": f"{PORTS[0]}-{PORTS[-1]}"}
        self.hub = stage.Hub(
            folder,
            {"authDir": str(folder / "auth"), "systems": {"remote": system}, "tunnels": tunnels},
            self.cluster,
            flags=(),
        )

    def close(self):
        self.tunnels.kill()
        for part in (self.hub, self.world, self.outpost, self.sshd, self.cluster):
            part.close()

    def start(self, user):
        """Starts a user's server. Returns whether it runs; otherwise there was no port or no tunnel, as told."""
        logged = self.hub.log.stat().st_size
        answer = self.hub.begin(user, {"system": "remote"}, user)
        assert answer.code in (201, 202), answer.text
        text = self.hub.call("GET", self.hub.server_path(user, user) + "/progress").text
        if "data: " in text and stage.events_of(text)[-1].get("ready"):
            return True
        log = self.hub.log.read_bytes()[logged:].decode()
        # A start that has ended before this request has no progress.
        assert any(words in text for words in (*TOLD, "is not starting")), (text, log)
        assert any(words in log for words in FULL), (text, log)
        return False


@pytest.fixture
def turnover(tmp_path, monkeypatch):
    t = Turnover(tmp_path, monkeypatch)
    yield t
    t.close()


def test_no_request_reaches_another_users_server(turnover):
    """Each round loses the connection and starts a server, for which there is a port when one has rested."""
    hub, world = turnover.hub, turnover.world
    idle, running = [], list(USERS)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(turnover.start, USERS))
    rounds, refused, reused, stale = 0, 0, 0, []
    while rounds < ROUNDS or reused < GIVEN_UP:
        rounds += 1
        routes = world.routes_of(running)
        if len(running) == len(USERS):
            target_ports = world.target_ports()
            for user in random.sample(running, GIVEN_UP):
                hub.stop_server(user, user)
                stale.append((time.monotonic() + LATE, user, target_ports[routes.pop(user)]))
                running.remove(user)
                idle.append(user)
        stale = [(until, user, port) for until, user, port in stale if until > time.monotonic()]
        if rounds % 50 == 20:
            turnover.tunnels.kill()
            turnover.tunnels.start()
        elif rounds % 50 == 45:
            hub.kill()
            hub.start()
        else:
            turnover.sshd.drop_connections()
        asking = asyncio.run_coroutine_threadsafe(world.ask_all(routes, stale), world.loop)
        user = random.choice(idle)
        if turnover.start(user):
            idle.remove(user)
            running.append(user)
            reused += 1
        else:
            refused += 1
        asking.result(120)
        world.check()
        if rounds % 20 == 0:
            print(f"{rounds} rounds: {world.asked} answers, {reused} starts, {refused} refused", flush=True)
