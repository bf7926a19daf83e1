"""The environment of the module in tests: outposts, single-user servers, ssh servers and a real hub."""

import contextlib
import datetime
import http.client
import http.cookiejar
import ipaddress
import json
import os
import queue
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forked
from controls import Controls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = Path(__file__).parent
TOKEN = "5" * 64


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


PATIENCE = 300  # seconds that a test waits for what must come: only a fault makes it wait as long


def wait_for(what, condition, seconds=PATIENCE):
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"timeout after {seconds} s: {what}")


def make_certificate(folder, name):
    """Writes NAME.crt, a self-signed certificate for this machine, and NAME.pem, the same with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.crt").write_bytes(made)
    (folder / f"{name}.pem").write_bytes(private + made)


class _Crowd(ThreadingHTTPServer):
    request_queue_size = 512  # connections at once before one is accepted
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that gives up a request is no error of the server."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Server:
    """An HTTP server in a thread."""

    def __init__(self, handler, certificate=None, at=("127.0.0.1", 0)):
        self.http = _Crowd(at, handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
            self.scheme = "https"
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code, "" if code == 419 else None)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Lab(_Server):
    """Every user's single-user server: it answers anything."""

    def __init__(self, *at):
        lab = self
        self.looks = []  # paths of requests
        self.begins = 0  # requests that are answered before it is ready

        class Handler(_Quiet):
            def do_GET(self):
                lab.looks.append(self.path)
                ready = len(lab.looks) > lab.begins
                self.answer(200 if ready else 503, {"version": "lab"})

        super().__init__(Handler, at=at or ("127.0.0.1", 0))


class Held(tuple):
    """An answer that waits for an event before it is given."""

    def __new__(cls, event, answer):
        self = super().__new__(cls, answer)
        self.event = event
        return self

    def __iter__(self):
        self.event.wait(60)
        return super().__iter__()


def service_of(path):
    """Returns name and start ID of a service by the path of its requests."""
    _, _, name, start_id = path.split("/")
    return {"name": name, "start_id": start_id}


class Feed:
    """The answers of an outpost to `GET /watch`: its snapshot, changes, and a heartbeat when there is nothing to say."""

    def __init__(self, heartbeat=1, synced=True):
        self.heartbeat, self.synced = heartbeat, synced
        self.lock = threading.Lock()
        self.readers = []  # queues of bytes, None ends an answer
        self.refusals = 0  # of what the hub says that it knows
        self.begun = 0

    def say(self, line):
        with self.lock:
            for reader in self.readers:
                reader.put(line)

    def serve(self, handler, running):
        reader = queue.Queue()
        with self.lock:
            self.begun += 1
            for key in sorted(running):
                reader.put(json.dumps({"service": {**service_of(key), "status": None}}).encode() + b"\n")
            if self.synced:
                reader.put(b'{"synced":{"services":%d,"heartbeat":10}}\n' % len(running))
            self.readers.append(reader)
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-ndjson")
        handler.send_header("Connection", "close")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                try:
                    line = reader.get(timeout=self.heartbeat)
                except queue.Empty:
                    line = b'{"heartbeat":{}}\n'
                if line is None:
                    break
                handler.wfile.write(line)
        with self.lock:
            self.readers.remove(reader)
        handler.close_connection = True


