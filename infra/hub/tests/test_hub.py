"""The module in a real hub with the real client, ssh and sshd. Outposts, servers and Kubernetes are fakes."""

import contextlib
import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest
import stage


@pytest.fixture
def hub(hub_stage):
    return hub_stage.hub


def message(events):
    return " ".join(event.get("message", "") for event in events)


# Starts


def test_named_server(hub, hub_stage):
    server = hub.run("lab", {"system": "direct"})
    assert server["user_options"] == {"system": "direct"}
    (body,) = hub_stage.direct.of("POST", "lab")
    assert body["user_options"]["system"] == "direct"
    assert body["env"]["JUPYTERHUB_API_URL"] == "http://127.0.0.1:9/hub/api"
    assert body["misc"]["pod_name_template"] == "jupyterhub-{userid}-{servername}"
    assert body["misc"]["extra_labels"] == {"outposts.dev/system": "direct"}
    assert body["authentication"] == {"name": "maria", "groups": [], "admin": False}
    authorization = next(
        headers["Authorization"] for method, _, headers, _ in hub_stage.direct.requests if method == "POST"
    )
    assert authorization == "Basic anVweXRlcmh1YjpzZWNyZXQ="
    hub.stop_server("lab")
    assert len(hub_stage.direct.of("DELETE", "lab")) == 1


def test_hub_below_a_path(stage_below_a_path):
    hub, remote = stage_below_a_path.hub, stage_below_a_path.remote
    server = hub.run("lab", {"system": "remote", "flavor": "small"})
    assert server["url"] == "/jupyter/user/maria/lab/"
    (body,) = remote.of("POST", "lab")
    env = body["env"]
    assert env["JUPYTERHUB_API_URL"] == "http://127.0.0.1:9/jupyter/hub/api"
    assert env["JUPYTERHUB_SERVICE_PREFIX"] == "/jupyter/user/maria/lab/"
    assert hub.post_event("lab", {"progress": 50, "message": "going on"}, hub.own_token(remote, "lab")).code == 204
    page = hub.browser().log_in("maria")
    assert page.code == 200
    assert "/jupyter/hub/home" in page.text
    hub.stop_server("lab")


def test_default_server(hub, hub_stage):
    """Its polls have an empty name in their path."""
    hub.run("", {"system": "direct"})
    polls = stage.wait_for(
        "two polls", lambda: len(hub_stage.direct.of("GET", "")) > 1 and hub_stage.direct.of("GET", "")
    )
    assert polls[0].startswith("/services//")
    assert hub.server("")["ready"]
    hub.stop_server("")
    assert len(hub_stage.direct.of("DELETE", "")) == 1


def test_a_404_that_is_not_of_the_outpost(hub_stage):
    """An Ingress, a Gateway or a path that is wrong may answer it. Only the outpost knows that a server is gone."""
    hub, outpost = hub_stage.hub, hub_stage.direct
    hub.run("believed", {"system": "direct"})
    outpost.polls["believed"] = lambda handler, body: handler.answer(404, {"detail": "Not Found"})
    asked = len(outpost.of("GET", "believed"))
    stage.wait_for("polls", lambda: len(outpost.of("GET", "believed")) > asked + 2)
    assert hub.server("believed")["ready"] and not outpost.of("DELETE", "believed")
    (path,) = (path for path in outpost.running if "/believed/" in path)
    outpost.running.discard(path)
    stage.wait_for("the end", lambda: (hub.server("believed") or {"stopped": True})["stopped"])
    del outpost.polls["believed"]


def test_form(hub, hub_stage):
    """A form sends lists; what is stored and sent to the outpost are strings."""
    browser = hub.browser()
    assert browser.log_in("nina").code == 200
    page = browser.get("/hub/spawn/nina/formlab")
    assert 'name="flavor-remote"' in page.text and '<option value="large">Large</option>' in page.text
    answer = browser.post(browser.form_action(page), {"system": "remote", "flavor-remote": "large"})
    assert answer.code == 200, answer.text
    stage.wait_for("server", lambda: (hub.server("formlab", "nina") or {}).get("ready"))
    assert hub.server("formlab", "nina")["user_options"] == {"system": "remote", "flavor": "large"}
    (body,) = hub_stage.remote.of("POST", "formlab")
    assert (body["user_options"]["system"], body["user_options"]["flavor"]) == ("remote", "large")
    hub.stop_server("formlab", "nina")


