"""Tunnels that `outpost tunnels` keeps, in a real hub with the real client. Outposts, tunnels and Kubernetes are fakes."""

import asyncio
import copy
import json
import threading
import time
from types import SimpleNamespace

import outpost_hub
import pytest
import stage
import urllib3
from kubernetes.client import ApiException
from test_data import put, refusal
from test_hub import message


@pytest.fixture(scope="module")
def tunnels(hub_stage):
    t = stage.Tunnels(hub_stage.cluster)
    hub = hub_stage.hub
    yield t
    t.close()
    hub.settings.pop("tunnels", None)


@pytest.fixture
def hub(hub_stage, tunnels):
    """The hub, with tunnels."""
    if "tunnels" not in hub_stage.hub.settings:
        hub_stage.hub.stop()
        hub_stage.hub.settings["tunnels"] = {"name": "hub", "url": tunnels.url, "ports": "20000-20063"}
        hub_stage.hub.start()
    return hub_stage.hub


def service_of(cluster, name):
    (service,) = (s for n, s in cluster.services.items() if n.endswith(f"-{name}"))
    return service


# Data


def test_settings(settings):
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081/"}
    found = outpost_hub.Outposts(settings).tunnels
    assert (found.name, found.url, found.ports) == ("hub", "http://tunnels.jupyter.svc:8081", range(20000, 30000))


@pytest.mark.parametrize(
    "path, value",
    [
        ("name", "a b"), ("name", None), ("url", "tunnels:8081"), ("ports", "20000"), ("ports", "80-20000"),
        ("ports", "20000-19999"), ("ports", "20000-70000"), ("port", 1),
    ],
)  # fmt: skip
def test_wrong_settings(settings, path, value):
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081"}
    assert f"tunnels.{path}" in refusal(put(settings, f"tunnels.{path}", value))


def test_choice_of_ports(settings):
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081", "ports": "20000-20003"}
    found = outpost_hub.Outposts(settings).tunnels
    chosen = {found.choose({20000}) for _ in range(3)}
    assert chosen == {20001, 20002, 20003}
    with pytest.raises(ConnectionError, match="all 4 ports of the tunnels are in use"):
        found.choose({20000})


# Servers


def test_service_leads_to_the_server(hub, hub_stage, tunnels):
    before = len(hub.connections())
    hub.run("claimed", {"system": "remote"})
    service = service_of(hub_stage.cluster, "claimed")
    (port,) = service["spec"]["ports"]
    assert 20000 <= port["targetPort"] <= 20063
    assert service["metadata"]["labels"] == {
        "component": "singleuser-server", "outposts.dev/system": "remote", "outposts.dev/tunnels": "hub",
    }  # fmt: skip
    assert service["metadata"]["annotations"] == {
        "outposts.dev/target": f"127.0.0.1:{hub_stage.lab.port}",
        "outposts.dev/hub": "hub", "outposts.dev/hub-namespace": "jupyter",
    }  # fmt: skip
    assert service["spec"] == {"selector": {"outposts.dev/tunnels": "hub"}, "ports": [port]}
    assert stage.get(port["port"]) == 200
    assert len(hub.connections()) == before == 0, "the hub's pod has no ssh"
    hub.stop_server("claimed")
    assert service["metadata"]["name"] not in hub_stage.cluster.services
    stage.wait_for("port closed", lambda: stage.get(port["port"]) is None)


def test_stop_while_the_service_is_made(hub, hub_stage):
    """It does not stay."""
    cluster = hub_stage.cluster
    before, logged = {**cluster.services}, len(cluster.log)
    stopping = threading.Thread(target=hub.stop_server, args=("halted",))
    cluster.may_make.clear()
    try:
        assert hub.begin("halted", {"system": "remote"}).code == 202
        stage.wait_for("the call", lambda: [name for method, name in cluster.log[logged:] if method == "POST"])
        stopping.start()
        stage.wait_for("the stop", lambda: hub_stage.remote.of("DELETE", "halted"))
        time.sleep(0.5)  # for what must not happen: that the stop is over before the call
    finally:
        cluster.may_make.set()
    stopping.join()
    stage.wait_for("the end of the Service", lambda: cluster.services == before)
    assert [method for method, name in cluster.log[logged:] if method != "GET"] == ["POST", "DELETE"]


