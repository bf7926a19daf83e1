"""Systems whose outposts connect to the tunnels. Outposts, tunnels and Kubernetes are fakes; hub and client are real."""

from datetime import datetime, timezone

import outpost_hub
import pytest
import stage
from test_catalog import CATALOG
from test_claims import service_of
from test_data import put, refusal
from test_form import cards
from test_hub import message

# Data


@pytest.fixture
def dialled(settings):
    """Valid data with a system that dials out."""
    settings["tunnels"] = {
        "name": "hub", "url": "http://tunnels.jupyter.svc:8081", "dialOutUrl": "http://tunnels.jupyter.svc:8082/",
    }  # fmt: skip
    settings["systems"]["inner"] = {
        "connect": "dialOut", "url": "http://tunnels.jupyter.svc:8083/systems/inner/services",
        "hubApiUrl": "https://hub.example.org/hub/api",
    }  # fmt: skip
    return settings


def test_settings(dialled):
    found = outpost_hub.Outposts(dialled)
    assert found.tunnels.dial_out_url == "http://tunnels.jupyter.svc:8082"
    assert {name: (s.dials_out, s.tunnel) for name, s in found.systems.items()} == {
        "direct": (False, False), "remote": (False, True), "inner": (True, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("systems.inner.connect", "dialIn", "systems.inner.connect: 'dialIn' is not dialOut"),
        ("systems.inner.connect", 1, "systems.inner.connect: 1 is not dialOut"),
        ("systems.inner.ssh", {"host": "a"}, "systems.inner.ssh: has no effect with connect: dialOut"),
        ("systems.inner.caFile", "/etc/ca.pem", "systems.inner.caFile: has no effect with connect: dialOut"),
        ("systems.inner.url", None, "systems.inner.url"),
        ("tunnels", None, "systems.inner.connect: needs `tunnels`"),
        ("tunnels.dialOutUrl", "tunnels:8082", "tunnels.dialOutUrl"),
    ],
)
def test_refused(dialled, path, value, message):
    assert message in refusal(put(dialled, path, value))


# A hub


class Inner:
    """A hub with a system that dials out: the tunnels answer for its outpost."""

    def __init__(self, folder):
        self.lab, self.cluster = stage.Lab(), stage.Cluster()
        self.tunnels = stage.Tunnels(self.cluster)
        self.outpost = stage.Outpost(f"127.0.0.1:{self.lab.port}")
        self.outpost.catalog = self.catalog
        self.connected = True
        (folder / "auth").mkdir()
        (folder / "auth" / "inner").write_text("jupyterhub:secret")
        tunnels = {
            "name": "hub", "url": self.tunnels.url, "ports": "20000-20063", "dialOutUrl": "http://127.0.0.1:9",
        }  # fmt: skip
        inner = {"connect": "dialOut", "url": self.outpost.url, "hubApiUrl": "http://127.0.0.1:9/hub/api"}
        settings = {"authDir": str(folder / "auth"), "tunnels": tunnels, "systems": {"inner": inner}}
        self.hub = stage.Hub(folder, settings, self.cluster, flags=())

    def catalog(self, handler, question):
        if self.connected:
            return handler.answer(200, CATALOG)
        return handler.answer(502, "the outpost has not answered")

    def leave(self, seen):
        self.connected = False
        self.tunnels.states["inner"] = "waiting"
        if seen:
            self.tunnels.seen["inner"] = seen.strftime("%Y-%m-%dT%H:%M:%SZ")

    def come(self):
        self.connected = True
        self.tunnels.states.clear()
        self.tunnels.seen.clear()

    def card(self):
        browser = self.hub.browser()
        browser.log_in("maria")
        return cards(browser.get("/hub/spawn/maria/lab"))["inner"]

    def listed(self):
        (listed,) = self.hub.call("GET", "/hub/api/outposts").json()
        return listed

    def shows(self, words):
        """Waits for words on the card: a form does not wait long for a busy machine."""
        stage.wait_for(words, lambda: words in self.card())

    def notes(self, words):
        """Waits until the first note in the list is this one."""
        stage.wait_for(words, lambda: self.listed()["notes"][0] == words)

    def close(self):
        for part in (self.hub, self.outpost, self.tunnels, self.cluster, self.lab):
            part.close()


@pytest.fixture(scope="module")
def inner(tmp_path_factory):
    i = Inner(tmp_path_factory.mktemp("inner"))
    yield i
    i.close()


def test_hub_leads_outposts_to_the_tunnels(inner):
    """By a service of JupyterHub that nobody logs in to, and that users do not see."""
    services = inner.hub.call("GET", "/hub/api/services").json()
    found = {key: services["outposts"][key] for key in ("url", "prefix", "display", "command")}
    assert found == {
        "url": "http://127.0.0.1:9", "prefix": "/services/outposts/", "display": False, "command": [],
    }  # fmt: skip


def test_outpost_is_waited_for(inner):
    inner.shows("Available.")
    seen = datetime.now(timezone.utc).replace(hour=12, minute=3, second=10, microsecond=0)
    inner.leave(seen)
    shown = f'<time datetime="{seen:%Y-%m-%dT%H:%M:%SZ}">12:03 UTC</time>'
    inner.shows(f"Waiting for the outpost, last seen {shown}.")
    away = {"state": "away", "away_since": f"{seen:%Y-%m-%dT%H:%M:%SZ}"}
    stage.wait_for("the list", lambda: inner.listed().items() >= away.items())
    inner.notes("Waiting for the outpost, last seen 12:03 UTC.")
    del inner.tunnels.seen["inner"]  # another replica, which has not seen it
    inner.notes("Waiting for the outpost, last seen 12:03 UTC.")
    inner.outpost.answers["unsent"] = (502, "the outpost has not answered")
    for name, words in {
        "unsent": "inner cannot be reached at the moment.", "lost": "inner is not connected to this hub.",
    }.items():  # fmt: skip
        assert f"Spawn failed: {words} Try again later" in message(inner.hub.fail(name, {"system": "inner"}))
    inner.come()
    inner.notes("Available.")
    inner.shows("Available.")


def test_server_is_reached_through_its_service(inner):
    inner.hub.run("lab", {"system": "inner"})
    service = service_of(inner.cluster, "lab")
    assert service["metadata"]["labels"]["outposts.dev/system"] == "inner"
    assert stage.get(service["spec"]["ports"][0]["port"]) == 200
    inner.hub.stop_server("lab")