class Outpost(_Server):
    """An outpost. By the name of a server, `answers` has the (code, body) for its start, `first` a list of those for
    earlier attempts at it, `polls` the body for a poll. `catalog` is what it says of itself; None for a Python outpost,
    which has none. `stops` has the (code, body) for stops. In place of each answer but `first`, there may be a function of
    the handler and the question."""

    def __init__(self, service, certificate=None):
        outpost = self
        self.service = service
        self.answers = {}
        self.first = {}
        self.polls = {}
        self.stops = {}
        self.requests = []  # (method, path, headers, body)
        self.running = set()
        self.silent = None  # an event that all answers wait for
        self.may_stop = threading.Event()  # that stops wait for
        self.may_stop.set()
        self.stop_refusal = 0  # the status of an answer to stops that are not taken
        self.feed = None  # a Feed, if it can be watched
        self.catalog = None
        self.questions = []  # bodies of requests for the catalog

        class Handler(_Quiet):
            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(body) if body else None
                if self.path == "/catalog":
                    outpost.questions.append(body)
                    if callable(outpost.catalog):
                        return outpost.catalog(self, body)
                    return self.answer(200 if outpost.catalog else 404, outpost.catalog or {"detail": "Not Found"})
                outpost.requests.append((self.command, self.path, dict(self.headers), body))
                if outpost.silent:
                    outpost.silent.wait(60)
                if outpost.feed and self.path == "/watch":
                    return outpost.feed.serve(self, outpost.running)
                if outpost.feed and self.path == "/watch/known":
                    refused = outpost.feed.refusals > 0
                    outpost.feed.refusals -= refused
                    self.send_response(503 if refused else 204)
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                if self.command == "POST":
                    if outpost.first.get(body["name"]):
                        return self.answer(*outpost.first[body["name"]].pop(0))
                    key = f"/services/{body['name']}/{body['user_options']['start_id']}"
                    outpost.running.add(key)
                    outpost.say({"service": {**service_of(key), "status": None}})
                    found = outpost.answers.get(body["name"], (200, {"service": outpost.service}))
                    return found(self, body) if callable(found) else self.answer(*found)
                if self.command == "DELETE" and outpost.stop_refusal:
                    return self.answer(outpost.stop_refusal, {"detail": "not now"})
                if self.path not in outpost.running:
                    return self.answer(404, {"detail": "Item not found"})
                if self.command == "DELETE":
                    outpost.may_stop.wait(60)
                    outpost.running.discard(self.path)
                    outpost.say({"gone": service_of(self.path)})
                    found = outpost.stops.get(self.path.split("/")[2], (200, {"logs": []}))
                    return found(self, body) if callable(found) else self.answer(*found)
                found = outpost.polls.get(self.path.split("/")[2], {"status": None, "logs": []})
                return found(self, body) if callable(found) else self.answer(200, found)

            do_GET = do_POST = do_DELETE = handle_one

        super().__init__(Handler, certificate)
        self.url = f"{self.scheme}://127.0.0.1:{self.port}/services"

    def say(self, message):
        if self.feed:
            self.feed.say(json.dumps(message).encode() + b"\n")

    def end(self, name, status):
        """Ends a server, as when its pod is killed."""
        (key,) = (key for key in self.running if key.startswith(f"/services/{name}/"))
        self.polls[name] = {"status": status, "logs": ["killed"]}
        self.say({"service": {**service_of(key), "status": status, "reason": "OOMKilled"}})

    def of(self, method, name):
        """Returns the requests about the server `name`: bodies for POST, paths for other methods."""
        if method == "POST":
            return [body for m, _, _, body in self.requests if m == method and body["name"] == name]
        return [path for m, path, _, _ in self.requests if m == method and path.startswith(f"/services/{name}/")]