def test_hub_killed(hub, hub_stage):
    """The Service stays as it is, so that no connection is lost."""
    hub.run("kept", {"system": "remote"})
    service = service_of(hub_stage.cluster, "kept")
    name, (port,) = service["metadata"]["name"], service["spec"]["ports"]
    uid, logged = hub_stage.cluster.uids[name], len(hub_stage.cluster.log)
    hub.kill()
    assert stage.get(port["port"]) == 200
    hub.start()
    stage.wait_for("ready", lambda: (hub.server("kept") or {}).get("ready"))
    assert hub_stage.cluster.uids[name] == uid
    changes = [entry for entry in hub_stage.cluster.log[logged:] if entry[0] != "GET"]
    assert changes == []
    hub.stop_server("kept")


def test_hub_killed_while_all_ports_are_taken(hub, hub_stage):
    """Services that stay need no port."""
    ports, names = hub.settings["tunnels"]["ports"], ("first", "second")
    hub.stop()
    hub.settings["tunnels"]["ports"] = "20000-20001"
    hub.start()
    for name in names:
        hub.run(name, {"system": "remote"})
    logged = len(hub_stage.cluster.log)
    hub.kill()
    (hub.folder / "routes.json").unlink()
    hub.start()
    stage.wait_for("routes", lambda: all(f"/user/maria/{name}/" in hub.routes() for name in names))
    assert [entry for entry in hub_stage.cluster.log[logged:] if entry[0] != "GET"] == []
    for name in names:
        hub.stop_server(name)
    hub.stop()
    hub.settings["tunnels"]["ports"] = ports
    hub.start()


def test_service_lost(hub, hub_stage):
    """A hub whose database is older than the cluster makes the Service again, at the same address."""
    hub.run("lost", {"system": "remote"})
    service = service_of(hub_stage.cluster, "lost")
    hub.kill()
    del hub_stage.cluster.services[service["metadata"]["name"]]
    (port,) = service["spec"]["ports"]
    stage.wait_for("port closed", lambda: stage.get(port["port"]) is None)
    hub.start()
    stage.wait_for("served again", lambda: stage.get(port["port"]) == 200)
    stage.wait_for("ready", lambda: (hub.server("lost") or {}).get("ready"))
    hub.stop_server("lost")


def test_database_of_yesterday(hub, hub_stage):
    """A hub that does not know a server leaves its Service, which the next start of that name takes over."""
    database, services = hub.folder / "hub.sqlite", hub_stage.cluster.services
    hub.stop()
    yesterday = database.read_bytes()
    hub.start()
    hub.run("today", {"system": "remote"})
    before = service_of(hub_stage.cluster, "today")
    hub.kill()
    database.write_bytes(yesterday)
    hub.start()
    assert hub.server("today") is None
    assert service_of(hub_stage.cluster, "today") == before
    hub.run("today", {"system": "remote"})
    (port,) = service_of(hub_stage.cluster, "today")["spec"]["ports"]
    assert stage.get(port["port"]) == 200
    hub.stop_server("today")
    assert not [name for name in services if name.endswith("-today")]


def test_forgotten_services(hub, hub_stage, monkeypatch):
    """A hub that does not know servers removes their Services after a while. Those that it knows stay, and those of
    others."""
    database, cluster = hub.folder / "hub.sqlite", hub_stage.cluster
    hub.run("known", {"system": "remote"})
    known = service_of(cluster, "known")
    name, port = known["metadata"]["name"], known["spec"]["ports"][0]["port"]
    hub.stop()
    yesterday = database.read_bytes()
    others = {"another-1-lab": copy.deepcopy(known), "jupyterhub-lab": copy.deepcopy(known)}
    others["jupyterhub-1-lab"] = copy.deepcopy(known)
    others["jupyterhub-1-lab"]["metadata"]["labels"]["outposts.dev/tunnels"] = "another"
    for other, owner in (("jupyterhub-1-theirs", {"outposts.dev/hub": "theirs"}), ("jupyterhub-1-unsaid", {})):
        others[other] = copy.deepcopy(known)
        others[other]["metadata"]["annotations"] = owner
    others["theirs"] = {"metadata": {}, "spec": {}}  # of a hub that was given the same tunnels
    for other, service in others.items():
        service["metadata"]["name"] = other
        cluster.services[other] = service
    hub.start()
    before = {**cluster.services}, cluster.uids[name]
    for forgotten in ("today", "too"):
        hub.run(forgotten, {"system": "remote"})
    hub.kill()
    database.write_bytes(yesterday)
    monkeypatch.setenv("HUB_FORGOTTEN_SECONDS", "3")
    logged, began = len(cluster.log), time.monotonic()
    hub.start()
    stage.wait_for("the end of two Services", lambda: cluster.services.keys() == before[0].keys())
    assert time.monotonic() - began >= 3
    assert ({**cluster.services}, cluster.uids[name]) == before
    deleted = [of for method, of in cluster.log[logged:] if method == "DELETE"]
    assert sorted(of.rpartition("-")[2] for of in deleted) == ["today", "too"]
    assert stage.get(port) == 200
    hub.stop_server("known")
    for other in others:
        del cluster.services[other]
    hub.stop()
    monkeypatch.undo()
    hub.start()


