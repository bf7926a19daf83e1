"""Places for requests by kind and system, alone and in a real hub with many starts."""

import asyncio
import copy
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import stage
from outpost_hub.places import Places
from test_metrics import samples


def test_turns_in_order():
    async def main():
        places = Places(2)
        turns = [places.turn() for _ in range(5)]
        assert [t.holds for t in turns] == [True, True, False, False, False]
        assert [t.before() for t in turns[2:]] == [2, 3, 4]
        turns[3].leave()  # it is no longer needed
        assert turns[4].before() == 3
        turns[1].leave()
        assert await turns[2].wait(1) and turns[2].holds and turns[4].before() == 2
        turns[1].leave()
        assert not turns[4].holds, "a place is given back once"
        assert await turns[3].wait(1) and not turns[3].holds
        assert not await turns[4].wait(0.01)
        for turn in turns:
            turn.leave()
        assert places.taken == 0 and not places.waiting

    asyncio.run(main())


def test_wait_that_is_cancelled_as_its_turn_comes():
    """The request of a start that has been cancelled is not sent."""

    async def main():
        places = Places(1)
        first, second = places.turn(), places.turn()
        wait = asyncio.create_task(second.wait(10))
        await asyncio.sleep(0.01)
        first.leave()
        await asyncio.sleep(0)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait

    asyncio.run(main())


class Crowd:
    """A hub with systems without tunnels, one of them weak."""

    def __init__(self, folder):
        self.lab, self.cluster = stage.Lab(), stage.Cluster()
        self.outposts = {name: stage.Outpost(f"http://127.0.0.1:{self.lab.port}") for name in ("busy", "free", "weak")}
        (folder / "auth").mkdir()
        systems = {}
        for name, outpost in self.outposts.items():
            (folder / "auth" / name).write_text("jupyterhub:secret")
            systems[name] = {"url": outpost.url, "hubApiUrl": "http://127.0.0.1:9/hub/api"}
        systems["weak"].update(concurrentStarts=2, displayName="GPU cluster")
        self.hub = stage.Hub(folder, {"authDir": str(folder / "auth"), "systems": systems}, self.cluster, flags=())
        self.busy, self.free, self.weak = self.outposts.values()

    def hold(self, outpost, names):
        """Makes starts hang. Returns the event that ends it."""
        event = threading.Event()
        for name in names:
            outpost.answers[name] = stage.Held(event, (200, {"service": outpost.service}))
        return event

    def close(self):
        for part in (self.hub, *self.outposts.values(), self.cluster, self.lab):
            part.close()


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    c = Crowd(tmp_path_factory.mktemp("crowd"))
    yield c
    c.close()


def many(names, do, at_once=32):
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(do, names))


def users(hub, names):
    many(names, lambda name: hub.call("POST", f"/hub/api/users/{name}"))


def ready(hub, name):
    return (hub.server("", name) or {}).get("ready")


def start(hub, name, system):
    """Starts a server and waits for it. Returns the seconds that it took."""
    begun = time.monotonic()
    answer = hub.call("POST", f"/hub/api/users/{name}/server", {"system": system})
    assert answer.code in (201, 202), answer.text
    while not ready(hub, name):
        assert time.monotonic() < begun + stage.PATIENCE, "the start takes too long"
        time.sleep(0.01)
    return time.monotonic() - begun


def stop(hub, names):
    # JupyterHub allows a cancelled start one second to end, which a hub with much else to do may exceed.
    many(names, lambda name: hub.call("DELETE", f"/hub/api/users/{name}/server"), at_once=4)
    for name in names:
        stage.wait_for(f"{name} stopped", lambda: (hub.server("", name) or {"stopped": True})["stopped"])


def test_start_beside_hanging_starts(crowd):
    """64 starts that hang on one system hold up none on another. They are cancelled at once."""
    hub = crowd.hub
    hanging, alone = [f"hang{n}" for n in range(64)], [f"alone{n}" for n in range(7)]
    users(hub, hanging + alone)
    start(hub, alone[0], "free")
    before = min(start(hub, name, "free") for name in alone[1:])  # the others met with what else this machine does
    stop(hub, alone)
    end = crowd.hold(crowd.busy, [""])
    many(hanging, lambda name: hub.call("POST", f"/hub/api/users/{name}/server", {"system": "busy"}))
    stage.wait_for("64 starts under way", lambda: len(crowd.busy.of("POST", "")) == 64)
    beside = min(start(hub, name, "free") for name in alone[1:])
    print(f"\na start takes {before:.3f} s alone, {beside:.3f} s beside 64 hanging starts")
    stop(hub, alone)
    stop(hub, hanging)
    assert len(crowd.busy.of("DELETE", "")) == 64, "a cancel does not wait for the starts"
    end.set()
    crowd.busy.answers.clear()