@pytest.mark.parametrize(
    "options, want",
    [
        ({"system": "nowhere"}, "Choose one of these systems: direct, nobody, other, remote, slow, stranger."),
        ({}, "Choose one of these systems"),
        ({"system": "remote", "flavor": "huge"}, "remote has no flavor 'huge'. Available flavors: small, large."),
        ({"system": "remote", "image": "x"}, "Unknown option 'image'."),
    ],
)
def test_wrong_options(hub, options, want):
    assert want in message(hub.fail("wrong", options))


def test_wrong_name(hub):
    # JupyterHub 6 refuses it before the module does.
    shown = message(hub.fail("Wrong.Name", {"system": "direct"}))
    assert "at most 32 characters" in shown or "Invalid server_name" in shown


# The tunnel


def test_tunnel(hub, hub_stage):
    hub.run("tunnel", {"system": "remote"})
    port = forwarded_port(hub, "tunnel")
    assert port != hub_stage.lab.port and stage.get(port) == 200
    assert len(hub.connections("remote")) == 1
    name = next(name for name in hub_stage.cluster.services if name.endswith("-tunnel"))
    assert hub_stage.cluster.services[name] == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "labels": {"app": "jupyterhub", "component": "singleuser-server", "outposts.dev/system": "remote"},
            "annotations": {"outposts.dev/hub": "hub", "outposts.dev/hub-namespace": "jupyter"},
        },
        "spec": {
            "selector": {"app": "jupyterhub"},
            "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": port}],
        },
    }
    hub.stop_server("tunnel")
    assert name not in hub_stage.cluster.services
    stage.wait_for("port closed", lambda: stage.get(port) is None)


def test_ssh_port_and_options_of_the_client(hub):
    """The command line that the client gives to a shell has the system's own values."""
    hub.run("options", {"system": "remote"})
    (connection,) = hub.connections("remote")
    assert Path(f"/proc/{connection}").exists()
    commands = [line.split() for line in hub.log.read_text().splitlines() if line.strip().startswith("ssh -f -N -n")]
    commands = [words for words in commands if "-oHostKeyAlias=outpost-remote" in words]
    port = hub.settings["systems"]["remote"]["ssh"]["port"]
    assert commands and all({f"-oPort={port}", "-oStrictHostKeyChecking=yes"} <= set(words) for words in commands)
    hub.stop_server("options")


def test_two_systems_behind_one_address(hub):
    """By default the client names its socket after the host alone, and they would share a connection."""
    hub.run("one", {"system": "remote"})
    hub.run("two", {"system": "other"})
    assert len(hub.connections("remote")) == len(hub.connections("other")) == 1
    assert hub.connections("remote") != hub.connections("other")
    hub.stop_server("one")
    hub.stop_server("two")


def test_slow_connection(hub):
    """The client allows its first connection one second."""
    hub.run("slow", {"system": "slow"})
    hub.stop_server("slow")


def test_connection_killed(hub, hub_stage):
    hub.run("killed", {"system": "remote"})
    port = forwarded_port(hub, "killed")
    (connection,) = hub.connections("remote")
    os.kill(connection, signal.SIGKILL)
    stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    assert hub.connections("remote") != [connection]
    services = [method for method, name in hub_stage.cluster.log if name.endswith("-killed")]
    assert "DELETE" not in services, "the proxy uses the Service while the tunnel is renewed"
    assert hub.server("killed")["ready"]
    hub.stop_server("killed")


def test_connection_of_several_servers_killed(hub):
    """Their tunnels are renewed in one round: the servers of a system share its connection."""
    names = ["several-a", "several-b", "several-c"]
    for name in names:
        hub.run(name, {"system": "remote"})
    ports = [forwarded_port(hub, name) for name in names]
    (connection,) = hub.connections("remote")
    os.kill(connection, signal.SIGKILL)
    for port in ports:
        stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    assert len(hub.connections("remote")) == 1
    for name in names:
        assert hub.server(name)["ready"]
        hub.stop_server(name)


def test_outpost_restarted(hub, hub_stage):
    """When its sshd is back, the tunnels are renewed; meanwhile, polls do not end the server."""
    hub.run("restart", {"system": "other"})
    port = forwarded_port(hub, "restart")
    hub_stage.other_sshd.stop()
    stage.wait_for("tunnel gone", lambda: stage.get(port) is None)
    hub_stage.other_sshd.start()
    stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    hub.stop_server("restart")