@pytest.fixture
def forgotten(settings, monkeypatch):
    """What removes Services, at once, and from a cluster that is the attributes that a test gives it."""
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081"}
    forgotten = outpost_hub.Outposts(settings).forgotten
    forgotten.there, forgotten.asked, forgotten.answers = [], [], {}
    forgotten.hubs, forgotten.closed, forgotten.own_namespace = {"jupyter/hub"}, set(), "jupyter"

    def delete(api, namespace, name, uid):
        forgotten.asked.append(uid)
        if uid in forgotten.answers:
            raise forgotten.answers[uid]

    for name, value in {
        "FORGOTTEN_SECONDS": 0, "connected": lambda: None, "_namespace": lambda app: "jupyter",
        "_known": lambda app: set(), "list_services": lambda *_: forgotten.there, "delete_service": delete,
    }.items():  # fmt: skip
        monkeypatch.setattr(outpost_hub.forgotten, name, value)

    def find(api, namespace, name):
        if namespace in forgotten.closed:
            raise ApiException(status=403)
        return name if f"{namespace}/{name}" in forgotten.hubs else None

    for name, value in {
        "own_hub": lambda: "hub", "own_namespace": lambda: forgotten.own_namespace, "find_service": find,
    }.items():  # fmt: skip
        monkeypatch.setattr(outpost_hub.owner, name, value)
    return forgotten


def orphan(uid, owner=None, namespace=None, **meta):
    marks = {"outposts.dev/hub": owner, "outposts.dev/hub-namespace": namespace}
    annotations = {"annotations": {key: value for key, value in marks.items() if value}}
    spec = {"ports": [{"targetPort": 20000}]}
    return {"metadata": {"name": f"hub1-1-{uid}", "uid": uid, **annotations, **meta}, "spec": spec}


def test_forgotten_service_that_cannot_be_removed(forgotten):
    """It does not keep the others. One that is being deleted is left to whoever does it."""
    forgotten.there = [orphan("held"), orphan("going", deletionTimestamp="2026-01-01T00:00:00Z"), orphan("free")]
    forgotten.answers["held"] = ApiException(status=403)
    with pytest.raises(ApiException):
        asyncio.run(forgotten._look(None))
    assert forgotten.asked == ["held", "free"]


def test_hubs_that_share_tunnels_by_mistake(forgotten):
    """Each removes its own Services alone; what says no owner is nobody's, until one of them is gone."""
    forgotten.there = [
        orphan("mine", "hub", "jupyter"), orphan("former", "hub"), orphan("unsaid"), orphan("theirs", "other-hub"),
    ]  # fmt: skip
    forgotten.hubs.add("jupyter/other-hub")
    assert [str(hub) for hub in asyncio.run(forgotten._look(None))] == ["other-hub"]
    assert forgotten.asked == ["mine", "former"]
    forgotten.hubs.remove("jupyter/other-hub")
    del forgotten.there[:2]
    assert asyncio.run(forgotten._look(None)) == []
    assert forgotten.asked == ["mine", "former", "unsaid", "theirs"]


@pytest.mark.parametrize("own_namespace", ["jupyter", "north"])
@pytest.mark.parametrize("closed", [False, True])
def test_hubs_of_one_name(forgotten, own_namespace, closed):
    """The namespace tells them apart, where this hub may look there and where not. What does not say it may be of
    either."""
    forgotten.own_namespace = own_namespace
    forgotten.there = [orphan("mine", "hub", own_namespace), orphan("former", "hub"), orphan("theirs", "hub", "south")]
    if closed:
        forgotten.closed.add("south")
    else:
        forgotten.hubs.add("south/hub")
    assert [str(hub) for hub in asyncio.run(forgotten._look(None))] == ["hub of namespace south"]
    assert forgotten.asked == ["mine"]


