"""The watch of a system's servers: its lines alone, and in a real hub."""

import asyncio
import json
import threading
import time
import tracemalloc
from types import SimpleNamespace

import outpost_hub.watch
import pytest
import stage
from outpost_hub.client import Client
from outpost_hub.services import MAX_LINE, MAX_SERVICES, Services, TooMany
from outpost_hub.watch import MAX_UNREAD, Chunks, Watch


def line(**message):
    return json.dumps(message).encode() + b"\n"


def runs(name, start_id="1"):
    return line(service={"name": name, "start_id": start_id, "status": None})


def take(services, text):
    return list(services.take(text))


SYNCED = line(synced={"services": 1, "heartbeat": 10})


class Followed:
    """A spawner that is followed and never polled."""

    start_id, ready, early_end, _waiting_for_response, look = "1", False, None, False, None

    def __init__(self, name):
        self.name = name


def test_snapshot_and_changes():
    services = Services()
    assert take(services, runs("a") + runs("b") + runs("", "3")) == [] and not services.running
    assert take(services, SYNCED) == [] and services.running == {"a/1", "b/1", "/3"}
    assert take(services, line(service={"name": "a", "start_id": "1", "status": 137})) == ["a/1"]
    assert take(services, line(gone={"name": "b", "start_id": "1"})) == ["b/1"]
    assert take(services, line(heartbeat={}) + line(new_kind={}) + runs("c")) == []
    assert services.running == {"/3", "c/1"}
    # What cannot be told stays what it was.
    assert take(services, line(unknown={"name": "c", "start_id": "1"})) == [] and "c/1" in services.running


def test_announcements():
    said = []
    services = Services(said.append)
    plan = {"from": "2026-05-04T18:00:00Z"}
    assert take(services, line(maintenance=plan) + runs("a") + SYNCED + line(maintenance=None)) == []
    assert said == [plan, None] and services.running == {"a/1"}


@pytest.mark.parametrize("said", [None, {}, [], "soon", {"from": 1}, {"from": "2026-05-04T18:00:00Z", "evict": True}])
def test_announcements_of_any_shape_do_not_end_the_watch(said):
    told = []
    system = SimpleNamespace(name="one", catalogs=SimpleNamespace(announced=told.append))
    watch = Watch.__new__(Watch)
    watch.system = system
    watch._announced(said)
    assert len(told) == (said is None or len(said) == 2)


def test_what_is_known_holds_until_the_next_snapshot_is_complete():
    services = Services()
    take(services, runs("a") + runs("b") + runs("c") + SYNCED)
    services.begin()  # the answer has ended, and another begins
    assert take(services, runs("a") + line(unknown={"name": "b", "start_id": "1"})) == []
    assert services.running == {"a/1", "b/1", "c/1"}
    services.begin()  # in the middle of its snapshot
    take(services, runs("a") + line(unknown={"name": "b", "start_id": "1"}))
    take(services, line(unknown={"name": "x", "start_id": "1"}))
    assert take(services, SYNCED) == ["c/1"] and services.running == {"a/1", "b/1"}
    take(services, line(resync={}) + runs("b"))
    assert services.running == {"a/1", "b/1"}
    assert take(services, SYNCED) == ["a/1"] and services.running == {"b/1"}


def test_lines_in_any_parts():
    text = runs("ä") + runs("b") + SYNCED
    services = Services()
    for i in range(len(text)):
        assert take(services, text[i : i + 1]) == []
    assert services.running == {"ä/1", "b/1"}


@pytest.mark.parametrize(
    "text",
    [
        b"\n", b"[]\n", b"7\n", b"{\n", b"<html>\n", b"\xff\xfe\n", b"[" * 20000 + b"\n", b'{"service":[]}\n',
        b'{"service":{}}\n',
        b'{"gone":{"name":1,"start_id":"1"}}\n', b'{"gone":{"name":"a","start_id":null}}\n', b"x" * (MAX_LINE + 1),
        line(service={"name": "a" * 300, "start_id": "1", "status": None}),
    ],
)  # fmt: skip
def test_wrong_lines(text):
    with pytest.raises(ValueError):
        take(Services(), text)


def test_what_precedes_a_wrong_line_counts():
    services = Services()
    take(services, runs("a") + SYNCED)
    ended = []
    with pytest.raises(ValueError):
        for service in services.take(line(gone={"name": "a", "start_id": "1"}) + b"<html>\n"):
            ended.append(service)
    assert ended == ["a/1"] and not services.running


