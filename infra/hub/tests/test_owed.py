"""Stops that an outpost has not taken: they are sent again until it has, whatever the hub has forgotten meanwhile."""

import contextlib
import json
import sqlite3
import threading

import pytest
import stage


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    f = stage.Watched(tmp_path_factory.mktemp("far"))
    yield f
    f.close()


@pytest.fixture
def away(far):
    """The outpost, which takes no stops until the test, or a hub that it has started, lets it."""
    far.outpost.requests.clear()
    far.outpost.stop_refusal = 503
    yield far.outpost
    far.outpost.stop_refusal = 0
    stage.wait_for("all stops", lambda: not far.outpost.running and not owed(far.hub))


def owed(hub):
    with sqlite3.connect(f"file:{hub.folder}/hub.sqlite?mode=ro", uri=True) as db:
        return sorted(db.execute("SELECT system, name, start_id FROM outposts_owed_stops"))


def services(outpost, name):
    return [path for path in outpost.running if path.startswith(f"/services/{name}/")]


@pytest.mark.parametrize("answer", [503, 404])
def test_stops_are_sent_again(far, away, answer):
    """A 404 that is not of the outpost, but of what is in front of it, says nothing of the server."""
    hub, away.stop_refusal = far.hub, answer
    hub.run("lab")
    (path,) = services(away, "lab")
    hub.stop_server("lab")
    assert services(away, "lab") and owed(hub) == [("far", "lab", path.split("/")[3])]
    tries = len(away.of("DELETE", "lab"))
    stage.wait_for("more tries", lambda: len(away.of("DELETE", "lab")) > tries + 1)
    assert f"far - does not take all stops yet: HTTPClientError: HTTP {answer}" in hub.log.read_text()
    away.stop_refusal = 0
    stage.wait_for("the stop", lambda: not away.running)
    assert set(away.of("DELETE", "lab")) == {path}
    *_, last = (headers for method, _, headers, _ in away.requests if method == "DELETE")
    assert {"Authorization", "Execution-Type"} <= set(last) and last["Execution-Type"] == "async"


def test_users_and_servers_that_are_gone(far, away):
    """The default server and a named one, of users whom nobody knows any more; after a restart of the hub too."""
    hub = far.hub
    for name in ("", "lab"):
        hub.run(name, user="guest")
        hub.stop_server(name, "guest")
    stage.wait_for("end of the user", lambda: hub.call("DELETE", "/hub/api/users/guest").code in (204, 404))
    assert len(owed(hub)) == 2
    hub.kill()
    away.stop_refusal = 0
    hub.start()
    stage.wait_for("the stops", lambda: not away.running)


def test_a_server_that_is_started_again_lives(far, away):
    hub = far.hub
    hub.run("lab")
    (old,) = services(away, "lab")
    hub.stop_server("lab")
    hub.run("lab")
    (new,) = set(services(away, "lab")) - {old}
    away.stop_refusal = 0
    stage.wait_for("the stop", lambda: not owed(hub))
    assert services(away, "lab") == [new] and new not in away.of("DELETE", "lab")
    hub.kill()
    hub.start()
    stage.wait_for("the server", lambda: (hub.server("lab") or {}).get("ready"))
    hub.stop_server("lab")


def test_a_server_that_was_started_without_this_module(far, away):
    """What its form had is in the database as lists."""
    hub = far.hub
    hub.run("lab")
    (path,) = services(away, "lab")
    hub.kill()
    with contextlib.closing(sqlite3.connect(hub.folder / "hub.sqlite")) as database, database:
        options = json.dumps({"system": ["far"]})
        assert database.execute("UPDATE spawners SET user_options = ? WHERE name = 'lab'", (options,)).rowcount
    hub.start()
    stage.wait_for("the server", lambda: (hub.server("lab") or {}).get("ready"))
    hub.stop_server("lab")
    assert owed(hub) == [("far", "lab", path.split("/")[3])]


def test_starts_under_way_when_the_hub_is_killed(far, away):
    """While their outpost cannot be reached."""
    hub, held = far.hub, threading.Event()
    away.answers["pod"] = stage.Held(held, (200, {"service": away.service}))
    users = [f"user{n}" for n in range(10)]
    for user in users:
        assert hub.begin("pod", user=user).code in (201, 202)
    stage.wait_for("requests", lambda: len(away.running) == len(users))
    hub.kill()
    held.set()
    hub.start()
    for user in users:
        stage.wait_for("the end", lambda: (hub.server("pod", user) or {"stopped": True})["stopped"])
    assert len(services(away, "pod")) == len(owed(hub)) == len(users)
    away.stop_refusal = 0
    stage.wait_for("the stops", lambda: not away.running)
    away.answers.clear()


def test_a_system_that_is_renamed_or_away(far, away):  # the last one: the hub keeps the new name
    """Stops go to it under its new name, and wait for one that no data names."""
    hub = far.hub
    hub.run("lab")
    hub.stop_server("lab")
    settings, system = hub.settings, hub.settings["systems"]["far"]
    hub.kill()
    (hub.folder / "auth" / "near").write_text("jupyterhub:secret")
    hub.settings = {**settings, "systems": {"near": system}}
    away.stop_refusal = 0
    hub.start()
    hub.run("other")
    hub.stop_server("other")
    assert len(services(away, "lab")) == 1
    hub.settings = {**settings, "systems": {"near": {**system, "formerNames": ["far"]}}}
    (hub.folder / "settings.json").write_text(json.dumps(hub.settings))
    stage.wait_for("the stop", lambda: not away.running)