class Cluster(_Server):
    """The part of the Kubernetes API that a hub needs: Services of one namespace, and pods that KubeSpawner has made."""

    def __init__(self):
        cluster = self
        self.services = {
            "hub": {"metadata": {"name": "hub"}, "spec": {"selector": {"app": "jupyterhub"}, "ports": [{"port": 8081}]}}
        }
        self.uids = {}  # of Services, by name
        self.made = 0
        self.pods = {}  # by name, of namespace jupyter
        self.log = []  # (method, name)
        self.may_make = threading.Event()  # that requests wait for which make a Service
        self.may_make.set()
        self.changes = []  # of Services that requests have made and deleted: lines of watches
        self.changed = threading.Condition()

        class Handler(_Quiet):
            def watch(self, version):
                """Tells the changes since a version, and those that come."""
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                with contextlib.suppress(OSError):
                    while True:
                        with cluster.changed:
                            cluster.changed.wait_for(lambda: len(cluster.changes) > version)
                            lines = cluster.changes[version:]
                        version += len(lines)
                        self.wfile.write(b"".join(lines))

            def pod(self, name):
                cluster.log.append((self.command, name))
                if name not in cluster.pods:
                    return self.answer(404, {"kind": "Status", "reason": "NotFound", "code": 404})
                pod = cluster.pods.pop(name) if self.command == "DELETE" else cluster.pods[name]
                return self.answer(200, pod)

            def handle_one(self):
                if not self.path.startswith("/api/v1/namespaces/jupyter/"):
                    return self.answer(403, {"kind": "Status", "reason": "Forbidden", "code": 403})
                prefix, is_pod, name = self.path.split("?")[0].partition("/namespaces/jupyter/pods/")
                if is_pod:
                    return self.pod(name)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                if path.startswith("/api/v1/namespaces/jupyter/events"):
                    return self.answer(201, {"kind": "Event", "apiVersion": "v1"})
                path, _, name = path.partition("/namespaces/jupyter/services")
                name = name.strip("/")
                assert path == "/api/v1", self.path
                if self.command == "GET" and not name:
                    query = urllib.parse.parse_qs(query)
                    if "watch" in query:
                        return self.watch(int(query["resourceVersion"][0]))
                    (selector,) = query["labelSelector"]
                    with cluster.changed:
                        items = [cluster.shown(n) for n, s in cluster.services.items() if cluster.selects(selector, s)]
                        meta = {"resourceVersion": str(len(cluster.changes))}
                    found = {"kind": "ServiceList", "apiVersion": "v1", "metadata": meta, "items": items}
                    return self.answer(200, found)
                if self.command == "POST":
                    body = json.loads(body)
                    name = body["metadata"]["name"]
                cluster.log.append((self.command, name))
                if self.command == "POST":
                    cluster.may_make.wait(60)
                with cluster.changed:
                    return self.answer(*self.one(name, body))

            def one(self, name, body):
                if self.command == "POST" and name in cluster.services:
                    return 409, {"kind": "Status", "reason": "AlreadyExists", "code": 409}
                if self.command == "POST":
                    cluster.made += 1
                    cluster.uids[name] = f"uid-{cluster.made}"
                    cluster.services[name] = body
                    cluster.tell("ADDED", name)
                    return 201, cluster.shown(name)
                if name not in cluster.services:
                    return 404, {"kind": "Status", "reason": "NotFound", "code": 404}
                if self.command == "DELETE":
                    uid = json.loads(body or b"{}").get("preconditions", {}).get("uid")
                    if uid not in (None, cluster.shown(name)["metadata"]["uid"]):
                        return 409, {"kind": "Status", "reason": "Conflict", "code": 409}
                    cluster.tell("DELETED", name)
                    return 200, cluster.services.pop(name)
                return 200, cluster.shown(name)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one

        super().__init__(Handler)

    @staticmethod
    def selects(selector, service):
        labels = service["metadata"].get("labels", {})
        if selector.startswith("!"):
            return selector[1:] not in labels
        return selector in [f"{name}={value}" for name, value in labels.items()]

    def shown(self, name):
        """Returns a Service with what Kubernetes adds to it."""
        service = self.services[name]
        meta = {**service["metadata"], "namespace": "jupyter", "uid": self.uids.get(name, f"uid-{name}")}
        return {**service, "metadata": meta}

    def tell(self, kind, name):
        """Tells watches of a Service. The lock is held."""
        service = self.shown(name)
        service["metadata"]["resourceVersion"] = str(len(self.changes) + 1)
        self.changes.append(json.dumps({"type": kind, "object": service}).encode() + b"\n")
        self.changed.notify_all()


