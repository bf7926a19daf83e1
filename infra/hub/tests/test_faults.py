"""Outposts that are at fault, and a clock that jumps: what a real hub makes of them."""

import json
import os
import threading
import time

import pytest
import stage
from outpost_hub.services import MAX_SERVICES
from test_form import raw


class Blank(stage.Feed):
    """The watch of a replica that has not heard of any service yet."""

    def serve(self, handler, running):
        super().serve(handler, ())


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    w = stage.Watched(tmp_path_factory.mktemp("faults"))
    yield w
    w.close()


def only_key(outpost, name):
    (key,) = (key for key in outpost.running if f"/{name}/" in key)
    return key


def end_of(feed):
    """Ends the answers to a watch."""
    with feed.lock:
        for reader in feed.readers:
            reader.put(None)


def is_over(hub, name):
    return (hub.server(name) or {"stopped": True})["stopped"]


def test_replicas_that_disagree(tmp_path):
    """Two replicas read the same rows, and one has not heard of a server yet: it is asked, and the server runs on."""
    w = stage.Watched(tmp_path)
    other = stage.Outpost(w.outpost.service)
    other.running, other.feed = w.outpost.running, Blank()
    replicas = (w.outpost, other)
    address = stage.Relay(w.outpost.port, 0)  # a new connection meets either of them
    try:
        hub = w.hub
        hub.settings["systems"]["far"]["url"] = f"http://127.0.0.1:{address.port}/services"
        hub.stop()
        hub.start()
        hub.run("two")
        key = only_key(w.outpost, "two")
        runs, gone = {"service": {**stage.service_of(key), "status": None}}, {"gone": stage.service_of(key)}

        def asked(method):
            return sum(len(replica.of(method, "two")) for replica in replicas)

        for left, met in (replicas, replicas[::-1]):
            stage.wait_for("the watch of one", lambda: left.feed.readers)
            before, begun = asked("GET"), met.feed.begun
            address.target = met.port
            end_of(left.feed)
            stage.wait_for("the watch of the other", lambda: met.feed.begun > begun)
            if met is other:  # its snapshot is without the server
                stage.wait_for("a poll", lambda: asked("GET") > before)
            met.say(runs)
        before = asked("GET")
        met.say(gone)
        stage.wait_for("a poll", lambda: asked("GET") > before)
        for _ in range(50):
            met.say(runs)
            met.say(gone)
        met.say(runs)
        time.sleep(3)  # of polls, one each second: what must not happen takes time
        assert asked("GET") <= before + 60, "such a line is a poll at most"
        before = asked("GET")
        time.sleep(3)
        assert asked("GET") == before, "both say that it runs"
        assert hub.server("two")["ready"] and asked("DELETE") == 0
        for replica in replicas:
            replica.polls["two"] = {"status": 137, "logs": ["killed"]}
        met.say({"service": {**stage.service_of(key), "status": 137}})
        stage.wait_for("the end", lambda: is_over(hub, "two"))
        assert asked("DELETE") == 1
    finally:
        address.close()
        other.close()
        w.close()


def test_names_of_another_hub(watched):
    """Whatever an outpost says of other hubs' servers, and of other starts of ours, nothing is asked and none ends."""
    hub, outpost = watched.hub, watched.outpost
    hub.run("mine")
    key = only_key(outpost, "mine")
    stage.wait_for("watch", lambda: outpost.feed.readers)
    asked = len(outpost.requests)
    others = [{"name": f"theirs-{n}", "start_id": "1"} for n in range(1000)]
    others.append({**stage.service_of(key), "start_id": "of-an-earlier-start"})
    for other in others:
        outpost.say({"service": {**other, "status": None}})
        outpost.say({"service": {**other, "status": 137}})
        outpost.say({"gone": other})
    time.sleep(3)  # of polls, one each second: what must not happen takes time
    assert outpost.requests[asked:] == []
    assert hub.server("mine")["ready"]
    outpost.end("mine", 1)  # it has read all of that
    stage.wait_for("the end", lambda: is_over(hub, "mine"))


