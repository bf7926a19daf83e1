"""The file of the data, which is read again when it changes: without a hub, and in a real one."""

import asyncio
import copy
import gc
import json
import weakref
from types import SimpleNamespace

import outpost_hub
import pytest
import stage
import yaml
from test_hooks import checked
from test_hub import message


@pytest.fixture
def watched(settings, tmp_path, monkeypatch):
    """The Outposts of a file, and what writes it."""
    monkeypatch.setattr(outpost_hub.data, "LOOK_SECONDS", 0)
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081"}
    path = tmp_path / "outposts.yaml"

    def write(settings):
        path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings))

    write(settings)
    file = outpost_hub.DataFile(path)
    return outpost_hub.Outposts(file.begin(), file), settings, write


def offered(outposts):
    outposts.refresh()
    return sorted(outposts.systems)


def test_systems_come_and_go(watched):
    outposts, settings, write = watched
    remote = outposts.systems["remote"]
    settings["systems"]["north"] = settings["systems"].pop("direct")
    settings["systems"]["remote"]["description"] = "Without GPUs"
    settings["userOptions"] = ["image"]
    write(settings)
    assert offered(outposts) == ["north", "remote"]
    assert outposts.systems["remote"] is remote and remote.description == "Without GPUs"
    assert outposts.user_options == ("image",)
    assert outposts.system({"system": "direct"}).name == "direct"  # for servers that run there
    with pytest.raises(outpost_hub.errors.StartError, match="Choose one of these systems: north, remote"):
        checked(outposts, {"system": "direct"})


def test_what_has_not_changed_is_not_parsed_again(watched, monkeypatch):
    """All hooks look at the file, in the hub's event loop, and parsing takes milliseconds for each system."""
    outposts, _, _ = watched
    parsed = []
    monkeypatch.setattr(yaml, "safe_load", parsed.append)
    assert offered(outposts) == ["direct", "remote"] and parsed == []


def test_a_system_comes_back(watched):
    outposts, settings, write = watched
    direct, before = outposts.systems["direct"], copy.deepcopy(settings)
    del settings["systems"]["direct"]
    write(settings)
    assert offered(outposts) == ["remote"]
    write(before)
    assert offered(outposts) == ["direct", "remote"]
    assert outposts.systems["direct"] is direct


def test_another_name(watched):
    outposts, settings, write = watched
    remote = outposts.systems["remote"]
    settings["systems"]["north"] = {**settings["systems"].pop("remote"), "formerNames": ["remote"]}
    write(settings)
    assert offered(outposts) == ["direct", "north"]
    assert outposts.system({"system": "remote"}) is outposts.system({"system": "north"}) is remote
    assert remote.name == remote.tunnels.system == "north"
    assert checked(outposts, {"system": "remote"})["system"] == "north"


def test_other_concurrent_starts(watched):
    """They are those of another client, which the next request gets; the one before goes when nothing needs it."""
    outposts, settings, write = watched
    remote = outposts.systems["remote"]
    s = SimpleNamespace(user=SimpleNamespace(settings={"concurrent_spawn_limit": 100}), http_client_defaults=None)

    def clients(**changes):
        settings["systems"]["remote"].update(changes)
        write(settings)
        outposts.refresh()
        assert remote.watch(s).client() is remote.client(s)
        return remote.client(s)

    async def main():
        first = clients()
        assert first.places["start"].count == 100
        assert clients(description="Without GPUs") is first
        second = clients(concurrentStarts=2)
        assert second is not first and second.places["start"].count == 2
        assert clients(concurrentStarts=None).places["start"].count == 100
        gone = weakref.ref(first.http)
        del first
        await asyncio.sleep(0.1)  # tornado has timers of 0 s
        gc.collect()
        assert gone() is None

    asyncio.run(main())


