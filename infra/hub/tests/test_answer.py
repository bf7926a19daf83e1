"""The first answer of a server: alone, and in a real hub."""

import asyncio
import contextlib
import gc
import json
import socket
import ssl
import threading
import time
from types import SimpleNamespace

import pytest
import stage
from outpost_hub import answer
from outpost_hub.answer import FirstAnswer
from outpost_hub.spawner import Spawner

ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def server(*answers, **options):
    """A server that gives one answer to each connection, the last one to all others. None is no answer ever."""
    requests, connections = [], []

    async def serve(reader, writer):
        given = answers[min(len(connections), len(answers) - 1)]
        connections.append(writer)
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if given is not None:
            writer.write(given)
            writer.close()

    s = await asyncio.start_server(serve, options.pop("host", "127.0.0.1"), 0, **options)
    yield s.sockets[0].getsockname()[1], requests
    s.close()
    for writer in connections:
        writer.close()


def run(main):
    asyncio.run(asyncio.wait_for(main(), stage.PATIENCE))
    assert FirstAnswer.waiting == 0


@pytest.mark.parametrize("status", [b"200 OK", b"302 Found", b"404 Not Found", b"499 x"])
def test_what_counts_is_what_jupyterhub_counts(status):
    async def main():
        async with server(b"", b"x\r\n", ANSWER % b"500 x", ANSWER % b"503 x", ANSWER % status) as (port, requests):
            told = []
            await FirstAnswer(f"http://127.0.0.1:{port}/user/a%20b/api").wait(20, lambda: told.append(1))
            assert len(requests) == 5 and told == [1]
            want = f"GET /user/a%20b/api HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
            assert requests[-1] == want.encode()

    run(main)


def test_a_server_that_is_up_is_asked_once():
    async def main():
        async with server(ANSWER % b"200 OK") as (port, requests):
            await FirstAnswer(f"http://127.0.0.1:{port}/").wait(20, lambda: pytest.fail("nothing is to be waited for"))
            assert len(requests) == 1

    run(main)


@pytest.mark.parametrize(
    "answers, fault", [([ANSWER % b"502 x"], "status 502"), ([b""], "the connection was closed"), ([None], "no answer")]
)
def test_server_that_never_answers(answers, fault):
    async def main():
        async with server(*answers) as (port, _):
            with pytest.raises(ConnectionError, match=fault):
                await FirstAnswer(f"http://127.0.0.1:{port}/").wait(0.3)

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "name.invalid"])
def test_no_server(host):
    async def main():
        with pytest.raises(ConnectionError):
            await FirstAnswer(f"http://{host}:1/").wait(0.3)

    run(main)


def test_a_lost_connection_is_not_waited_for():
    async def main():
        async with server(None, ANSWER % b"200 OK") as (port, requests):
            await FirstAnswer(f"http://127.0.0.1:{port}/").wait(20)
            assert len(requests) == 2

    run(main)


