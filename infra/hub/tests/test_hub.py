"""The module in a real hub, with the real client, ssh and sshd; only outposts, servers and Kubernetes are stand-ins."""

import concurrent.futures
import json
import os
import signal
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
    authorization = next(headers["Authorization"] for method, _, headers, _ in hub_stage.direct.requests if method == "POST")
    assert authorization == "Basic anVweXRlcmh1YjpzZWNyZXQ="
    hub.stop_server("lab")
    assert len(hub_stage.direct.of("DELETE", "lab")) == 1


def test_default_server(hub, hub_stage):
    """The Python Outpost cannot poll it, so it was lost after 30 s; ours takes an empty name in the path."""
    hub.run("", {"system": "direct"})
    polls = stage.wait_for("two polls", lambda: len(hub_stage.direct.of("GET", "")) > 1 and hub_stage.direct.of("GET", ""))
    assert polls[0].startswith("/services//")
    assert hub.server("")["ready"]
    hub.stop_server("")
    assert len(hub_stage.direct.of("DELETE", "")) == 1


def test_form(hub, hub_stage):
    """A form sends lists; everything behind it gets texts."""
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
    "options, said",
    [
        ({"system": "nowhere"}, "Choose one of these systems: direct, nobody, other, remote, slow, stranger."),
        ({}, "Choose one of these systems"),
        ({"system": "remote", "flavor": "huge"}, "remote has no flavor 'huge'. There are: small, large."),
        ({"system": "remote", "image": "x"}, "A server has no option 'image'."),
    ],
)
def test_wrong_options(hub, options, said):
    assert said in message(hub.fail("wrong", options))


def test_wrong_name(hub):
    # JupyterHub 6 refuses it before the module does.
    said = message(hub.fail("Wrong.Name", {"system": "direct"}))
    assert "at most 32 characters" in said or "Invalid server_name" in said


# The tunnel


def test_tunnel(hub, hub_stage):
    hub.run("tunnel", {"system": "remote"})
    port = stage_port(hub, "tunnel")
    assert port != hub_stage.lab.port and stage.get(port) == 200
    assert len(hub.connections("remote")) == 1
    name = next(name for name in hub_stage.cluster.services if name.endswith("-tunnel"))
    assert hub_stage.cluster.services[name] == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "labels": {"app": "jupyterhub", "component": "singleuser-server", "outposts.dev/system": "remote"},
        },
        "spec": {"selector": {"app": "jupyterhub"}, "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": port}]},
    }
    hub.stop_server("tunnel")
    assert name not in hub_stage.cluster.services
    stage.wait_for("port closed", lambda: stage.get(port) is None)


def test_ssh_port_and_options_of_the_client(hub):
    """The command line that ends in a shell has nothing but the system's own values."""
    hub.run("options", {"system": "remote"})
    (connection,) = hub.connections("remote")
    assert Path(f"/proc/{connection}").exists()
    commands = [line.split() for line in hub.log.read_text().splitlines() if line.strip().startswith("ssh -f -N -n")]
    commands = [words for words in commands if "-oHostKeyAlias=outpost-remote" in words]
    port = hub.settings["systems"]["remote"]["ssh"]["port"]
    assert commands and all({f"-oPort={port}", "-oStrictHostKeyChecking=yes"} <= set(words) for words in commands)
    hub.stop_server("options")


def test_two_systems_behind_one_address(hub):
    """The client's socket is named after the host alone: the second system's users landed in the first."""
    hub.run("one", {"system": "remote"})
    hub.run("two", {"system": "other"})
    assert len(hub.connections("remote")) == len(hub.connections("other")) == 1
    assert hub.connections("remote") != hub.connections("other")
    hub.stop_server("one")
    hub.stop_server("two")


def test_long_way(hub):
    """The client gives its first connection one second."""
    hub.run("slow", {"system": "slow"})
    hub.stop_server("slow")


def test_connection_killed(hub, hub_stage):
    hub.run("killed", {"system": "remote"})
    port = stage_port(hub, "killed")
    (connection,) = hub.connections("remote")
    os.kill(connection, signal.SIGKILL)
    stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    assert hub.connections("remote") != [connection]
    services = [method for method, name in hub_stage.cluster.log if name.endswith("-killed")]
    assert "DELETE" not in services, "the proxy goes through the Service while the tunnel is renewed"
    assert hub.server("killed")["ready"]
    hub.stop_server("killed")