def test_former_marks_in_another_namespace(forgotten):
    """Hubs of one name made them, of which one may be of an earlier version and make some still."""
    forgotten.own_namespace = "north"
    forgotten.there = [orphan("mine", "hub", "north"), orphan("former", "hub"), orphan("unsaid")]
    assert asyncio.run(forgotten._look(None)) == []
    assert forgotten.asked == ["mine", "unsaid"]


def test_hub_that_is_gone(forgotten):
    """It was maybe this one, in another namespace."""
    forgotten.there = [orphan("theirs", "hub", "south")]
    assert asyncio.run(forgotten._look(None)) == []
    assert forgotten.asked == ["theirs"]


def test_why_services_stay_is_said_once(forgotten, monkeypatch):
    """Each answer of Kubernetes has headers of its own."""
    lines, said = [], ""
    log = SimpleNamespace(warning=lines.append)
    monkeypatch.setattr(outpost_hub.forgotten, "get_logger", lambda: log)
    forgotten.there = [orphan("held")]

    def refused(status, reason):
        error = ApiException(status=status, reason=reason)
        error.headers = {"Audit-Id": time.monotonic_ns()}
        return error

    timeout = urllib3.exceptions.ReadTimeoutError
    for answer in (
        refused(403, "Forbidden"), refused(403, "Forbidden"), refused(500, "Internal Server Error"),
        timeout(object(), "/", "a"), timeout(object(), "/", "b"),
    ):  # fmt: skip
        forgotten.answers["held"] = answer
        said = asyncio.run(forgotten._look_and_say(None, said))
    stay = "outposts - Services of servers that this hub does not have stay for now: "
    assert lines == [
        f"{stay}Kubernetes answers 403 Forbidden",
        f"{stay}Kubernetes answers 500 Internal Server Error",
        f"{stay}Kubernetes does not answer: ReadTimeoutError",
    ]


THEIRS = {"outposts.dev/hub": "theirs", "outposts.dev/hub-namespace": "jupyter"}


@pytest.mark.parametrize(
    "marks", [THEIRS, {"outposts.dev/hub": "theirs"}, {"outposts.dev/hub": "hub", "outposts.dev/hub-namespace": "south"}]
)
def test_service_of_another_hub(hub, hub_stage, marks):
    """It is neither taken over nor removed, and the user is told. One whose hub is gone was maybe of this one."""
    services = hub_stage.cluster.services
    hub.run("ours", {"system": "remote"})
    service = service_of(hub_stage.cluster, "ours")
    name, target = service["metadata"]["name"], service["metadata"]["annotations"]["outposts.dev/target"]
    own = service["metadata"]["annotations"]
    hub.stop_server("ours")
    service["metadata"]["annotations"] = {"outposts.dev/target": target, **marks}
    services[name], services["theirs"] = service, {"metadata": {"name": "theirs"}, "spec": {}}
    shown = message(hub.fail("ours", {"system": "remote"}))
    assert "The server runs on remote, but another hub uses its address. Tell the administrators of the hub." in shown
    assert services[name] == service
    del services["theirs"]
    if marks["outposts.dev/hub"] == "hub":
        del services[name]  # in a namespace where this hub may not look: it may be there
    hub.run("ours", {"system": "remote"})
    assert services[name]["metadata"]["annotations"] == own
    hub.stop_server("ours")
    assert name not in services


def test_services_of_the_version_before(hub, hub_stage):
    """A hub that is restarted in this version keeps the Services of its running servers, and removes them in the end."""
    hub.run("before", {"system": "remote"})
    service = service_of(hub_stage.cluster, "before")
    hub.kill()
    del service["metadata"]["annotations"]["outposts.dev/hub-namespace"]
    name, (port,) = service["metadata"]["name"], service["spec"]["ports"]
    uid, logged = hub_stage.cluster.uids[name], len(hub_stage.cluster.log)
    hub.start()
    stage.wait_for("ready", lambda: (hub.server("before") or {}).get("ready"))
    assert stage.get(port["port"]) == 200 and hub_stage.cluster.uids[name] == uid
    assert [entry for entry in hub_stage.cluster.log[logged:] if entry[0] != "GET"] == []
    hub.stop_server("before")
    assert name not in hub_stage.cluster.services