class Tunnels(_Server):
    """`outpost tunnels` and the nodes' rules for Services, as far as a hub sees them: it leads the port of a Service to
    the target, once it has said that it serves it. `refuse` has states for the next claims, `states` those of systems,
    `unknown` systems that are not in their file."""

    def __init__(self, cluster):
        tunnels = self
        self.cluster = cluster
        self.states = {}  # by system
        self.seen = {}  # times in words, by system
        self.unknown = set()
        self.refuse = []
        self.away = 0  # answers that are none
        self.asked = []  # paths
        self.decided = {}  # state by UID
        self.listeners = {}  # by UID
        self.lock = threading.Lock()  # of the listeners

        class Handler(_Quiet):
            def do_GET(self):
                kind, name = self.path.strip("/").split("/")
                tunnels.asked.append(self.path)
                if tunnels.away:
                    tunnels.away -= 1
                    return self.answer(503, "away")
                if kind == "systems" and name in tunnels.unknown:
                    return self.answer(404, "not known")
                if kind == "systems":
                    seen = {"lastSeen": tunnels.seen[name]} if name in tunnels.seen else {}
                    return self.answer(200, {"state": tunnels.states.get(name, "connected"), **seen})
                if name not in cluster.services:
                    return self.answer(404, "not known")
                return self.answer(200, {"uid": cluster.uids[name], "state": tunnels.decide(name)})

        super().__init__(Handler)
        self.url = f"http://127.0.0.1:{self.port}"
        self.closed = False
        threading.Thread(target=self._look, daemon=True).start()

    def decide(self, name):
        uid, service = self.cluster.uids[name], self.cluster.services[name]
        if service["metadata"]["labels"]["outposts.dev/system"] in self.unknown:
            return "UnknownSystem"
        if uid not in self.decided:
            (port,) = service["spec"]["ports"]
            others = [
                other for other in self.cluster.services
                if other != name and self.decided.get(self.cluster.uids.get(other)) == "Served"
                and self.cluster.services[other]["spec"]["ports"][0]["targetPort"] == port["targetPort"]
            ]  # fmt: skip
            self.decided[uid] = self.refuse.pop(0) if self.refuse else "PortTaken" if others else "Served"
            if self.decided[uid] == "Served":
                self._close_ports()
                self._open(uid, port["port"], service["metadata"]["annotations"]["outposts.dev/target"])
        return self.decided[uid]

    def _open(self, uid, port, target):
        listener = self.listeners[uid] = socket.create_server(("127.0.0.1", port))
        host, port = target.split(":")

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.create_connection((host, int(port)))
                    for pair in ((near, far), (far, near)):
                        threading.Thread(target=_pump, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()

    def _look(self):
        while not self.closed:
            self._close_ports()
            time.sleep(0.02)

    def _close_ports(self):
        """Closes the ports of Services that are gone."""
        there = [self.cluster.uids.get(name) for name in list(self.cluster.services)]
        with self.lock:
            for uid in [uid for uid in self.listeners if uid not in there]:
                listener = self.listeners.pop(uid)
                listener.shutdown(socket.SHUT_RDWR)
                listener.close()

    def close(self):
        self.closed = True
        super().close()


class SSHServer:
    """A real sshd that accepts one key."""

    def __init__(self, folder, key):
        self.folder = folder
        folder.mkdir()
        self.port = free_port()
        self.new_host_key()
        shutil.copy(f"{key}.pub", folder / "authorized_keys")
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile {folder}/pid\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "AllowTcpForwarding yes\nPermitRootLogin yes\n"
        )
        self.process = None
        self.start()

    def new_host_key(self):
        for old in self.folder.glob("host_key*"):
            old.unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key"], check=True)

    def public_key(self):
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def start(self):
        sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", self.folder / "config"], stderr=log, start_new_session=True
        )
        wait_for("sshd", lambda: _listens(self.port))

    def drop_connections(self):
        """Ends every connection; new ones are accepted."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), 9)

    def stop(self):
        self.drop_connections()
        self.process.kill()
        self.process.wait()

    close = stop


class Relay:
    """A TCP relay to a port that delays the first bytes of a connection."""

    def __init__(self, port, seconds):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target, self.seconds = port, seconds
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        time.sleep(self.seconds)
        with socket.create_connection(("127.0.0.1", self.target)) as server:
            pumps = [
                threading.Thread(target=_pump, args=pair, daemon=True) for pair in ((client, server), (server, client))
            ]
            for pump in pumps:
                pump.start()
            for pump in pumps:
                pump.join()

    def close(self):
        self.listener.close()


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Answer:
    def __init__(self, code, headers, body):
        self.code, self.headers, self.text = code, headers, body.decode()

    def json(self):
        return json.loads(self.text)


def events_of(text):
    assert "data: " in text, text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


class Hub:
    """A real JupyterHub process with the module, without a proxy, on a database that outlives it."""

    def __init__(self, folder, settings, cluster, base_url="", flags=("--debug",), forks=True):
        self.folder = folder
        self.forks = forks  # else it is started as its image does, and takes three times as long
        self.flags = flags
        self.cluster = cluster
        self.port = free_port()
        self.base_url = base_url
        self.url = f"http://127.0.0.1:{self.port}{base_url}"
        self.settings = settings
        self.process = None
        self.sockets = Path(tempfile.mkdtemp(prefix="hub-", dir="/tmp"))  # other runs of the tests have theirs
        self.sockets.chmod(0o777)
        self.start()

    def start(self):
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        env = {**os.environ, "HUB_FOLDER": str(self.folder), "HUB_PORT": str(self.port)}
        env["PYTHONPATH"] = f"{HERE.parent}:{HERE}"
        env["HUB_SOCKETS"] = str(self.sockets)
        env["HUB_BASE_URL"] = self.base_url
        env["KUBERNETES_API"] = f"http://127.0.0.1:{self.cluster.port}"
        self.log = self.folder / "hub.log"
        argv = ["--config", HERE / "hub_config.py", *self.flags]
        start = forked.Process if self.forks else forked.start
        self.process = start("jupyterhub", argv, self.folder, env, self.log)
        wait_for("hub", lambda: self.process.poll() is not None or _listens(self.port))
        assert self.process.poll() is None, self.log.read_text()[-3000:]

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)

    def kill(self):
        """Ends the hub at once, with its ssh connections, as when its pod is killed."""
        self.process.kill()
        self.process.wait()
        for connection in self.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(connection, 9)
        for socket_file in self.sockets.glob("*.sock*"):
            socket_file.unlink()

    def close(self):
        with contextlib.suppress(Exception):
            self.kill()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def connections(self, system=""):
        """Returns the process IDs of this hub's ssh connections, found by the path of their sockets."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_text()
                if (
                    command.startswith("ssh")
                    and f"{self.sockets}/outpost-{system}" in command
                    and "\0-O\0" not in command
                ):
                    found.append(int(folder.name))
        return found

    def call(self, method, path, body=None, headers=None, token=TOKEN, begun=lambda: None):
        """Sends a request. begun is called when the first line of a good answer is there."""
        data = None
        headers = {**({"Authorization": f"token {token}"} if token else {}), **(headers or {})}
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                line = answer.readline()
                begun()
                return Answer(answer.status, answer.headers, line + answer.read())
        except urllib.error.HTTPError as e:
            return Answer(e.code, e.headers, e.read())

    def server_path(self, name, user="maria"):
        return f"/hub/api/users/{user}/servers/{name}" if name else f"/hub/api/users/{user}/server"

    def begin(self, name, options=None, user="maria"):
        self.call("POST", f"/hub/api/users/{user}")
        return self.call("POST", self.server_path(name, user), options)

    def own_token(self, outpost, name):
        """Returns the token of a server's latest start."""
        return outpost.of("POST", name)[-1]["env"]["JUPYTERHUB_API_TOKEN"]

    def post_event(self, name, event, token, user="maria", **headers):
        """Posts an event; one of type bytes is the body as it is."""
        path = f"/hub/api/users/progress/events/{user}" + (f"/{name}" if name else "")
        return self.call("POST", path, event, headers, token)

    def progress(self, name, user="maria", begun=lambda: None):
        """Returns the events of a start until it is over. begun is called when the first one is there."""
        text = self.call("GET", self.server_path(name, user) + "/progress", begun=begun).text
        return events_of(text)

    def run(self, name, options=None, user="maria"):
        """Starts a server and waits for it."""
        answer = self.begin(name, options, user)
        assert answer.code in (201, 202), answer.text
        events = self.progress(name, user)
        assert events[-1].get("ready"), events
        return self.server(name, user)

    def fail(self, name, options=None, user="maria"):
        """Starts a server that must not start. Returns the events that its user sees."""

        def settled():
            server = self.server(name, user)
            return server is None or not server["pending"]

        for _ in range(5):
            wait_for(f"server {name!r} is not pending", settled)
            answer = self.begin(name, options, user)
            if answer.code not in (201, 202):
                return [{"failed": True, "message": answer.json()["message"]}]
            text = self.call("GET", self.server_path(name, user) + "/progress").text
            # A start that has ended before this request has no progress: start again.
            if "is not starting" not in text:
                events = events_of(text)
                assert events[-1].get("failed"), events
                return events
        raise AssertionError(text)

    def server(self, name, user="maria"):
        """Returns the server as the hub's API shows it, None if the hub does not know the server or the user."""
        return self.call("GET", f"/hub/api/users/{user}?include_stopped_servers").json().get("servers", {}).get(name)

    def stop_server(self, name, user="maria"):
        answer = self.call("DELETE", self.server_path(name, user), {"remove": True} if name else None)
        assert answer.code in (202, 204), answer.text

        def gone():
            server = self.server(name, user)
            return server is None or server["stopped"]

        wait_for(f"server {name!r} stopped", gone)

    def routes(self):
        """Returns the targets of the proxy's routes, by path. A hub that has just begun to listen has none yet."""
        file = self.folder / "routes.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def browser(self):
        return Browser(self.url)


