"""The client of the hub's cluster, with the real Kubernetes package, where the way to the API server is lost."""

import ctypes
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import kubernetes
import pytest
import stage
from outpost_hub import claims, cluster, forwarded, owner
from outpost_hub.errors import AnotherHubs
from urllib3.exceptions import MaxRetryError

SO_ATTACH_FILTER = 26  # of Linux; Python has no name for it


def lose(connection):
    """Lets nothing that arrives get through to a connection any more, so that its peer hears of nothing."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # of each packet, keep 0 bytes
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop)))


def client(monkeypatch, port):
    """Returns the client of a cluster whose API server has this port."""
    configuration = kubernetes.client.Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(kubernetes.client.Configuration, "_default", configuration)
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    return cluster.connected.__wrapped__()


def read(api):
    return api.read_namespaced_service(name="hub", namespace="jupyter").metadata.name


@pytest.fixture
def connections():
    """A cluster, and the connections that it has accepted."""
    fake, accepted = stage.Cluster(), []

    class Handler(fake.http.RequestHandlerClass):
        def setup(self):
            super().setup()
            accepted.append(self.connection)

    fake.http.RequestHandlerClass = Handler
    yield fake, accepted
    fake.close()


def test_call_on_a_lost_connection(connections, monkeypatch):
    """It goes through on another one."""
    monkeypatch.setattr(cluster, "LOST_SECONDS", 1)
    monkeypatch.setattr(cluster, "CALL_SECONDS", 2 * stage.PATIENCE)
    fake, accepted = connections
    api = client(monkeypatch, fake.port)
    assert read(api) == read(api) == "hub" and len(accepted) == 1, "connections are kept"
    lose(accepted[0])
    begun = time.monotonic()
    assert read(api) == "hub" and len(accepted) == 2
    assert time.monotonic() < begun + stage.PATIENCE


def test_kept_connection_that_is_lost(connections, monkeypatch):
    """It is known before a call needs it."""
    for name in ("QUIET_SECONDS", "PROBE_SECONDS", "LOST_SECONDS"):
        monkeypatch.setattr(cluster, name, 1)
    fake, accepted = connections
    api = client(monkeypatch, fake.port)
    assert read(api) == "hub"
    pool = api.api_client.rest_client.pool_manager.connection_from_url(f"http://127.0.0.1:{fake.port}")
    (kept,) = [connection.sock for connection in pool.pool.queue if connection]
    lose(accepted[0])
    stage.wait_for("its end", lambda: kept.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    assert read(api) == "hub" and len(accepted) == 2


def test_no_answer(monkeypatch):
    monkeypatch.setattr(cluster, "CALL_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(MaxRetryError, match="Read timed out"):
            read(client(monkeypatch, silent.getsockname()[1]))


@pytest.fixture
def losing(connections):
    """A cluster that gives no answer to the first call of each kind that changes something, and these kinds."""
    fake, _ = connections
    lost = set()

    class Handler(fake.http.RequestHandlerClass):
        def answer(self, code, body):
            if self.command == "GET" or self.command in lost:
                return super().answer(code, body)
            lost.add(self.command)
            self.close_connection = True

    fake.http.RequestHandlerClass = Handler
    return fake, lost


@pytest.mark.parametrize("likely_new", [False, True])
def test_calls_whose_answer_is_lost(losing, monkeypatch, likely_new):
    """They are sent again, and arrive twice. A Service in place of another is made by them all the same."""
    fake, lost = losing
    monkeypatch.setattr(claims, "connected", lambda: client(monkeypatch, fake.port))

    def manifest(target, port):
        return {
            "metadata": {"name": "lab", "labels": {"a": "b"}, "annotations": {claims.TARGET: target}},
            "spec": {"selector": {"c": "d"}, "ports": [{"name": "http", "port": 8888, "targetPort": port}]},
        }

    fake.services["lab"] = manifest("old:1", 20001)
    wanted = manifest("new:1", 20002)
    made, left = claims._put("jupyter", wanted, range(20000, 20010), (), likely_new)
    assert fake.services["lab"] == wanted and left == [20001] and made.metadata.uid == fake.uids["lab"]
    lost.clear()
    assert claims._delete("jupyter", "lab") == [20002] and "lab" not in fake.services
    assert claims._delete("jupyter", "lab") == []


def test_calls_whose_answer_is_lost_without_tunnels(losing, monkeypatch):
    """The same of the Service for a port of the hub's pod."""
    fake, lost = losing
    api = client(monkeypatch, fake.port)
    monkeypatch.setattr(forwarded, "connected", lambda: api)
    monkeypatch.setattr(forwarded, "get_name", lambda name: name)
    for port in (20001, 20002):
        forwarded.make_service("lab", "jupyter", port, {"a": "b"})
        assert [p["port"] for p in fake.services["lab"]["spec"]["ports"]] == [port]
    assert lost == {"POST", "DELETE"}
    lost.clear()
    forwarded.remove_service("lab", "jupyter")
    assert lost == {"DELETE"} and "lab" not in fake.services