def test_service_of_an_earlier_start(hub, hub_stage):
    """A Service of the same name for another port is replaced."""
    hub.run("earlier", {"system": "remote"})
    name = next(name for name in hub_stage.cluster.services if name.endswith("-earlier"))
    old = hub_stage.cluster.services[name]
    hub.stop_server("earlier")
    hub_stage.cluster.services[name] = {**old, "spec": {**old["spec"], "ports": [{"name": "http", "port": 1}]}}
    hub.run("earlier", {"system": "remote"})
    assert hub_stage.cluster.services[name]["spec"]["ports"][0]["port"] == forwarded_port(hub, "earlier")
    hub.stop_server("earlier")


def test_service_of_another_hub(hub, hub_stage):
    """Its user would be led to this hub's pod. The user here is told."""
    services = hub_stage.cluster.services
    hub.run("mine", {"system": "remote"})
    (name,) = (n for n in services if n.endswith("-mine"))
    service = services[name]
    marks = {"outposts.dev/hub": "hub", "outposts.dev/hub-namespace": "jupyter"}
    assert service["metadata"]["annotations"] == marks
    hub.stop_server("mine")
    assert name not in services
    service["metadata"]["annotations"], service["spec"]["selector"] = {"outposts.dev/hub": "theirs"}, {"app": "theirs"}
    services[name], services["theirs"] = service, {"metadata": {"name": "theirs"}, "spec": {}}
    shown = message(hub.fail("mine", {"system": "remote"}))
    assert "The server runs on remote, but another hub uses its address. Tell the administrators of the hub." in shown
    assert services[name] == service
    del services["theirs"]
    hub.run("mine", {"system": "remote"})
    assert services[name]["metadata"]["annotations"] == marks
    hub.stop_server("mine")


def test_several_at_once(hub):
    names = [f"many{i}" for i in range(6)]
    for name in names:
        assert hub.begin(name, {"system": "remote"}).code in (201, 202)
    for name in names:
        events = hub.progress(name)
        assert events[-1].get("ready"), (name, events)
    assert len(hub.connections("remote")) == 1
    assert len({forwarded_port(hub, name) for name in names}) == 6
    for name in names:
        hub.stop_server(name)


def test_hub_killed(hub, hub_stage):
    """All tunnels end with the hub's pod. The next one finds the servers, also those reached directly."""
    hub.run("survivor", {"system": "remote"})
    hub.run("neighbour", {"system": "direct"})
    port = forwarded_port(hub, "survivor")
    stops = len(hub_stage.remote.of("DELETE", "survivor"))
    hub.kill()
    assert stage.get(port) is None
    hub.start()
    stage.wait_for("new tunnel", lambda: stage.get(port) == 200)
    stage.wait_for(
        "both servers ready", lambda: all((hub.server(n) or {}).get("ready") for n in ("survivor", "neighbour"))
    )
    assert len(hub_stage.remote.of("DELETE", "survivor")) == stops
    hub.stop_server("survivor")
    hub.stop_server("neighbour")


def test_system_renamed(hub, hub_stage):
    """Servers that were started under the former name go on, with a tunnel of the new one, and start again there."""
    hub.run("survivor", {"system": "remote"})
    port = forwarded_port(hub, "survivor")
    stops = len(hub_stage.remote.of("DELETE", "survivor"))
    before = hub.settings
    hub.kill()
    hub.settings = hub_stage.renamed("remote", "north")
    try:
        hub.start()
        stage.wait_for("new tunnel", lambda: stage.get(port) == 200)
        stage.wait_for("ready", lambda: (hub.server("survivor") or {}).get("ready"))
        assert len(hub.connections("north")) == 1
        assert len(hub_stage.remote.of("DELETE", "survivor")) == stops
        hub.stop_server("survivor")
        assert len(hub_stage.remote.of("DELETE", "survivor")) == stops + 1
        assert hub.run("again", {"system": "remote"})["user_options"]["system"] == "north"
        hub.stop_server("again")
    finally:
        hub.kill()
        hub.settings = before
        hub.start()