def test_connection_of_several_servers_killed(hub):
    """Their tunnels come back, all in one round: the servers of a system share its connection, and so do the looks at it."""
    names = ["several-a", "several-b", "several-c"]
    for name in names:
        hub.run(name, {"system": "remote"})
    ports = [stage_port(hub, name) for name in names]
    (connection,) = hub.connections("remote")
    os.kill(connection, signal.SIGKILL)
    for port in ports:
        stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    assert len(hub.connections("remote")) == 1
    for name in names:
        assert hub.server(name)["ready"]
        hub.stop_server(name)


def test_outpost_restarted(hub, hub_stage):
    """When its sshd comes back, so do the forwards; the poll of the server does not end it meanwhile."""
    hub.run("restart", {"system": "other"})
    port = stage_port(hub, "restart")
    hub_stage.other_sshd.stop()
    stage.wait_for("tunnel gone", lambda: stage.get(port) is None)
    hub_stage.other_sshd.start()
    stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    hub.stop_server("restart")


def test_service_of_an_earlier_life(hub, hub_stage):
    """A Service of the same name that leads elsewhere is replaced."""
    hub.run("earlier", {"system": "remote"})
    name = next(name for name in hub_stage.cluster.services if name.endswith("-earlier"))
    old = hub_stage.cluster.services[name]
    hub.stop_server("earlier")
    hub_stage.cluster.services[name] = {**old, "spec": {**old["spec"], "ports": [{"name": "http", "port": 1}]}}
    hub.run("earlier", {"system": "remote"})
    assert hub_stage.cluster.services[name]["spec"]["ports"][0]["port"] == stage_port(hub, "earlier")
    hub.stop_server("earlier")


def test_several_at_once(hub):
    names = [f"many{i}" for i in range(6)]
    for name in names:
        assert hub.begin(name, {"system": "remote"}).code in (201, 202)
    for name in names:
        events = hub.progress(name)
        assert events[-1].get("ready"), (name, events)
    assert len(hub.connections("remote")) == 1
    assert len({stage_port(hub, name) for name in names}) == 6
    for name in names:
        hub.stop_server(name)


def test_hub_killed(hub, hub_stage):
    """All tunnels die with the hub's pod; servers, direct ones too, are there again with the next one."""
    hub.run("survivor", {"system": "remote"})
    hub.run("neighbour", {"system": "direct"})
    port = stage_port(hub, "survivor")
    stops = len(hub_stage.remote.of("DELETE", "survivor"))
    hub.kill()
    assert stage.get(port) is None
    hub.start()
    stage.wait_for("tunnel made again", lambda: stage.get(port) == 200)
    stage.wait_for("both ready", lambda: all((hub.server(n) or {}).get("ready") for n in ("survivor", "neighbour")))
    assert len(hub_stage.remote.of("DELETE", "survivor")) == stops
    hub.stop_server("survivor")
    hub.stop_server("neighbour")


def test_hub_killed_while_the_outpost_is_away(hub, hub_stage):
    hub.run("patient", {"system": "other"})
    port = stage_port(hub, "patient")
    hub.kill()
    hub_stage.other_sshd.stop()
    hub.start()
    stage.wait_for("an attempt", lambda: "no tunnel to other yet" in hub.log.read_text())
    assert hub.call("GET", "/hub/api/").code == 200, "others need not wait"
    hub_stage.other_sshd.start()
    stage.wait_for("tunnel made again", lambda: stage.get(port) == 200)
    stage.wait_for("ready", lambda: (hub.server("patient") or {}).get("ready"))
    hub.stop_server("patient")


# Failures


def test_reason_reaches_the_user(hub, hub_stage):
    reason = "no image <img src=x onerror=alert(1)> 100%"
    hub_stage.direct.answers["refused"] = (419, {"module": "", "class": "image", "traceback": "", "args": [reason], "kwargs": {}})
    events = hub.fail("refused", {"system": "direct"})
    assert f"direct: image: {reason}" in message(events)
    assert "<img" not in json.dumps([e.get("html_message", "") for e in events])
    assert len(hub_stage.direct.of("DELETE", "refused")) == len(hub_stage.direct.of("POST", "refused")), "whatever was begun is stopped"