def test_a_former_name_is_dropped(watched):
    """Services with that name are of no system any more: each server is looked at again."""

    class Server:
        pass

    outposts, settings, write = watched
    servers, server = outposts.systems["remote"].tunnels.servers, Server()
    north = settings["systems"]["north"] = {**settings["systems"].pop("remote"), "formerNames": ["old", "remote"]}
    write(settings)
    assert offered(outposts) == ["direct", "north"]
    servers.add(server)
    north.update(description="Without GPUs", formerNames=["remote", "older", "old"])
    write(settings)
    assert offered(outposts) == ["direct", "north"] and list(servers) == [server]
    north["formerNames"] = ["remote"]
    write(settings)
    assert offered(outposts) == ["direct", "north"] and list(servers) == []
    assert outposts.systems["north"].tunnels.servers is servers


def test_a_former_name_is_given_anew(watched):
    """It is another system then."""
    outposts, settings, write = watched
    settings["systems"]["north"] = {**settings["systems"].pop("remote"), "formerNames": ["remote"]}
    write(settings)
    assert offered(outposts) == ["direct", "north"]
    north = outposts.systems["north"]
    del settings["systems"]["north"]["formerNames"]
    settings["systems"]["remote"] = copy.deepcopy(settings["systems"]["north"])
    write(settings)
    assert offered(outposts) == ["direct", "north", "remote"]
    assert outposts.systems["north"] is north is not outposts.systems["remote"]


@pytest.mark.parametrize(
    "path, value, said",
    [
        ("systems.remote.url", "nowhere", "systems.remote.url"),
        ("systems.remote.caFile", "/no/such/file", "file /no/such/file does not exist"),
        ("systems", {}, "at least one system"),
        ("namePrefix", "other", "restart it"),
        ("tunnels.name", "other", "restart it"),
        ("tunnels", None, "restart it"),
    ],
)
def test_what_is_wrong_leaves_the_previous_data(watched, caplog, path, value, said):
    outposts, settings, write = watched
    wrong = copy.deepcopy(settings)
    *parents, last = path.split(".")
    place = wrong
    for part in parents:
        place = place[part]
    place[last] = value
    write(wrong)
    assert offered(outposts) == offered(outposts) == ["direct", "remote"]
    assert outposts.systems["remote"].url == "https://10.0.0.3:30080/services"
    logged = [r.getMessage() for r in caplog.records if "is not used" in r.getMessage()]
    assert len(logged) == 1 and said in logged[0]
    settings["systems"]["remote"]["url"] = "https://10.0.0.4:30080/services"
    write(settings)
    assert offered(outposts) and outposts.systems["remote"].url == "https://10.0.0.4:30080/services"


@pytest.mark.parametrize("text", ["a: [", "", "- a", "\x00"])
def test_not_data(watched, text):
    outposts, _, write = watched
    write(text)
    assert offered(outposts) == ["direct", "remote"]


def test_certificates_come_later(watched, tmp_path):
    """Two ConfigMaps change at two moments: what is refused is tried again."""
    outposts, settings, write = watched
    settings["systems"]["north"] = {**settings["systems"]["remote"], "caFile": str(tmp_path / "north.pem")}
    write(settings)
    assert offered(outposts) == ["direct", "remote"]
    (tmp_path / "north.pem").write_text("a certificate")
    assert offered(outposts) == ["direct", "north", "remote"]


def test_no_file(tmp_path):
    with pytest.raises(OSError):
        outpost_hub.DataFile(tmp_path / "outposts.yaml").begin()


def test_hub_that_goes_on(hub_stage):
    """A system comes to a hub and goes: servers of the others run on, and so do those of one that has gone."""
    hub, file = hub_stage.hub, hub_stage.folder / "settings.json"
    before = json.loads(file.read_text())
    hub.run("stays", {"system": "direct"})
    (hub_stage.folder / "auth" / "late").write_text("jupyterhub:secret")
    file.write_text(json.dumps({**before, "systems": {**before["systems"], "late": hub_stage.system(hub_stage.direct)}}))
    hub.run("comes", {"system": "late"})
    file.write_text(json.dumps(before))
    assert "Choose one of these systems" in message(hub.fail("gone", {"system": "late"}))
    for name in ("stays", "comes"):
        assert hub.server(name)["ready"]
        hub.stop_server(name)
        stage.wait_for("stopped", lambda name=name: not hub.server(name))