def test_servers_of_kubespawner(hub, hub_stage):
    """They go on when the hub gets this module, without an outpost. Stopped, they start again on a system."""
    names = ("kept", "ended", "unseen")
    for name in names:
        hub.run(name, {"system": "direct"})
        hub_stage.cluster.pods[f"jupyter-{name}"] = {"metadata": {"name": name}, "status": {"phase": "Running"}}
    hub.kill()
    with contextlib.closing(sqlite3.connect(hub.folder / "hub.sqlite")) as database, database:
        for name in names:
            state = {"kubespawner_version": "7.0.0", "namespace": "jupyter", "pod_name": f"jupyter-{name}", "dns_name": "x"}
            database.execute(
                "UPDATE spawners SET state = ?, user_options = '{}' WHERE name = ?", (json.dumps(state), name)
            )
    asked, token = len(hub_stage.direct.requests), hub.own_token(hub_stage.direct, "kept")
    hub.start()
    stage.wait_for("ready", lambda: all((hub.server(n) or {}).get("ready") for n in names))
    assert hub.post_event("kept", {"message": "of one"}, token).code == 204
    told = {name: [event["message"] for event in hub.server(name)["state"]["events"]] for name in names}
    assert told == {"kept": ["of one"], "ended": [], "unseen": []}
    hub_stage.cluster.pods["jupyter-ended"]["status"] = {"phase": "Failed"}
    stage.wait_for("end noticed", lambda: (hub.server("ended") or {"stopped": True})["stopped"])
    hub.kill()  # the state is written again when a hub ends, and read again
    hub.start()
    stage.wait_for("ready", lambda: all((hub.server(n) or {}).get("ready") for n in ("kept", "unseen")))
    hub.stop_server("kept")
    assert ("DELETE", "jupyter-kept") in hub_stage.cluster.log
    assert len(hub_stage.direct.requests) == asked, "no outpost knows them"
    hub.stop_server("unseen")
    hub.run("kept", {"system": "direct"})
    hub.stop_server("kept")
    assert len(hub_stage.direct.of("DELETE", "kept")) == 1


def test_hub_killed_while_the_outpost_is_away(hub, hub_stage):
    hub.run("patient", {"system": "other"})
    port = forwarded_port(hub, "patient")
    hub.kill()
    hub_stage.other_sshd.stop()
    hub.start()
    stage.wait_for("an attempt", lambda: "no tunnel to other yet, retrying" in hub.log.read_text())
    assert hub.call("GET", "/hub/api/").code == 200, "other requests need not wait"
    hub_stage.other_sshd.start()
    stage.wait_for("new tunnel", lambda: stage.get(port) == 200)
    stage.wait_for("ready", lambda: (hub.server("patient") or {}).get("ready"))
    hub.stop_server("patient")


# Failures


def test_reason_reaches_the_user(hub, hub_stage):
    reason = "no image <img src=x onerror=alert(1)> 100%"
    hub_stage.direct.answers["refused"] = (
        419,
        {"module": "", "class": "image", "traceback": "", "args": [reason], "kwargs": {}},
    )
    events = hub.fail("refused", {"system": "direct"})
    assert f"direct: image: {reason}" in message(events)
    assert "<img" not in json.dumps([e.get("html_message", "") for e in events])
    assert len(hub_stage.direct.of("DELETE", "refused")) == len(hub_stage.direct.of("POST", "refused")), (
        "what may have been started is stopped"
    )


def test_wrong_password(hub, hub_stage):
    hub_stage.direct.answers["password"] = (401, {"detail": "Incorrect username or password"})
    assert "does not accept the hub's password" in message(hub.fail("password", {"system": "direct"}))


def test_unreachable(hub):
    assert "nobody cannot be reached at the moment" in message(hub.fail("unreachable", {"system": "nobody"}))
    assert "maria:unreachable - the outpost did not accept the start; retrying" in hub.log.read_text()


def test_start_while_the_outpost_restarts(hub, hub_stage):
    """An Ingress without a backend, then an outpost that is not ready yet: the start is repeated with the same start ID."""
    hub_stage.direct.first["early"] = [(502, {}), (503, {"module": "", "class": "Unavailable", "args": ["loading"]})]
    hub.run("early", {"system": "direct"})
    attempts = [body["user_options"]["start_id"] for body in hub_stage.direct.of("POST", "early")]
    assert attempts == [attempts[0]] * 3
    hub.stop_server("early")


