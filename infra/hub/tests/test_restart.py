"""Starts that are under way when the hub is stopped."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import stage

USERS = [f"user{n}" for n in range(25)]
FOREVER = 10**9

MESSAGE = "The hub was restarted while this server was starting. Start it again."
FAILED = {"progress": 100, "failed": True, "message": f"Spawn failed: {MESSAGE}", "html_message": MESSAGE}


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    f = stage.Watched(tmp_path_factory.mktemp("far"))
    yield f
    f.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_starts_under_way(far, end):
    """A server that runs becomes ready. One whose pod was waited for is stopped, and its user is told."""
    hub, outpost, lab = far.hub, far.outpost, far.lab
    held = threading.Event()
    outpost.answers["pod"] = stage.Held(held, (200, {"service": outpost.service}))
    outpost.requests.clear()
    lab.looks.clear()  # of the other end
    lab.begins = FOREVER
    with ThreadPoolExecutor(8) as pool:
        for name in ("pod", "lab"):
            answers = list(pool.map(lambda user: hub.begin(name, user=user), USERS))
            # JupyterHub 6 looks at another object after a failure, and answers 201.
            assert {answer.code for answer in answers} <= {201, 202}
    stage.wait_for("requests", lambda: len(outpost.running) == 50)
    looks = [f"/user/{user}/lab/api" for user in USERS]
    stage.wait_for("looks", lambda: set(looks) <= set(lab.looks))
    waiting = {path for path in outpost.running if path.startswith("/services/pod/")}
    getattr(hub, end)()
    held.set()
    lab.begins = 0
    hub.start()
    for user in USERS:
        stage.wait_for(f"{user}'s server", lambda: (hub.server("lab", user) or {}).get("ready"))
    stage.wait_for("the stops", lambda: not waiting & outpost.running)
    assert sorted(outpost.of("DELETE", "pod")) == sorted(waiting) and not outpost.of("DELETE", "lab")
    for user in USERS:
        stage.wait_for("the end", lambda: hub.server("pod", user)["stopped"])
        assert hub.progress("pod", user) == [FAILED]
    outpost.answers.clear()
    hub.run("pod", user=USERS[0])  # and is started again
    for name in ("pod", "lab"):
        hub.stop_server(name, USERS[0])
    for user in USERS[1:]:
        hub.stop_server("lab", user)


def test_start_that_was_not_sent(tmp_path):
    """The outpost was asked what it offers when the hub ended: the user is told, and nothing is left of the start."""
    w = stage.Watched(tmp_path)
    hub, outpost = w.hub, w.outpost
    held = threading.Event()

    def silent(handler, question):
        held.wait(60)
        handler.close_connection = True

    outpost.catalog = silent
    try:
        assert hub.begin("asked").code in (201, 202)
        stage.wait_for("the question", lambda: outpost.questions)
        hub.kill()
        outpost.catalog = None
        held.set()
        hub.start()
        stage.wait_for("the end", lambda: hub.server("asked")["stopped"])
        assert hub.progress("asked") == [FAILED]
        stage.wait_for("the stop of what may have been sent", lambda: not outpost.running)
        hub.run("asked")
    finally:
        held.set()
        w.close()