def test_wrong_password(hub, hub_stage):
    hub_stage.direct.answers["password"] = (401, {"detail": "Incorrect username or password"})
    assert "does not accept the hub's password" in message(hub.fail("password", {"system": "direct"}))


def test_unreachable(hub):
    said = message(hub.fail("unreachable", {"system": "nobody"}))
    assert "nobody cannot be reached at the moment" in said
    assert "maria:unreachable - the start was not taken, will try again" in hub.log.read_text()


def test_start_while_the_outpost_restarts(hub, hub_stage):
    """An Ingress without an Outpost behind it, then one that has only begun: the start goes on, under the same start id."""
    hub_stage.direct.first["early"] = [(502, {}), (503, {"module": "", "class": "Unavailable", "args": ["loading"]})]
    hub.run("early", {"system": "direct"})
    attempts = [body["user_options"]["start_id"] for body in hub_stage.direct.of("POST", "early")]
    assert attempts == [attempts[0]] * 3
    hub.stop_server("early")


def test_outpost_that_cannot_start_anything(hub, hub_stage):
    busy = (503, {"module": "", "class": "Unavailable", "traceback": "", "args": ["Kubernetes does not answer"], "kwargs": {}})
    hub_stage.direct.answers["never"] = busy
    said = message(hub.fail("never", {"system": "direct"}))
    assert "direct cannot start servers at the moment: Kubernetes does not answer" in said
    posts = [body["user_options"]["start_id"] for body in hub_stage.direct.of("POST", "never")]
    assert len(hub_stage.direct.of("DELETE", "never")) == len(set(posts)), "whatever was begun is stopped"


def test_wrong_host_key(hub, hub_stage):
    events = hub.fail("stranger", {"system": "stranger"})
    assert "stranger shows another ssh host key than the one this hub knows" in message(events)
    assert "try again" not in message(events).lower(), "it would not help"
    log = hub.log.read_text()
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in log and "Host key verification failed" in log
    assert not hub.connections("stranger")
    assert len(hub_stage.remote.of("DELETE", "stranger")) == len(hub_stage.remote.of("POST", "stranger"))


def test_host_key_changed_and_put_back(hub, hub_stage):
    """A server that runs behind a changed key cannot be reached; with the right key it can, and nothing has stopped it."""
    hub.run("rekeyed", {"system": "other"})
    port = stage_port(hub, "rekeyed")
    sshd = hub_stage.other_sshd
    known = {path: path.read_bytes() for path in sshd.folder.glob("host_key*")}
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    stage.wait_for("refusal", lambda: "no tunnel, will try again: ssh ended with 255: @@@@@" in hub.log.read_text())
    # The watch tries again and again, and each try is a process for a moment.
    stage.wait_for("no connection", lambda: not hub.connections("other") and stage.get(port) is None)
    assert "other shows another ssh host key" in message(hub.fail("newcomer", {"system": "other"}))
    sshd.stop()
    for path, content in known.items():
        path.write_bytes(content)
    sshd.start()
    stage.wait_for("tunnel renewed", lambda: stage.get(port) == 200)
    assert hub.server("rekeyed")["ready"]
    hub.stop_server("rekeyed")


@pytest.mark.parametrize("address", ["127.0.0.1:1;touch {0}", "$(touch {0}):1", "127.0.0.1:1/user/x", "", None])
def test_address_from_the_outpost(hub, hub_stage, tmp_path, address):
    """It would end in a shell of the hub."""
    proof = tmp_path / "proof"
    address = address and address.format(proof)
    hub_stage.remote.answers["address"] = (200, {"service": address})
    assert "did not say where the server is" in message(hub.fail("address", {"system": "remote"}))
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


@pytest.mark.parametrize("path", ["/hub/api/job", "/hub/api/job/maria/lab", "/hub/api/outpostflavors", "/hub/api/outpostflavors/remote"])
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


def stage_port(hub, name):
    """The port of the hub that leads to the server."""
    state = hub.call("GET", "/hub/api/users/maria").json()["servers"][name]["state"]
    return state["custom_port"]