def test_hundred_starts_at_once(crowd):
    """None waits for another one: the outpost has all of them before it answers one."""
    hub = crowd.hub
    names = [f"many{n}" for n in range(100)]
    users(hub, names)
    together = threading.Barrier(100)

    class Slow(tuple):
        def __iter__(self):
            together.wait(stage.PATIENCE)
            time.sleep(2)
            return super().__iter__()

    crowd.busy.answers[""] = Slow((200, {"service": crowd.busy.service}))
    t = time.monotonic()
    many(names, lambda name: hub.call("POST", f"/hub/api/users/{name}/server", {"system": "busy"}))
    requested = time.monotonic() - t

    def running():
        listed = hub.call("GET", "/hub/api/users?state=ready&limit=200").json()
        return sum(1 for user in listed if user["name"] in names) == 100

    stage.wait_for("100 servers", running)
    took = time.monotonic() - t
    print(f"\n100 starts of 2 s: the hub has accepted all after {requested:.2f} s, all ready after {took:.2f} s")
    crowd.busy.answers.clear()
    stop(hub, names)


def test_start_that_waits_for_a_place(crowd):
    """Its user is told how many starts are before it. When it is cancelled, the outpost never hears of it."""
    hub, weak = crowd.hub, crowd.weak
    names = [f"weak{n}" for n in range(5)]
    users(hub, names)
    end = crowd.hold(weak, [""])

    def begin(names):
        for name in names:
            assert hub.call("POST", f"/hub/api/users/{name}/server", {"system": "weak"}).code == 202

    begin(names[:2])  # each asks for the catalog first: they may come in any order
    stage.wait_for("two starts", lambda: len(weak.of("POST", "")) == 2)
    begin(names[2:])  # the outpost is known to have none

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(hub.progress, "", names[4])
        stop(hub, [names[2]])
        assert len(weak.of("POST", "")) == 2
        end.set()
        shown = [event["message"] for event in waiting.result()]
    counts = [message for message in shown if "before yours" in message]
    assert counts[0] == "4 starts are before yours on GPU cluster.", shown
    assert shown[-1].startswith("Server ready"), shown
    for name in (names[0], names[1], names[3], names[4]):
        stage.wait_for("server", lambda: ready(hub, name))
    assert {body["env"]["JUPYTERHUB_USER"] for body in weak.of("POST", "")} == set(names) - {names[2]}
    weak.answers.clear()
    stop(hub, names)


def test_other_number_of_starts(crowd):
    """It is for starts from then on. Those that are under way, or wait, go on as they have begun."""
    hub, weak = crowd.hub, crowd.weak
    names = [f"other{n}" for n in range(4)]
    users(hub, names)
    weak.requests.clear()
    end = crowd.hold(weak, [""])

    def begin(name):
        assert hub.call("POST", f"/hub/api/users/{name}/server", {"system": "weak"}).code == 202

    for name in names[:3]:
        begin(name)
    stage.wait_for("two starts", lambda: len(weak.of("POST", "")) == 2)
    stage.wait_for("one that waits", lambda: samples(hub, "outpost_hub_requests_waiting")[("start", "weak")] == 1)
    settings = copy.deepcopy(hub.settings)
    settings["systems"]["weak"]["concurrentStarts"] = 3
    (hub.folder / "settings.json").write_text(json.dumps(settings))
    begin(names[3])
    stage.wait_for("the last one", lambda: len(weak.of("POST", "")) == 3)
    assert samples(hub, "outpost_hub_places")[("start", "weak")] == 3
    assert weak.of("POST", "")[-1]["env"]["JUPYTERHUB_USER"] == names[3]
    end.set()
    for name in names:
        stage.wait_for("server", lambda name=name: ready(hub, name))
    (hub.folder / "settings.json").write_text(json.dumps(hub.settings))
    weak.answers.clear()
    stop(hub, names)
    assert samples(hub, "outpost_hub_places")[("start", "weak")] == 2


def test_silent_outpost(crowd):
    """An outpost that accepts connections and never answers, while it has stops and polls too."""
    hub = crowd.hub
    names = ["silent", "beside"]
    users(hub, names)
    for name in names:
        start(hub, name, "busy" if name == "silent" else "free")
    event = threading.Event()
    crowd.busy.silent = event
    hub_polls = len(crowd.busy.of("GET", ""))
    stage.wait_for("polls that hang", lambda: len(crowd.busy.of("GET", "")) > hub_polls)
    polls = len(crowd.free.of("GET", ""))
    stage.wait_for("polls of the other", lambda: len(crowd.free.of("GET", "")) > polls + 2)
    begun = len(crowd.busy.of("DELETE", ""))
    with ThreadPoolExecutor() as pool:
        pool.submit(hub.call, "DELETE", "/hub/api/users/silent/server")
        stage.wait_for("stop sent", lambda: len(crowd.busy.of("DELETE", "")) > begun)
        event.set()
    assert hub.server("", "beside")["ready"]
    stop(hub, ["beside"])