class ToTheHub(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the hub's own pages. Those to a server end there: the proxy that leads to it is not here."""

    def redirect_request(self, request, file, code, message, headers, url):
        if urllib.parse.urlsplit(url).path.startswith("/user/"):
            return None
        return super().redirect_request(request, file, code, message, headers, url)


class Browser:
    """Follows forms as a browser does, with cookies. A server that runs answers it with an empty page."""

    def __init__(self, url):
        self.url = url
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies), ToTheHub)

    def get(self, path):
        return self._open(path, None)

    def send(self, path, body, **headers):
        """Sends a POST as a script on a page would, with the cookies."""
        return self._open(path, body, headers)

    def post(self, path, fields):
        return self._open(path, urllib.parse.urlencode(fields).encode())

    def submit(self, page, chosen):
        """Sends the form of a start as a browser does that runs no script: all of its fields, some of them `chosen`."""
        path = self.form_action(page)
        encoding, body = Controls(page.text).filled(chosen)
        headers = {"Sec-Fetch-Mode": "navigate", "Referer": self.url + path, "Content-Type": encoding}
        return self._open(path, body, headers)

    def _open(self, path, data, headers=None):
        url = path if path.startswith("http") else self.url + path
        headers = headers or {"Sec-Fetch-Mode": "navigate", "Referer": url}
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            with self.opener.open(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as e:
            if e.code < 400:
                return Answer(200, e.headers, b"")  # a redirect to a server
            return Answer(e.code, e.headers, e.read())

    def log_in(self, user):
        page = self.get("/hub/login")
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        fields = {"username": user, "password": "x"}
        if xsrf:
            fields["_xsrf"] = xsrf[1]
        return self.post("/hub/login", fields)

    def form_action(self, page):
        return re.search(r'<form[^>]*action="([^"]*spawn[^"]*)"', page.text)[1].replace("&amp;", "&")


def get(port, path="/"):
    """Returns the status of a request to a port of this machine, None without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


class Watched:
    """A hub and an outpost that it can watch, the system "far" with more settings by choice."""

    def __init__(self, folder, **settings):
        self.lab, self.cluster = Lab(), Cluster()
        self.outpost = Outpost(f"http://127.0.0.1:{self.lab.port}")
        self.outpost.feed = Feed()
        (folder / "auth").mkdir()
        (folder / "auth" / "far").write_text("jupyterhub:secret")
        system = {"url": self.outpost.url, "hubApiUrl": "http://127.0.0.1:9/hub/api", **settings}
        self.hub = Hub(folder, {"authDir": str(folder / "auth"), "systems": {"far": system}}, self.cluster)

    def close(self):
        for part in (self.hub, self.outpost, self.cluster, self.lab):
            part.close()