def test_outpost_that_cannot_start_servers(hub, hub_stage):
    busy = (
        503,
        {"module": "", "class": "Unavailable", "traceback": "", "args": ["Kubernetes does not answer"], "kwargs": {}},
    )
    hub_stage.direct.answers["never"] = busy
    shown = message(hub.fail("never", {"system": "direct"}))
    assert "direct cannot start servers at the moment: Kubernetes does not answer" in shown
    posts = [body["user_options"]["start_id"] for body in hub_stage.direct.of("POST", "never")]
    assert len(hub_stage.direct.of("DELETE", "never")) == len(set(posts)), "what may have been started is stopped"


def test_wrong_host_key(hub, hub_stage):
    events = hub.fail("stranger", {"system": "stranger"})
    assert "The SSH host key of stranger is not the one that this hub knows" in message(events)
    assert "try again" not in message(events).lower(), "another attempt would not help"
    log = hub.log.read_text()
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in log and "Host key verification failed" in log
    assert not hub.connections("stranger")
    assert len(hub_stage.remote.of("DELETE", "stranger")) == len(hub_stage.remote.of("POST", "stranger"))


def test_host_key_changed_and_restored(hub, hub_stage):
    """A running server cannot be reached while the key is another one. With the known key it can, and nothing has stopped it."""
    hub.run("rekeyed", {"system": "other"})
    port = forwarded_port(hub, "rekeyed")
    sshd = hub_stage.other_sshd
    known = {path: path.read_bytes() for path in sshd.folder.glob("host_key*")}
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    stage.wait_for("refusal", lambda: "no tunnel, retrying: ssh exited with code 255: @@@@@" in hub.log.read_text())
    # The hub keeps retrying, and each attempt is a process for a moment.
    stage.wait_for("no connection", lambda: not hub.connections("other") and stage.get(port) is None)
    assert "The SSH host key of other is not the one" in message(hub.fail("newcomer", {"system": "other"}))
    sshd.stop()
    for path, content in known.items():
        path.write_bytes(content)
    sshd.start()
    stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    assert hub.server("rekeyed")["ready"]
    hub.stop_server("rekeyed")


@pytest.mark.parametrize("address", ["127.0.0.1:1;touch {0}", "$(touch {0}):1", "127.0.0.1:1/user/x", "", None])
def test_address_from_the_outpost(hub, hub_stage, tmp_path, address):
    """The client would give it to a shell of the hub."""
    proof = tmp_path / "proof"
    address = address and address.format(proof)
    hub_stage.remote.answers["address"] = (200, {"service": address})
    assert "did not return the server's address" in message(hub.fail("address", {"system": "remote"}))
    assert not proof.exists()


# Routes


@pytest.mark.parametrize("path", ["/hub/api/users/setuptunnel/maria", "/hub/api/users/setuptunnel/maria/lab"])
def test_set_up_tunnel_is_closed(hub, path):
    hub.run("lab", {"system": "direct"})
    try:
        assert hub.call("POST", path, {"service": "127.0.0.1:1"}).code == 404
        assert hub.call("GET", path).code == 404
    finally:
        hub.stop_server("lab")


@pytest.mark.parametrize(
    "path", ["/hub/api/job", "/hub/api/job/maria/lab", "/hub/api/outpostflavors", "/hub/api/outpostflavors/remote"]
)
def test_unused_routes_are_closed(hub, path):
    assert hub.call("GET", path).code == 404
    assert hub.call("POST", path, {}).code == 404


def test_own_token_cannot_leave_its_routes(hub, hub_stage):
    """A server's own token opens no route of the plugins but the one for its events."""
    hub.run("own", {"system": "direct"})
    token = hub.own_token(hub_stage.direct, "own")
    try:
        for path in ("/hub/api/users/setuptunnel/maria/own", "/hub/api/job/maria/own"):
            assert hub.call("POST", path, {}, token=token).code == 404
        assert hub.call("GET", "/hub/api/recreateforward/direct", token=token).code == 403
        assert hub.call("GET", "/hub/api/servers", token=token).code == 403
    finally:
        hub.stop_server("own")


def forwarded_port(hub, name):
    """The port of the hub that is forwarded to the server."""
    state = hub.call("GET", "/hub/api/users/maria").json()["servers"][name]["state"]
    return state["custom_port"]