def test_outpost_that_goes_in_the_middle_of_a_snapshot(watched):
    """Servers that it has not told yet run on. One that has ended meanwhile is known with the next whole snapshot."""
    hub, outpost, feed = watched.hub, watched.outpost, watched.outpost.feed
    names = ["kept", "lost", "other"]
    for name in names:
        hub.run(name)
    lost = only_key(outpost, "lost")
    stage.wait_for("watch", lambda: feed.readers)
    try:
        feed.synced, begun = False, feed.begun
        end_of(feed)
        stage.wait_for("another watch", lambda: feed.begun > begun and feed.readers)
        feed.say(b'{"service":{"name":"ot')
        outpost.running.discard(lost)
    finally:
        feed.synced = True
    begun = feed.begun
    end_of(feed)
    assert not is_over(hub, "lost") and hub.server("kept")["ready"]
    stage.wait_for("another watch", lambda: feed.begun > begun)
    stage.wait_for("the end", lambda: is_over(hub, "lost"))
    for name in ("kept", "other"):
        assert hub.server(name)["ready"] and not outpost.of("DELETE", name)
        hub.stop_server(name)


def test_half_an_answer(watched):
    """A start fails with words, and what it may have begun is stopped; a poll ends no server."""
    hub, outpost = watched.hub, watched.outpost
    half = raw(b'{"service": "http://127', 5000)
    outpost.answers["half"] = half
    try:
        shown = json.dumps(hub.fail("half"))
        assert "far cannot be reached at the moment." in shown
        assert set(outpost.of("DELETE", "half")) and not [key for key in outpost.running if "/half/" in key]
    finally:
        outpost.answers.clear()
    hub.run("whole")
    outpost.polls["whole"] = half
    try:
        outpost.say({"gone": stage.service_of(only_key(outpost, "whole"))})
        stage.wait_for("polls", lambda: len(outpost.of("GET", "whole")) > 1)
        assert hub.server("whole")["ready"] and not outpost.of("DELETE", "whole")
    finally:
        del outpost.polls["whole"]
    hub.stop_server("whole")


@pytest.mark.parametrize("seconds", [86400, -86400])
def test_clock_that_jumps(watched, seconds):
    """A start that was under way ends well, nothing is asked for it, and ends are known as before."""
    hub, outpost = watched.hub, watched.outpost
    clock = hub.folder / "clock"
    hub.run("before")
    held = threading.Event()
    outpost.answers["during"] = stage.Held(held, (200, {"service": outpost.service}))
    try:
        assert hub.begin("during").code == 202
        stage.wait_for("start", lambda: outpost.of("POST", "during"))
        asked = len(outpost.of("GET", "before"))
        clock.write_text(str(seconds))
        held.set()
        assert hub.progress("during")[-1].get("ready")
        time.sleep(3)  # of polls, one each second: what must not happen takes time
        assert len(outpost.of("GET", "before")) == asked
        outpost.end("before", 137)
        stage.wait_for("the end", lambda: is_over(hub, "before"))  # a poll would come after 1000 s
        assert hub.server("during")["ready"]
    finally:
        held.set()
        clock.unlink(missing_ok=True)
        outpost.answers.clear()
        outpost.polls.pop("before", None)
    hub.stop_server("during")


def test_outpost_that_sends_a_million_services(tmp_path):
    """The watch is given up for polls. The hub answers meanwhile, and needs little memory for it."""
    w = stage.Watched(tmp_path)
    hub, outpost = w.hub, w.outpost
    try:
        hub.run("one")
        stage.wait_for("watch", lambda: outpost.feed.readers)
        begun, before = outpost.feed.begun, peak_memory(hub)
        outpost.say({"resync": {}})
        line = b'{"service":{"name":"%d","start_id":"%032x","status":null}}\n'
        for n in range(0, 1_000_000, 10_000):
            outpost.feed.say(b"".join(line % (m, m) for m in range(n, n + 10_000)))
        longest, asked = 0, len(outpost.of("GET", "one"))
        while outpost.feed.readers:  # until the hub has enough
            asking = processor_seconds(hub)  # of which others take nothing
            assert hub.server("one")["ready"]
            longest = max(longest, processor_seconds(hub) - asking)
        stage.wait_for("polls", lambda: len(outpost.of("GET", "one")) > asked + 1)
        grown = peak_memory(hub) - before
        print(f"\nof a million services {MAX_SERVICES} are read, in {grown >> 20} MiB; an answer took {longest:.2f} CPU-s")
        assert hub.server("one")["ready"] and outpost.feed.begun == begun
        assert grown < 100 << 20 and longest < 5
        hub.stop_server("one")
    finally:
        w.close()


def processor_seconds(hub):
    """Returns the processor time that a hub has had."""
    with open(f"/proc/{hub.process.pid}/stat") as stat:
        _, _, fields = stat.read().rpartition(") ")
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def peak_memory(hub):
    """Returns the most memory that a hub has had, in bytes."""
    with open(f"/proc/{hub.process.pid}/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