def test_start_waits_for_the_removal_of_its_service(settings, monkeypatch):
    """It would take over a Service that fits, and that is about to go."""
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081"}
    tunnels = outpost_hub.Outposts(settings).tunnels
    claims = outpost_hub.claims.Claims("remote", tunnels)
    made = []

    async def state(name, uid):
        return "Served"

    async def serve():
        loop = asyncio.get_running_loop()
        removal = tunnels.removals["hub1-1-lab"] = loop.create_future()

        def put(*args):
            made.append(removal.done())
            return SimpleNamespace(metadata=SimpleNamespace(uid="1")), []

        monkeypatch.setattr(outpost_hub.claims, "_put", put)
        monkeypatch.setattr(claims, "_state", state)
        loop.call_later(0.2, removal.set_result, None)
        info = {"service": "lab.outpost.svc:8888"}
        spawner = SimpleNamespace(
            svc_name="hub1-1-lab", namespace="jupyter", port=8888, port_forward_info=info, _spawn_pending=True
        )
        await claims.serve(spawner, {}, ())

    asyncio.run(serve())
    assert made == [True]


def test_port_taken(hub, hub_stage, tunnels):
    """A claim that is lost is given up for another port before anybody is led to it."""
    tunnels.refuse = ["PortTaken", "Waiting", "PortTaken", "PortTaken"]
    hub.run("taken", {"system": "remote"})
    made = [name for method, name in hub_stage.cluster.log if method == "POST" and name.endswith("-taken")]
    assert len(made) == 5 and not tunnels.refuse
    hub.stop_server("taken")


def test_wrong_host_key(hub, tunnels):
    tunnels.states["stranger"] = "wrong_host_key"
    shown = message(hub.fail("stranger", {"system": "stranger"}))
    assert "The SSH host key of stranger is not the one that this hub knows" in shown


def test_refused_key(hub, tunnels):
    tunnels.states["other"] = "refused_key"
    shown = message(hub.fail("refused", {"system": "other"}))
    assert "The hub cannot open an SSH connection to other. Try again later." in shown


def test_tunnels_away_for_a_moment(hub, hub_stage, tunnels):
    """A start waits for tunnels that do not answer, as when a replica is about to go."""
    tunnels.away = 5
    hub.run("waited", {"system": "remote"})
    assert tunnels.away == 0
    hub.stop_server("waited")


def test_system_that_the_tunnels_do_not_know_yet(hub, tunnels):
    """Hub and tunnels read their files at different moments."""
    tunnels.unknown.add("slow")
    shown = message(hub.fail("early", {"system": "slow"}))
    assert "slow is not known to the hub's tunnels yet. Try again in a minute." in shown
    tunnels.unknown.clear()
    hub.run("early", {"system": "slow"})
    hub.stop_server("early")


def test_name_that_the_tunnels_do_not_know_yet(hub, hub_stage, tunnels):
    """Servers that run keep the Services that they have, as long as the name on them is listed as a former one."""
    cluster, file = hub_stage.cluster, hub_stage.folder / "settings.json"
    hub.run("survivor", {"system": "remote"})
    name = service_of(cluster, "survivor")["metadata"]["name"]
    (port,) = cluster.services[name]["spec"]["ports"]
    logged, asked, before = len(cluster.log), len(tunnels.asked), file.read_text()
    settings = hub_stage.renamed("remote", "north")
    tunnels.unknown.add("north")
    try:
        file.write_text(json.dumps(settings))
        stage.wait_for("a look at it", lambda: f"/services/{name}" in tunnels.asked[asked:])
        assert {method for method, of in cluster.log[logged:] if of == name} == {"GET"}
        assert stage.get(port["port"]) == 200
        tunnels.unknown.clear()
        assert hub.run("new", {"system": "remote"})["user_options"]["system"] == "north"
        assert service_of(cluster, "new")["metadata"]["labels"]["outposts.dev/system"] == "north"
        hub.stop_server("new")
        assert {method for method, of in cluster.log[logged:] if of == name} == {"GET"}

        del settings["systems"]["north"]["formerNames"]
        file.write_text(json.dumps(settings))
        stage.wait_for("a Service with its name", lambda: "north" in str(cluster.services.get(name)))
        stage.wait_for("served", lambda: stage.get(port["port"]) == 200)
        assert hub.server("survivor")["ready"]
        hub.stop_server("survivor")
    finally:
        tunnels.unknown.clear()
        file.write_text(before)