LAB = {"metadata": {"name": "lab", "labels": {"outposts.dev/system": "remote"}}, "spec": {"ports": [{"port": 1}]}}


def made_by(hub, namespace=None, **selector):
    """Returns the Service of a server, as a hub makes it for a port of its pods."""
    marks = {"outposts.dev/hub": hub, "outposts.dev/hub-namespace": namespace}
    meta = {**LAB["metadata"], "annotations": {key: value for key, value in marks.items() if value}}
    return {"metadata": meta, "spec": {**LAB["spec"], "selector": selector}}


@pytest.fixture
def ours(connections, monkeypatch):
    """The Services of a cluster in which this hub is `hub` of namespace jupyter, and another one is `other`."""
    fake, _ = connections
    api = client(monkeypatch, fake.port)
    monkeypatch.setattr(forwarded, "connected", lambda: api)
    for module in (forwarded, cluster):
        monkeypatch.setattr(module, "get_name", lambda name: name)
    monkeypatch.setattr(owner, "own_namespace", lambda: "jupyter")
    fake.services["other"] = {"metadata": {"name": "other"}, "spec": {"selector": {"app": "other"}, "ports": []}}
    return fake.services


def test_service_for_a_port_of_the_hub_says_whose_it_is(ours):
    forwarded.make_service("lab", "jupyter", 20001, {"outposts.dev/system": "remote"})
    assert ours["lab"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "lab",
            "labels": {"app": "jupyterhub", "outposts.dev/system": "remote"},
            "annotations": {"outposts.dev/hub": "hub", "outposts.dev/hub-namespace": "jupyter"},
        },
        "spec": {
            "selector": {"app": "jupyterhub"},
            "ports": [{"name": "http", "port": 20001, "protocol": "TCP", "targetPort": 20001}],
        },
    }


@pytest.mark.parametrize(
    "theirs, whose",
    [
        (made_by("other", "jupyter", app="other"), "other of namespace jupyter"),
        (made_by("other", app="other"), "other"),
        (made_by(None, app="other"), "other"),  # of an earlier version
    ],
)
def test_port_of_another_hub(ours, theirs, whose):
    """Its Service is neither taken over nor removed: its user would be led to this hub's pod."""
    ours["lab"] = theirs
    with pytest.raises(AnotherHubs, match=f"Service lab is of another hub, {whose}: give each hub"):
        forwarded.make_service("lab", "jupyter", 20001, {})
    forwarded.remove_service("lab", "jupyter")
    assert ours["lab"] == theirs


def test_stop_while_the_call_before_that_which_makes_a_service_is_late(ours, connections):
    """The start's call goes on in its thread when the start is cancelled."""
    fake, _ = connections
    asked, may_answer = threading.Event(), threading.Event()

    class Handler(fake.http.RequestHandlerClass):
        def do_GET(self):
            if self.path.endswith("/hub") and not asked.is_set():
                asked.set()
                may_answer.wait(stage.PATIENCE)
            super().do_GET()

    fake.http.RequestHandlerClass = Handler
    with ThreadPoolExecutor(2) as threads:
        try:
            start = threads.submit(forwarded.make_service, "lab", "jupyter", 20001, {})
            assert asked.wait(stage.PATIENCE)
            stop = threads.submit(forwarded.remove_service, "lab", "jupyter")
            wait([stop], 0.5)  # for what must not happen: that it is over before the start
        finally:
            may_answer.set()
        start.result()
        stop.result()
    assert "lab" not in ours


def test_port_that_becomes_another_hubs(ours, connections):
    """A Service that was looked at is replaced by another hub before this one deletes it."""
    ours["lab"], theirs = made_by("hub", "jupyter", app="former"), made_by("other", "jupyter", app="other")
    fake, _ = connections

    def fits(there):
        if ours["lab"] is theirs:
            raise AnotherHubs("lab", "other")
        ours["lab"], fake.uids["lab"] = theirs, "another"
        return False

    with pytest.raises(AnotherHubs):
        cluster.put_service(forwarded.connected(), "jupyter", LAB, fits)
    assert ours["lab"] is theirs


@pytest.mark.parametrize(
    "left",
    [
        made_by("hub", "jupyter", app="former"), made_by("hub", app="former"), made_by(None, app="former"),
        made_by("gone", "jupyter", app="gone"), made_by(None, app="jupyterhub"),
    ],
)  # fmt: skip
def test_port_that_was_this_hubs(ours, left):
    """By its mark, or as no other hub is there that has made it: its chart may give its pods other labels."""
    ours["lab"] = left
    forwarded.make_service("lab", "jupyter", 20001, {})
    assert ours["lab"]["spec"]["selector"] == {"app": "jupyterhub"}
    ours["lab"] = left
    forwarded.remove_service("lab", "jupyter")
    assert "lab" not in ours


def test_service_of_an_earlier_version_stays(ours):
    """It leads to this hub, which is all that matters."""
    ours["lab"] = before = {**LAB, "spec": {"selector": {"app": "jupyterhub"}, "ports": [{"port": 20001}]}}
    forwarded.make_service("lab", "jupyter", 20001, {})
    assert ours["lab"] == before