@contextlib.contextmanager
def deaf(host, port):
    """A server that takes no connections: what is sent to it is lost, without a refusal."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield


def test_a_connection_that_is_lost_is_given_up():
    async def main():
        async with server(ANSWER % b"200 OK") as (port, requests):
            with deaf("127.0.0.9", port):
                first = FirstAnswer(f"http://somewhere.example:{port}/")
                first.addresses, first.resolved = ["127.0.0.9", "127.0.0.1"], time.monotonic() + 60
                await first.wait(20)
                assert first.addresses == ["127.0.0.1", "127.0.0.9"] and len(requests) == 1

    run(main)


def test_time_for_a_connection(monkeypatch):
    """A server that takes long has more of it, as one that is far away or has much to do."""
    now, given = 0.0, []

    async def sleep(seconds):
        nonlocal now
        now += seconds

    async def refused(self, seconds, connect_seconds):
        given.append((now, connect_seconds))
        return False

    monkeypatch.setattr(FirstAnswer, "_look", refused)
    monkeypatch.setattr(answer.time, "monotonic", lambda: now)
    monkeypatch.setattr(answer.asyncio, "sleep", sleep)
    with pytest.raises(ConnectionError):
        asyncio.run(FirstAnswer("http://127.0.0.1:1/").wait(30))
    assert given == [(at, max(0.25, at / 4)) for at, _ in given]
    assert given[0] == (0, 0.25) and given[-1][0] > 29


def test_each_address_of_a_name_is_tried():
    async def main():
        async with server(ANSWER % b"200 OK") as (port, requests):
            first = FirstAnswer(f"http://somewhere.example:{port}/")
            first.addresses, first.resolved = ["127.0.0.9", "127.0.0.1"], time.monotonic() + 60
            await first.wait(20)
            assert first.addresses == ["127.0.0.1", "127.0.0.9"] and len(requests) == 1

    run(main)


@contextlib.contextmanager
def resolved(monkeypatch, *addresses, seconds=0):
    """A resolver that says these addresses, whatever it is asked, after some time; none is that there is no such name.
    Counts what it is asked."""
    asked = []

    def getaddrinfo(host, port, *args, **kwargs):
        asked.append(host)
        time.sleep(seconds)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield asked


def test_each_address_is_tried_while_the_name_is_looked_up_anew(monkeypatch):
    """Each connection may take longer than an address is used."""
    monkeypatch.setattr(answer, "RESOLVED_SECONDS", 0)

    async def main():
        async with server(ANSWER % b"200 OK") as (port, requests):
            with deaf("127.0.0.9", port), resolved(monkeypatch, "127.0.0.9", "127.0.0.8", "127.0.0.1") as asked:
                await FirstAnswer(f"http://somewhere.example:{port}/").wait(20)
                assert len(asked) >= 3 and len(requests) == 1

    run(main)


def test_address_that_is_new_is_tried_first(monkeypatch):
    monkeypatch.setattr(answer, "RESOLVED_SECONDS", 0)

    async def main():
        first = FirstAnswer("http://somewhere.example:1/")
        first.addresses = ["127.0.0.9", "127.0.0.8"]
        with resolved(monkeypatch, "127.0.0.8", "127.0.0.9", "127.0.0.7", "127.0.0.9"):
            assert await first._address() == "127.0.0.7"
        assert first.addresses == ["127.0.0.7", "127.0.0.9", "127.0.0.8"]
        with resolved(monkeypatch, "127.0.0.8"):
            assert await first._address() == "127.0.0.8"

    run(main)


def test_slow_lookup(monkeypatch):
    """A look that ends meanwhile leaves it to the next one: threads for lookups are few."""

    async def main():
        async with server(ANSWER % b"200 OK") as (port, requests):
            with resolved(monkeypatch, "127.0.0.1", seconds=2.5) as asked:
                await FirstAnswer(f"http://somewhere.example:{port}/").wait(20)
                assert len(asked) == len(requests) == 1

    run(main)


@pytest.mark.parametrize("seconds", [0, 2])
def test_wait_that_ends_before_its_lookup(monkeypatch, seconds):
    async def main():
        said = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        with resolved(monkeypatch, seconds=1):
            with pytest.raises(ConnectionError, match="no answer"):
                await FirstAnswer("http://somewhere.example:1/").wait(0.1)
            await asyncio.sleep(seconds)
        gc.collect()
        assert not said

    run(main)


def test_lookup_that_fails_when_no_look_waits_for_it(monkeypatch):
    """Nothing complains that nobody has looked at its error."""

    async def refused(self, seconds, connect_seconds):
        return False

    async def main():
        said = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        first = FirstAnswer("http://somewhere.example:1/")
        first.lookup = asyncio.get_running_loop().create_future()
        first.lookup.set_exception(socket.gaierror("no such name"))
        with pytest.raises(ConnectionError):
            await first.wait(0)
        del first
        gc.collect()
        assert not said

    monkeypatch.setattr(FirstAnswer, "_look", refused)
    run(main)


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as e:
        pytest.skip(f"no IPv6: {e}")

    async def main():
        async with server(ANSWER % b"200 OK", host="::1") as (port, requests):
            await FirstAnswer(f"http://[::1]:{port}/").wait(20)
            assert f"\r\nHost: [::1]:{port}\r\n".encode() in requests[0]

    run(main)


def test_time_for_tls(tmp_path):
    """A server that is far away or has much to do has more of it than for the connection."""
    stage.make_certificate(tmp_path, "server")
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(tmp_path / "server.pem")
    ours = ssl.create_default_context(cafile=tmp_path / "server.crt")

    async def main():
        async with server(ANSWER % b"200 OK", ssl=theirs) as (port, requests):
            relay = stage.Relay(port, 2 * answer.CONNECT_SECONDS)
            first = FirstAnswer(f"https://127.0.0.1:{relay.port}/", ours)
            assert await first._look(20, answer.CONNECT_SECONDS), first.fault
            assert len(requests) == 1
            relay.close()

    run(main)


def test_internal_ssl(tmp_path):
    """The hub shows its certificate, and asks no server whose certificate is another."""
    for name in ("hub", "server"):
        stage.make_certificate(tmp_path, name)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "hub.crt")
    theirs.load_cert_chain(tmp_path / "server.pem")
    theirs.verify_mode = ssl.CERT_REQUIRED
    ours = ssl.create_default_context(cafile=tmp_path / "server.crt")
    ours.load_cert_chain(tmp_path / "hub.pem")
    stranger = ssl.create_default_context(cafile=tmp_path / "hub.crt")

    async def main():
        async with server(ANSWER % b"200 OK", ssl=theirs) as (port, requests):
            with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await FirstAnswer(f"https://127.0.0.1:{port}/", stranger).wait(0.3)
            assert not requests
            await FirstAnswer(f"https://127.0.0.1:{port}/", ours).wait(20)
            assert len(requests) == 1

    run(main)


def test_pauses(monkeypatch):
    """50 ms for a few servers, longer for one that takes long, and so many looks in a second for all of them."""
    now, pauses = 0.0, []

    async def sleep(seconds):
        nonlocal now
        pauses.append(seconds)
        now += seconds

    async def main():
        with pytest.raises(ConnectionError):
            await FirstAnswer("http://127.0.0.1:1/").wait(30)

    async def refused(self, seconds, connect_seconds):
        return False

    monkeypatch.setattr(FirstAnswer, "_look", refused)
    monkeypatch.setattr(answer.time, "monotonic", lambda: now)
    monkeypatch.setattr(answer.asyncio, "sleep", sleep)
    asyncio.run(main())
    assert set(pauses[:40]) == {0.05} and pauses == sorted(pauses) and 0.7 < pauses[-1] < 0.75
    now, pauses[:] = 0.0, []
    monkeypatch.setattr(FirstAnswer, "waiting", 99)
    asyncio.run(main())
    assert set(pauses[:20]) == {0.5}


def test_wait_that_is_cancelled_as_a_look_ends(monkeypatch):
    async def refused(self, connect_seconds):
        return False

    async def main():
        for turns in range(1, 8):
            wait = asyncio.create_task(FirstAnswer("http://127.0.0.1:1/").wait(1))
            for _ in range(turns):
                await asyncio.sleep(0)
            wait.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wait

    monkeypatch.setattr(FirstAnswer, "_ask", refused)
    run(main)


@pytest.mark.parametrize("turns", range(6))
def test_start_that_is_cancelled_as_the_outpost_answers(turns):
    async def main():
        answer = asyncio.get_running_loop().create_future()

        async def client():
            return await answer

        async def start():
            await Spawner._in_time(SimpleNamespace(start_timeout=600), client())
            await asyncio.Event().wait()  # for the server's first answer

        task = asyncio.create_task(start())
        await asyncio.sleep(0)
        answer.set_result("http://server")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=stage.PATIENCE)
        assert task.cancelled()

    run(main)


def test_wait_that_is_cancelled():
    async def main():
        async with server(None) as (port, requests):
            wait = asyncio.create_task(FirstAnswer(f"http://127.0.0.1:{port}/").wait(20))
            while not requests:
                await asyncio.sleep(0.01)
            wait.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wait
            assert len(asyncio.all_tasks()) == 2  # this one, and that of the server's connection at most

    run(main)


# In a real hub


class Slow(stage.Watched):
    """A hub, and an outpost whose servers take a while until they answer."""

    def begin(self, name, looks):
        """Begins a start whose server answers that many looks with 503, and waits until it is asked."""
        self.lab.looks.clear()
        self.lab.begins = looks
        assert self.hub.begin(name).code == 202
        stage.wait_for("a look", lambda: self.lab.looks)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    (folder / "values.json").write_text(json.dumps({"config": {"OutpostSpawner": {"http_timeout": 15}}}))
    s = Slow(folder, displayName="Far away")
    yield s
    s.close()


FOREVER = 10**9
WAITING = "The server runs on Far away. Waiting for its first answer."


def test_server_is_ready_when_it_answers(slow):
    """JupyterHub alone takes about a minute for 20 looks, and gives up after 15 s."""
    slow.begin("slow", 20)
    shown = [event["message"] for event in slow.hub.progress("slow")]
    assert WAITING in shown and shown[-1].startswith("Server ready"), shown
    assert set(slow.lab.looks) == {"/user/maria/slow/api"} and len(slow.lab.looks) == 22  # the last is JupyterHub's
    slow.hub.stop_server("slow")


def test_server_that_does_not_answer(slow):
    slow.begin("mute", FOREVER)
    events = slow.hub.progress("mute")
    message = "The server runs on Far away, but has not answered within 15 seconds. Try again, or choose another flavor."
    assert events[-1]["failed"] and message in events[-1]["message"], events
    stage.wait_for("the stop", lambda: len(slow.outpost.of("DELETE", "mute")) == 1 and not slow.outpost.running)


def no_more_looks(lab):
    """There would be many in a second. One that was sent before may be noted late."""
    looks = len(lab.looks)
    time.sleep(1)  # what must not happen takes time
    assert len(lab.looks) <= looks + 1


def test_stop_while_the_answer_is_awaited(slow):
    slow.begin("cancelled", FOREVER)
    slow.hub.stop_server("cancelled")
    assert not slow.outpost.running
    no_more_looks(slow.lab)


def test_end_while_the_answer_is_awaited(slow):
    slow.begin("ended", FOREVER)
    events = slow.hub.progress("ended", begun=lambda: slow.outpost.end("ended", 137))
    message = "The server on Far away has ended before it answered, with exit status 137."
    assert events[-1]["failed"] and message in events[-1]["message"], events
    stage.wait_for("the end", lambda: (slow.hub.server("ended") or {"stopped": True})["stopped"])
    no_more_looks(slow.lab)


def test_start_that_takes_too_long(tmp_path):
    """The progress page says so. JupyterHub alone says "Spawn failed: ", and no more."""
    (tmp_path / "values.json").write_text(json.dumps({"config": {"OutpostSpawner": {"start_timeout": 3}}}))
    s = stage.Watched(tmp_path, displayName="Far away")
    over = threading.Event()
    try:
        s.outpost.answers["late"] = lambda handler, body: over.wait(60)
        events = s.hub.fail("late")
        message = "The server has not started on Far away within 3 seconds. Try again: "
        assert events[-1]["failed"] and message in events[-1]["message"], events
        stage.wait_for("the stop", lambda: len(s.outpost.of("DELETE", "late")) == len(s.outpost.of("POST", "late")))
    finally:
        over.set()
        s.close()
