"""The metrics of the hub's side: alone, and on the page of a real hub."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from outpost_hub.metrics import Systems, result_of
from outpost_hub.places import Places
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import HTTPClientError


def samples(hub, name):
    """Returns the samples of one name on the hub's page, by their labels' values in the order of their names."""
    text = hub.call("GET", "/hub/metrics").text
    return {
        tuple(value for _, value in sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.name == name
    }


def above_zero(hub, name, system):
    """Returns those of one system that are not 0."""
    return {tuple(v for v in k if v != system): v for k, v in samples(hub, name).items() if system in k and v}


@pytest.fixture
def hub(hub_stage):
    return hub_stage.hub


def test_nothing_has_happened(hub):
    """What can be counted is there from the beginning, so that an alert can be written."""
    found = samples(hub, "outpost_hub_requests_total")
    assert found[("poll", "unreachable", "remote")] == 0 and len(found) == 6 * 5 * 6 and not any(found.values())
    assert samples(hub, "outpost_hub_start_seconds_count")[("tunnel", "remote")] == 0
    assert samples(hub, "outpost_hub_servers")[("running", "direct")] == 0
    assert samples(hub, "outpost_hub_watch_age_seconds") == {}


def test_starts_and_stops(hub, hub_stage):
    hub.run("lab", {"system": "direct"})
    hub.run("far", {"system": "remote"})
    # Of a system with flavors by hand, the one for a start that names none is known.
    for system, asked in (("direct", {("catalog", "not_found"): 1}), ("remote", {})):
        assert above_zero(hub, "outpost_hub_servers", system) == {("running",): 1}
        requests = above_zero(hub, "outpost_hub_requests_total", system)
        requests.pop(("poll", "ok"), None)
        assert requests == {("start", "ok"): 1, **asked}
    phases = {("waiting",): 1, ("pod",): 1, ("server",): 1}
    assert above_zero(hub, "outpost_hub_start_seconds_count", "direct") == phases
    assert above_zero(hub, "outpost_hub_start_seconds_count", "remote") == {**phases, ("tunnel",): 1}
    assert above_zero(hub, "outpost_hub_request_wait_seconds_count", "direct")[("start",)] == 1
    assert samples(hub, "outpost_hub_places")[("stop", "direct")] == 64
    hub.stop_server("lab")
    hub.stop_server("far")
    assert above_zero(hub, "outpost_hub_servers", "direct") == {}
    assert above_zero(hub, "outpost_hub_requests_total", "direct")[("stop", "ok")] == 1
    assert above_zero(hub, "outpost_hub_places_used", "direct") == {}


def test_failures(hub, hub_stage):
    hub.fail("away", {"system": "nobody"})
    assert above_zero(hub, "outpost_hub_requests_total", "nobody")[("start", "unreachable")] >= 1
    hub_stage.direct.answers["no"] = (419, {"module": "", "class": "Exception", "args": ["no"], "traceback": ""})
    hub.fail("no", {"system": "direct"})
    assert above_zero(hub, "outpost_hub_requests_total", "direct")[("start", "refused")] >= 1
    # A failed start has no phases.
    assert above_zero(hub, "outpost_hub_start_seconds_count", "nobody") == {}


@pytest.mark.parametrize(
    "error, result",
    [
        (None, "ok"), (HTTPClientError(404), "not_found"), (HTTPClientError(419), "refused"),
        (HTTPClientError(401), "refused"), (HTTPClientError(503), "failed"), (HTTPClientError(599), "unreachable"),
        (asyncio.CancelledError(), "given_up"), (Exception("left"), "given_up"),
    ],
)  # fmt: skip
def test_results(error, result):
    assert result_of(error) == result


def test_what_is_collected():
    """Places in use, the watch's age, and servers by what they are doing."""

    async def main():
        places = Places(2)
        turns = [places.turn() for _ in range(5)]
        states = [(None, True)] * 3 + [("spawn", False), (None, False)]
        spawners = [SimpleNamespace(pending=pending, ready=ready) for pending, ready in states]
        system = SimpleNamespace(
            name="far", places=lambda: {"start": places}, watched=lambda: (time.monotonic() - 7, spawners)
        )
        systems = Systems()
        systems.show([system])
        found = {
            (s.name, *s.labels.values()): s.value if "age" not in s.name else int(s.value)
            for family in systems.collect()
            for s in family.samples
        }
        assert found == {
            ("outpost_hub_places", "far", "start"): 2,
            ("outpost_hub_places_used", "far", "start"): 2,
            ("outpost_hub_requests_waiting", "far", "start"): 3,
            ("outpost_hub_watch_age_seconds", "far"): 7,
            ("outpost_hub_servers", "far", "running"): 3,
            ("outpost_hub_servers", "far", "starting"): 1,
            ("outpost_hub_servers", "far", "stopping"): 0,
            ("outpost_hub_servers", "far", "checking"): 0,
        }
        for turn in turns:
            turn.leave()

    asyncio.run(main())