def test_a_status_that_is_missing_is_no_sign_of_life():
    services = Services()
    take(services, runs("a") + SYNCED)
    assert take(services, line(service={"name": "a", "start_id": "1"})) == ["a/1"] and not services.running


def test_a_million_services():
    """They are refused, and take a bounded part of the hub's memory until then."""
    services = Services()
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than"):
        for n in range(1000):
            take(services, b"".join(runs(f"server-of-somebody-{n}-{m}", f"{n:016x}{m:016x}") for m in range(1000)))
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(services.snapshot) == MAX_SERVICES + 1 and size < 40 << 20


def test_nothing_is_told_before_the_snapshot_is_complete(monkeypatch):
    """Not even what was known before. Heartbeats keep the watch alive meanwhile; without a line, it is begun again."""
    monkeypatch.setattr(outpost_hub.watch, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(outpost_hub.watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(outpost_hub.watch, "FIRST_SECONDS", 0.05)
    outpost = stage.Outpost("")
    feed = outpost.feed = stage.Feed(heartbeat=0.1, synced=False)
    outpost.running.add("/services/a/1")
    system = SimpleNamespace(name="far", url=outpost.url, authorization=lambda: "Basic x", trust=dict)

    async def until(condition):
        while not condition():
            await asyncio.sleep(0.01)

    async def main():
        server, watch = Followed("a"), Watch(system, None)
        take(watch.services, runs("a") + SYNCED)
        watch.heard = time.monotonic() - 3600
        begun = time.monotonic()
        while time.monotonic() < begun + 1.5:  # what must not happen takes time
            assert not await watch.runs(server)
            await asyncio.sleep(0.05)
        assert feed.begun == 1
        feed.say(SYNCED)
        await until(lambda: watch.heard > begun)
        assert await watch.runs(server)
        feed.heartbeat = 3600
        await until(lambda: feed.begun == 2)
        assert not await watch.runs(server)
        watch.task.cancel()

    asyncio.run(asyncio.wait_for(main(), stage.PATIENCE))
    outpost.close()


@pytest.mark.parametrize("refusal, soon", [({"detail": "Not Found"}, False), ("default backend - 404", True)])
def test_an_outpost_without_a_watch(monkeypatch, refusal, soon):
    """It is asked again rarely, and soon if something in front of it has answered."""
    monkeypatch.setattr(outpost_hub.watch, "PAUSE_SECONDS", 0.01)
    outpost = stage.Outpost("")
    feed = stage.Feed(heartbeat=0.1)
    refused = []

    class Refusing:
        def serve(self, handler, running):
            if len(refused) == 3:
                return feed.serve(handler, running)
            refused.append(handler.path)
            return handler.answer(404, refusal)

    outpost.feed = Refusing()
    system = SimpleNamespace(name="far", url=outpost.url, authorization=lambda: "Basic x", trust=dict)

    async def main():
        server, watch = Followed("a"), Watch(system, None)
        watch.follow(server)
        await watch.first.wait()  # its first attempt has failed, however late
        give_up = time.monotonic() + (stage.PATIENCE / 2 if soon else 1)  # what must not happen takes time
        while watch.heard is None and time.monotonic() < give_up:
            await asyncio.sleep(0.01)
        assert (watch.heard is not None, len(refused)) == ((True, 3) if soon else (False, 1))
        watch.task.cancel()

    asyncio.run(asyncio.wait_for(main(), stage.PATIENCE))
    outpost.close()


def test_a_flood_leaves_the_hub_its_time(monkeypatch):
    """Between two parts of it, others get their turn."""
    outpost = stage.Outpost("")
    feed = outpost.feed = stage.Feed(heartbeat=3600)
    system = SimpleNamespace(name="far", url=outpost.url, authorization=lambda: "Basic x", trust=dict)
    server = Followed("a")

    async def main():
        watch = Watch(system, None)
        watch.follow(server)
        await watch.first.wait()
        feed.say(line(heartbeat={}) * 300_000 + runs("last"))
        longest = 0
        while "last/1" not in watch.services.running:
            used = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - used)
        watch.task.cancel()
        print(f"\na flood takes at most {longest:.3f} s of the hub at once")
        assert longest < 0.1

    asyncio.run(asyncio.wait_for(main(), stage.PATIENCE))
    outpost.close()


def test_what_has_not_been_read_is_bounded():
    async def main():
        chunks = Chunks()
        for n in range(5):
            chunks.put(b"%d" % n)
        assert [await chunks.get() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        for _ in range(MAX_UNREAD // 1024 + 1000):
            chunks.put(b"x" * 1024)
        assert len(chunks.waiting) == MAX_UNREAD // 1024
        with pytest.raises(TooMany):
            await chunks.get()

    asyncio.run(main())


def test_what_is_known_is_told(monkeypatch):
    """What the hub has asked about, in bounded parts; after a failure the next time, and nothing that it has not."""
    monkeypatch.setattr(outpost_hub.watch, "KNOWN_SECONDS", 0.05)
    monkeypatch.setattr(outpost_hub.watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(outpost_hub.watch, "KNOWN_AT_ONCE", 2)
    outpost = stage.Outpost("")
    outpost.feed = stage.Feed(heartbeat=3600)
    servers = [Followed(name) for name in ("", "b", "c", "unasked")]
    outpost.running = {f"/services/{server.name}/1" for server in servers} | {"/services/of-another-hub/1"}
    outpost.feed.refusals = 1
    system = SimpleNamespace(name="far", url=outpost.url, authorization=lambda: "Basic x", trust=dict)

    def told():
        return [body["services"] for method, path, _, body in outpost.requests if path == "/watch/known"]

    async def main():
        client = Client("far", 0)
        watch = Watch(system, lambda: client)
        for server in servers:
            watch.follow(server)
        assert all([await watch.runs(server) for server in servers[:3]])
        while len(told()) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # what must not happen takes time
        watch.task.cancel()

    asyncio.run(asyncio.wait_for(main(), stage.PATIENCE))
    # The first part is refused, the second is not; the first is told again.
    assert told() == [[["", "1"], ["b", "1"]], [["c", "1"]], [["", "1"], ["b", "1"]]]
    outpost.close()


def test_many_lines_are_one_poll():
    class Server:
        name, start_id, ready, look, polls = "a", "1", True, None, 0

        async def poll_and_notify(self):
            self.polls += 1
            await asyncio.sleep(0)

    async def main():
        server, watch = Server(), Watch(SimpleNamespace(name="far"), None)
        watch.spawners["a/1"] = server
        for _ in range(1000):
            watch._poll("a/1")
        (poll,) = watch.polls.values()
        await poll
        assert server.polls == 1
        server.look = asyncio.get_running_loop().create_future()
        watch._poll("a/1")
        await asyncio.sleep(0)
        assert server.polls == 1  # the poll under way may have been answered before the line came
        server.look.set_result(None)
        await watch.polls["a/1"]
        await asyncio.sleep(0)
        assert server.polls == 2 and not watch.polls and not watch.owed

    asyncio.run(main())


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    w = stage.Watched(tmp_path_factory.mktemp("watched"))
    yield w
    w.close()


@pytest.fixture
def hub(watched):
    return watched.hub


def test_polls_are_answered_from_memory(watched, hub):
    hub.run("quiet")
    stage.wait_for("watch", lambda: watched.outpost.feed.begun)
    asked = len(watched.outpost.of("GET", "quiet"))
    time.sleep(4)  # of polls, one each second: what must not happen takes time
    assert len(watched.outpost.of("GET", "quiet")) == asked
    assert hub.server("quiet")["ready"]
    hub.stop_server("quiet")


def test_end_is_known_at_once(watched, hub):
    names, took = [], []
    while not took or min(took) >= 1 and len(took) < 60:  # others may want the processors
        names.append(name := f"ends{len(took)}")
        hub.run(name)
        begun = time.monotonic()
        watched.outpost.end(name, 137)
        while (hub.server(name) or {"stopped": True})["stopped"] is False:
            assert time.monotonic() < begun + stage.PATIENCE
            time.sleep(0.01)
        took.append(time.monotonic() - begun)
    print(f"\nan end is known after {min(took):.3f} to {max(took):.3f} s")
    assert min(took) < 1
    for name in names:
        started = [body["user_options"]["start_id"] for body in watched.outpost.of("POST", name)]
        # Afterwards JupyterHub stops it once more, when its start ID is gone: the outpost does not hear of it.
        assert watched.outpost.of("DELETE", name) == [f"/services/{name}/{started[0]}"]
        assert f"/services/{name}/" not in watched.outpost.of("GET", name)


def test_end_is_handled_once(watched, hub):
    """While a server that has ended is tidied away, nothing else looks at it, and the next one of its name lives."""
    outpost, name = watched.outpost, "again"
    hub.run(name)
    (ended,) = (key for key in outpost.running if f"/{name}/" in key)
    outpost.may_stop.clear()
    outpost.end(name, 137)
    stage.wait_for("the stop", lambda: outpost.of("DELETE", name))
    asked = len(outpost.of("GET", name))
    for _ in range(2):
        outpost.say({"service": {**stage.service_of(ended), "status": 137, "logs": ["killed"]}})
    time.sleep(3)  # of polls, one each second: what must not happen takes time
    assert len(outpost.of("GET", name)) == asked
    assert not hub.server(name)["stopped"]
    del outpost.polls[name]
    outpost.may_stop.set()
    stage.wait_for("the end", lambda: (hub.server(name) or {"stopped": True})["stopped"])
    time.sleep(1)  # JupyterHub looks at it once more
    hub.run(name)
    (key,) = (key for key in outpost.running if f"/{name}/" in key)
    time.sleep(3)
    assert hub.server(name)["ready"] and key not in outpost.of("DELETE", name)
    hub.stop_server(name)


def test_an_end_is_believed_only_of_a_poll(watched, hub):
    """A line about a server that runs, or a wrong snapshot, ends no server."""
    hub.run("alive")
    (key,) = (k for k in watched.outpost.running if "/alive/" in k)
    asked = len(watched.outpost.of("GET", "alive"))
    watched.outpost.say({"gone": stage.service_of(key)})
    stage.wait_for("a poll", lambda: len(watched.outpost.of("GET", "alive")) > asked)
    watched.outpost.say({"resync": {}})
    watched.outpost.say({"synced": {"services": 0, "heartbeat": 10}})
    asked = len(watched.outpost.of("GET", "alive"))
    stage.wait_for("polls", lambda: len(watched.outpost.of("GET", "alive")) > asked + 1)
    assert hub.server("alive")["ready"]
    hub.stop_server("alive")


@pytest.mark.parametrize("wrong", [b"<html>\n", b'{"service":', b"x" * (MAX_LINE + 1), None])
def test_watch_that_breaks_off(watched, hub, wrong):
    """Whatever comes in place of a line, servers go on, and the hub polls or watches again."""
    name = "broken"
    hub.run(name)
    feed = watched.outpost.feed
    stage.wait_for("watch", lambda: feed.readers)
    begun = feed.begun
    for part in (runs("other"), wrong, None):
        if part is not None:
            feed.say(part)
    with feed.lock:
        for reader in feed.readers:
            reader.put(None)
    asked = len(watched.outpost.of("GET", name))
    stage.wait_for("a poll or a watch", lambda: len(watched.outpost.of("GET", name)) > asked or feed.begun > begun)
    assert hub.server(name)["ready"]
    hub.stop_server(name)


def test_hub_answers_while_it_looks_at_its_servers(watched, hub):
    """With an outpost that is silent, as long as the hub has patience with it."""
    hub.run("looked-at")
    hub.stop()
    watched.outpost.silent = threading.Event()
    hub.start()
    assert hub.server("looked-at")["pending"] == "check"
    watched.outpost.silent.set()
    watched.outpost.silent = None
    stage.wait_for("server", lambda: hub.server("looked-at")["ready"])
    hub.stop_server("looked-at")


def test_restart_of_the_hub(watched, hub):
    """One snapshot in place of a poll for each server."""
    names = [f"kept{n}" for n in range(20)]
    for name in names:
        hub.run(name)
    hub.stop()
    watched.outpost.requests.clear()
    hub.start()
    for name in names:
        stage.wait_for(name, lambda: (hub.server(name) or {}).get("ready"))
    assert [path for method, path, _, _ in watched.outpost.requests if method == "GET"] == ["/watch"]
    watched.outpost.end(names[0], 1)
    stage.wait_for("the end", lambda: (hub.server(names[0]) or {"stopped": True})["stopped"])
    for name in names[1:]:
        hub.stop_server(name)
