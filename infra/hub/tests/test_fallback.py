"""A Python outpost, which has no watch: a real hub polls.

The answers have the statuses, reasons, types and fields of those that JupyterHub Outpost 2.3.0 was seen to give. Names,
addresses and traces in them are examples.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import stage

RECORDED = {answer["to"]: answer for answer in json.loads(Path(__file__).with_name("python_outpost.json").read_text())}


class NoWatch:
    """What an outpost has in place of a watch."""

    def __init__(self, answer):
        self.answer = answer

    def serve(self, handler, running):
        self.answer(handler, None)

    def say(self, line):
        """Nobody listens."""


class Python(stage.Watched):
    """A hub, and an outpost that gives recorded answers."""

    def __init__(self, folder):
        super().__init__(folder)
        self.outpost.feed = NoWatch(self.recorded("no such route"))
        self.outpost.catalog = self.recorded("no such route")
        self.outpost.answers = Always(self.recorded("start"))
        self.outpost.polls = Always(self.recorded("poll, running"))
        self.outpost.stops = Always(self.recorded("stop"))

    def recorded(self, to):
        """Returns what gives a recorded answer, byte for byte but for the address of the server."""
        answer = RECORDED[to]

        def send(handler, question):
            body = answer["body"].replace("SERVICE", self.outpost.service).encode()
            handler.send_response(answer["status"], answer["reason"])
            handler.send_header("Content-Type", answer["type"])
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        return send


class Always(dict):
    """Answers by the name of a server, with one for all others."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def get(self, name, default=None):
        return super().get(name, self.answer)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    p = Python(tmp_path_factory.mktemp("python"))
    yield p
    p.close()


def is_over(hub, name):
    return (hub.server(name) or {"stopped": True})["stopped"]


def polled(outpost, name, more=2):
    """Waits for so many more polls of a server."""
    asked = len(outpost.of("GET", name))
    stage.wait_for(f"polls of {name}", lambda: len(outpost.of("GET", name)) >= asked + more)


def test_many_starts(python):
    """More than the ten that the client alone has places for. All are polled, also after a restart of the hub."""
    hub, outpost = python.hub, python.outpost
    names, users = [f"many{n}" for n in range(3)], [f"user{n}" for n in range(4)]
    servers = [(name, user) for name in names for user in users]
    with ThreadPoolExecutor(len(servers)) as pool:
        assert all(pool.map(lambda s: hub.run(s[0], user=s[1])["ready"], servers))
    assert len(outpost.running) == len(servers)

    def asked():
        return {path: sum(1 for m, p, *_ in outpost.requests if (m, p) == ("GET", path)) for path in outpost.running}

    for ends in (False, True):
        if ends:
            hub.stop()
            hub.start()
            for name, user in servers:
                stage.wait_for("the server", lambda name=name, user=user: (hub.server(name, user) or {}).get("ready"))
        before = asked()
        stage.wait_for("polls of all", lambda before=before: all(n > before[path] + 1 for path, n in asked().items()))
    # A new hub asks for a watch once, and then rarely.
    assert sum(1 for method, path, *_ in outpost.requests if path == "/watch") <= 2
    assert not [path for method, path, *_ in outpost.requests if method == "DELETE"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda s: hub.stop_server(*s), servers))
    assert not outpost.running


@pytest.mark.parametrize("to", ["poll, running", "poll, key changed", "unhandled", "wrong password"])
def test_polls_that_end_nothing(python, to):
    """The outpost cannot tell, or says that the server runs."""
    hub, outpost = python.hub, python.outpost
    hub.run("kept")
    outpost.polls["kept"] = python.recorded(to)
    stops = len(outpost.of("DELETE", "kept"))
    polled(outpost, "kept", 3)
    assert hub.server("kept")["ready"] and len(outpost.of("DELETE", "kept")) == stops
    del outpost.polls["kept"]
    polled(outpost, "kept")
    assert hub.server("kept")["ready"]
    hub.stop_server("kept")


@pytest.mark.parametrize("to", ["poll, ended", "poll, failed", "poll, unknown"])
def test_polls_that_end_a_server(python, to):
    """Also with 0, and with logs that are a text in place of a list. The outpost is told to forget it."""
    hub, outpost = python.hub, python.outpost
    hub.run("ends")
    hub.run("beside")
    (key,) = (key for key in outpost.running if "/ends/" in key)
    outpost.polls["ends"] = python.recorded(to)
    stage.wait_for("the end", lambda: is_over(hub, "ends"))
    assert key in outpost.of("DELETE", "ends")
    assert hub.server("beside")["ready"]
    del outpost.polls["ends"]
    hub.run("ends")  # and is started again
    for name in ("ends", "beside"):
        hub.stop_server(name)


@pytest.mark.parametrize(
    "to, words",
    [
        ("start, wrong flavor", "far: Exception: lab-one - Start with flavor huge not allowed. Allowed values for user: "),
        ("start, Kubernetes refuses", "far: kubernetes.client.exceptionsApiException: first - second - 3"),
        ("start, wrong body", "far answered with unexpected status 422. Tell the administrators of the hub."),
        ("wrong password", "far does not accept the hub's password."),
        ("unhandled", "far answered with unexpected status 500. Tell the administrators of the hub."),
    ],
)
def test_starts_that_fail(python, to, words):
    """The user reads why, and nothing internal; what may have been started is stopped."""
    hub, outpost = python.hub, python.outpost
    outpost.answers["fails"] = python.recorded(to)
    try:
        shown = " ".join(event.get("message", "") for event in hub.fail("fails"))
        assert words in shown and "Traceback" not in shown, shown
        begun = {body["user_options"]["start_id"] for body in outpost.of("POST", "fails")}

        def stopped():
            return {path.split("/")[-1] for path in outpost.of("DELETE", "fails")}

        stage.wait_for("the stop", lambda: begun <= stopped())
    finally:
        del outpost.answers["fails"]


@pytest.mark.parametrize(
    "to", ["stop", "stop, once more", "stop, asynchronous", "stop, key changed", "poll, unknown"]
)
def test_stops(python, to):
    hub, outpost = python.hub, python.outpost
    hub.run("stops")
    outpost.stops["stops"] = python.recorded(to)
    hub.stop_server("stops")
    del outpost.stops["stops"]
    hub.run("stops")
    hub.stop_server("stops")
