"""The form of a real hub whose systems answer in every way, and what it then lets a user start."""

import contextlib
import html
import json
import re
import threading
import time
import urllib.parse

import jupyterhub
import outpost_hub
import pytest
import stage
from controls import Controls
from outpost_hub import form
from outpost_hub.offer import Offer
from test_catalog import CATALOG, EVIL, offer

MANY_BYTES = 1_000_000  # of the page of 30 systems with 20 profiles each

GPU = [
    {"name": "small", "display_name": "Small", "default": True, "limit": 8, "used": 3, "user": {"limit": 1, "used": 0}},
    {"name": "gpu", "display_name": "GPU", "limit": None, "used": 0},
    {"name": "full", "display_name": "Full", "limit": 2, "used": 2},
]
SECRET = {"name": "secret", "display_name": "Secret", "limit": None, "used": 0, "denied": "Ask Bob."}

CLOSED = {"from": "2026-01-01T00:00:00Z", "until": "2999-01-01T18:00:00Z", "text": "New disks.", "active": True}


def by_groups(handler, question):
    """Only members of `gpu` are offered the flavor, and see what is for others; those of `out` see nothing."""
    groups = question["authentication"]["groups"] if question else ()  # a portal asks for nobody
    answer = {**CATALOG, "flavors": [*GPU, SECRET], "maintenance": None}
    if "gpu" not in groups:
        answer.update(flavors=[f for f in GPU if f["name"] != "gpu"], profiles=[])
    if "out" in groups:
        answer = {"version": 1, "outpost": "x", "denied": "", "flavors": []}
    handler.answer(200, answer)


def raw(body, length=None):
    """An answer of these bytes, of which it says that there are `length`."""

    def answer(handler, question):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True

    return answer


def endless(handler, question):
    """100 MB, and it does not say so before."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.sent = 0
    with contextlib.suppress(OSError):
        for _ in range(100):
            handler.wfile.write(b" " * 1_000_000)
            handler.server.sent = handler.sent = handler.sent + 1_000_000
    handler.close_connection = True


def refusal(sentence, code=419):
    """The answer of an outpost that refuses a start."""
    kind = "Exception" if code == 419 else "Unavailable"
    return code, {"module": "", "class": kind, "traceback": "", "args": [sentence], "kwargs": {}}


def join(hub, group, user):
    path = f"/hub/api/groups/{urllib.parse.quote(group, safe='')}"
    hub.call("POST", path)
    assert hub.call("POST", f"{path}/users", {"users": [user]}).code == 200


def plain(text):
    """Returns the text of a page with the apostrophes that are written into it in several ways."""
    return text.replace("&#x27;", "'").replace("&#39;", "'")


class Rooms:
    """A hub whose systems have outposts of every kind."""

    def __init__(self, folder):
        self.lab, self.cluster = stage.Lab(), stage.Cluster()
        self.never = threading.Event()

        def silent(handler, question):
            self.never.wait(60)

        catalogs = {
            "good": by_groups, "python": None, "listed": None, "silent": silent, "endless": endless,
            "half": raw(b'{"version": 1', 5000),
            "other": raw(b'{"version": 1, "flavors": {"small": {}}}'), "login": raw(b"<html>Sign in</html>"),
            "broken": lambda handler, question: handler.answer(500, {}),
            "closed": {**CATALOG, "maintenance": CLOSED},
        }  # fmt: skip
        self.outposts = {}
        (folder / "auth").mkdir()
        systems = {}
        for name, catalog in catalogs.items():
            self.outposts[name] = outpost = stage.Outpost(f"http://127.0.0.1:{self.lab.port}")
            outpost.catalog = catalog
            systems[name] = {"url": outpost.url, "hubApiUrl": "http://127.0.0.1:9/hub/api"}
        systems["python"]["sendAuthState"] = ["access_token"]
        systems["away"] = {**systems["good"], "url": f"http://127.0.0.1:{stage.free_port()}/services"}
        systems["python"]["flavors"] = systems["silent"]["flavors"] = [{"name": "small"}, {"name": "large"}]
        systems["listed"]["profiles"] = [
            {"slug": "lab", "display_name": "<Lab>", "description": EVIL, "profile_options": {"image": {
                "choices": {"full": {"display_name": "Full"}, "minimal": {"default": True}},
                "unlisted_choice": {"enabled": True, "validation_message": "<b>An</b> image."},
            }}},
            {"slug": "gpu"},
        ]  # fmt: skip
        systems["limited"] = {**systems["good"], "flavors": [{"name": "full"}, {"name": "small"}, {"name": "gpu"}]}
        for name in systems:
            (folder / "auth" / name).write_text("jupyterhub:secret")
        self.hub = stage.Hub(folder, {"authDir": str(folder / "auth"), "systems": systems}, self.cluster, flags=())
        self.good = self.outposts["good"]
        self.good.refused = 0  # starts

        def small_only(handler, body):
            """As an outpost that judges by what it offers."""
            if body["user_options"].get("flavor") == "small":
                return handler.answer(200, {"service": self.good.service})
            self.good.refused += 1
            return handler.answer(*refusal(f"{body['name']} - Start with flavor ... not allowed."))

        self.good.answers = {"no": small_only, "unasked": small_only}
        for user in ("greta", "paul", "olga"):
            self.hub.call("POST", f"/hub/api/users/{user}")
        for group, user in (("gpu", "greta"), ("<b>staff</b>", "greta"), ("out", "olga")):
            join(self.hub, group, user)

    def form(self, user, server="lab"):
        """Returns the form by system: the HTML of its card."""
        browser = self.hub.browser()
        assert browser.log_in(user).code == 200
        page = browser.get(f"/hub/spawn/{user}/{server}")
        assert page.code == 200, page.text
        return browser, page, cards(page)

    def close(self):
        self.never.set()
        for part in (self.hub, *self.outposts.values(), self.cluster, self.lab):
            part.close()


def cards(page):
    form, _, _ = page.text.partition("</fieldset></div><script>")
    found = form.split('<div class="outpost-system">')[1:]
    return {re.search(r'id="system-([^"]+)"', card)[1]: card for card in found}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    r = Rooms(tmp_path_factory.mktemp("rooms"))
    yield r
    r.close()


def test_bad_answers(rooms):
    """Each is named in words, what was typed by hand is offered, and the log says why."""
    _, _, found = rooms.form("paul")
    for name, words in {
        "silent": "silent has not answered in time.", "endless": "This hub cannot read what endless offers.",
        "half": "Not reachable since", "other": "This hub cannot read what other offers.",
        "login": "This hub cannot read what login offers.",
        "broken": "broken does not say what it offers at the moment.",
        "away": "Not reachable since",
    }.items():  # fmt: skip
        assert words in found[name], found[name]
        assert f'value="{name}" required ' in found[name] and "disabled" not in found[name]
    assert '<option value="large">large</option>' in found["silent"]
    log = rooms.hub.log.read_text()
    assert "other - no catalog: flavors has a wrong type" in log
    assert "endless - no catalog: it has more than 262144 bytes" in log
    assert "half - no catalog: HTTP 599" in log
    assert rooms.outposts["endless"].http.sent < 20_000_000, "the rest is not read"


def test_form_is_there_in_time(rooms):
    took = []
    while not took or min(took) >= 1.2 and len(took) < 60:  # others may want the processors
        user = f"hasty-{len(took)}"  # a request that is under way already would be waited for a shorter time
        rooms.hub.call("POST", f"/hub/api/users/{user}")
        browser = rooms.hub.browser()
        browser.log_in(user)
        begun = time.monotonic()
        assert browser.get(f"/hub/spawn/{user}/lab").code == 200
        took.append(time.monotonic() - begun)
    print(f"\nthe form of {len(rooms.hub.settings['systems'])} systems, one of which is silent: {took} s")
    assert min(took) < 1.2


def test_outpost_without_catalog_is_as_before(rooms):
    asked = len(rooms.outposts["python"].questions)
    _, _, found = rooms.form("paul")
    assert '<option value="small" selected>small</option>' in found["python"] and "<p>" not in found["python"]
    assert len(rooms.outposts["python"].questions) <= max(asked, 1), "it is not asked each time"


def test_groups(rooms):
    """Users of other groups see other flavors and profiles of the same system, or not the system at all."""
    _, _, of_greta = rooms.form("greta")
    _, _, of_paul = rooms.form("paul")
    _, _, of_olga = rooms.form("olga")
    assert 'value="gpu">GPU</option>' in of_greta["good"] and "Matlab" in of_greta["good"]
    assert "GPU" not in of_paul["good"] and "Matlab" not in of_paul["good"]
    assert "good" not in of_olga and "python" in of_olga
    question = next(q for q in rooms.good.questions if q["authentication"]["name"] == "greta")
    user_id = rooms.hub.call("GET", "/hub/api/users/greta").json()
    assert question["authentication"] == {"name": "greta", "groups": ["<b>staff</b>", "gpu"], "admin": False}
    assert isinstance(question["user_id"], int), user_id


def test_numbers(rooms):
    _, _, found = rooms.form("greta")
    assert "Small: 3 of 8 in use, you 0 of 1</option>" in found["good"]
    assert 'value="full" disabled>Full: 2 of 2 in use, full</option>' in found["good"]
    assert "<p>Available.</p>" in found["good"] and "Home: 10 GB, kept." in found["good"]


def test_main(rooms):
    """JupyterHub's pages are there as they are, in the landmark that they lack."""
    browser, page, _ = rooms.form("greta")
    for title, text in (("Server Options", page.text), ("Named Servers", browser.get("/hub/home").text)):
        before, main, after = re.split("</?main>", text)
        assert title in main and title not in before + after


def test_start_by_form(rooms):
    """Profile, option and flavor reach the outpost, with who the user is; next time, they are selected."""
    browser, page, _ = rooms.form("greta")
    asked = len(rooms.good.questions)
    answer = browser.post(
        browser.form_action(page),
        {
            "system": "good", "flavor-good": "gpu", "profile-good": "python", "option:good:python:image": "full",
            "option:good:python:image--unlisted-choice": "", "flavor-python": "large",
        },
    )  # fmt: skip
    assert answer.code == 200, answer.text
    stage.wait_for("server", lambda: (rooms.hub.server("lab", "greta") or {}).get("ready"))
    want = {"system": "good", "flavor": "gpu", "profile": "python", "image": "full"}
    assert rooms.hub.server("lab", "greta")["user_options"] == want
    assert len(rooms.good.questions) == asked + 1, "the outpost is asked once"
    body = rooms.good.of("POST", "lab")[-1]
    assert {key: value for key, value in body["user_options"].items() if key != "start_id"} == want
    assert body["authentication"] == {"name": "greta", "groups": ["<b>staff</b>", "gpu"], "admin": False}
    _, _, found = rooms.form("greta", "another")
    for part in ('value="good" required checked', 'value="gpu" selected', 'value="python" checked'):
        assert part in found["good"], part
    rooms.hub.stop_server("lab", "greta")


def test_start_of_a_profile_by_hand(rooms):
    """A Python outpost does not say its profiles: those of the data are shown, and what is chosen is sent.

    It is sent by the names by which KubeSpawner's own form gives it to the client.
    """
    browser, page, found = rooms.form("paul", "by-hand")
    for part in (
        'value="lab" checked', "&lt;Lab&gt;", html.escape(EVIL), 'value="minimal" selected', 'value="gpu">',
        'name="option:listed:lab:image--unlisted-choice"', "&lt;b&gt;An&lt;/b&gt; image.",
    ):  # fmt: skip
        assert part in found["listed"], part
    browser.post(
        browser.form_action(page),
        {
            "system": "listed", "profile-listed": "lab", "option:listed:lab:image": "minimal",
            "option:listed:lab:image--unlisted-choice": "quay.io/a/b:c",
        },
    )  # fmt: skip
    stage.wait_for("server", lambda: (rooms.hub.server("by-hand", "paul") or {}).get("ready"))
    answer = browser.get("/hub/spawn/paul/by-link?system=listed&profile=lab&image=full")
    assert answer.code == 200, answer.text
    stage.wait_for("server", lambda: (rooms.hub.server("by-link", "paul") or {}).get("ready"))
    rooms.hub.run("by-api", {"system": "listed", "profile": "gpu"}, "paul")
    rooms.hub.run("by-default", {"system": "listed"}, "paul")
    for server, want in (
        ("by-hand", {"profile": "lab", "image--unlisted-choice": "quay.io/a/b:c"}),
        ("by-link", {"profile": "lab", "image": "full"}), ("by-api", {"profile": "gpu"}), ("by-default", {}),
    ):  # fmt: skip
        body = rooms.outposts["listed"].of("POST", server)[-1]
        sent = {k: v for k, v in body["user_options"].items() if k != "start_id"}
        assert sent == {"system": "listed", **want} and "image" not in body["misc"]
        rooms.hub.stop_server(server, "paul")


def test_options_of_profiles_have_fields_of_their_own(settings):
    """A browser sends those of all profiles, chosen or not."""
    settings["systems"]["direct"]["profiles"] = [
        {"slug": "a", "profile_options": {"b:c": {"choices": {"x": {}}}}},
        {"slug": "a:b", "profile_options": {"c": {"choices": {"x": {}, "y": {}}}}},
        {"slug": "a%3Ab", "profile_options": {"c": {"choices": {"z": {}}}}},
    ]
    offered = Offer(outpost_hub.Outposts(settings).systems["direct"])
    names = re.findall(r'<select[^>]* name="(option:[^"]*)"', form.render([offered], {}))
    fields = {"profile-direct": ["a:b"]}
    for name, value in zip(names, "xyz", strict=True):
        fields.setdefault(name, []).append(value)
    assert form.options_from(fields, offered, ()) == {"system": "direct", "profile": "a:b", "c": "y"}


def test_token_leaves_for_nobody_but_who_is_listed(rooms):
    """The client sends it to every system, if auth state has flavors of the user."""
    rooms.form("greta")  # has logged in
    for system, more in (("good", {}), ("python", {"access_token": "t0ken"})):
        rooms.hub.run("token", {"system": system}, "greta")
        body = rooms.outposts[system].of("POST", "token")[-1]
        who = {"name": "greta", "groups": ["<b>staff</b>", "gpu"], "admin": False}
        assert body["authentication"] == {**who, **more}
        rooms.hub.stop_server("token", "greta")
    assert "t0ken" not in json.dumps([q for q in rooms.good.questions]) and "t0ken" not in rooms.hub.log.read_text()


OPTIONS = {"system": "good", "flavor": "small", "profile": "python", "image": "full"}
WITH_PREFIX = jupyterhub.version_info[0] >= 6  # JupyterHub reads `opt-system` in a link


def link(prefix=""):
    return "&".join(f"{prefix}{key}={value}" for key, value in OPTIONS.items())


@pytest.mark.parametrize(
    "path, server",
    [
        (f"/hub/spawn/greta/link?{link()}", "link"),
        (f"/hub/spawn?{link()}", ""),  # of whoever follows it
        (f"/hub/spawn?{link()}&next=%2Fhub%2Fhome", ""),
    ],
)
def test_start_by_link(rooms, path, server):
    started_by(rooms, path, server)


@pytest.mark.parametrize(
    "path, server",
    [
        (f"/hub/spawn/greta/link?{link('opt-')}", "link"),
        (f"/hub/spawn?{link('opt-')}&display_name=Lab&next=%2Fhub%2Fhome", ""),
        (f"/hub/spawn?{link('opt-')}&flavor=large", ""),  # what has no prefix is not for the spawner then
    ],
)
def test_start_by_link_with_prefix(rooms, path, server):
    """JupyterHub 6 takes the prefix away. One that does not finds no system in such a link, and shows the form."""
    if WITH_PREFIX:
        return started_by(rooms, path, server)
    browser = rooms.hub.browser()
    browser.log_in("greta")
    starts = len(rooms.good.requests)
    page = browser.get(path)
    assert page.code == 400 and "Choose one of these systems: " in page.text and "good" in cards(page), page.text
    assert len(rooms.good.requests) == starts


def started_by(rooms, path, server):
    """Follows a link, and holds that it starts a server with OPTIONS."""
    browser = rooms.hub.browser()
    browser.log_in("greta")
    assert browser.get(path).code == 200
    stage.wait_for("server", lambda: (rooms.hub.server(server, "greta") or {}).get("ready"))
    assert rooms.hub.server(server, "greta")["user_options"] == OPTIONS
    assert browser.get(path).code == 200  # it leads to the server that runs
    rooms.hub.stop_server(server, "greta")


def test_user_with_another_name(rooms):
    """A server that runs stays theirs, and can be stopped. The next start tells the outpost the new name, whose home is
    another one; the number stays."""
    hub, good, options = rooms.hub, rooms.good, {"system": "good", "flavor": "small"}
    hub.run("renamed", options, "anna")
    (before,) = good.of("POST", "renamed")
    answer = hub.call("PATCH", "/hub/api/users/anna", {"name": "anne"})
    assert answer.code == 200, answer.text
    assert hub.server("renamed", "anna") is None and hub.server("renamed", "anne")["ready"]
    hub.stop_server("renamed", "anne")
    assert good.of("DELETE", "renamed") == [f"/services/renamed/{before['user_options']['start_id']}"]
    hub.run("renamed", options, "anne")
    _, after = good.of("POST", "renamed")
    assert (before["authentication"]["name"], after["authentication"]["name"]) == ("anna", "anne")
    assert (before["env"]["JUPYTERHUB_USER"], after["env"]["JUPYTERHUB_USER"]) == ("anna", "anne")
    assert before["env"]["JUPYTERHUB_USER_ID"] == after["env"]["JUPYTERHUB_USER_ID"]
    hub.stop_server("renamed", "anne")


def test_own_image(rooms):
    rooms.hub.run("own", {"system": "good", "profile": "r", "image": "quay.io/jupyter/x:1"}, "greta")
    assert rooms.good.of("POST", "own")[-1]["misc"]["image"] == "quay.io/jupyter/x:1"
    rooms.hub.stop_server("own", "greta")
    rooms.hub.run("own", {"system": "good", "profile": "r"}, "greta")
    assert "image" not in rooms.good.of("POST", "own")[-1]["misc"]
    rooms.hub.stop_server("own", "greta")


def test_login_to_a_registry_is_sent_and_stored_nowhere(rooms):
    """By API, by form, and if the start is refused. A link cannot have one."""
    options = {"system": "good", "flavor": "small", "profile": "r", "image": "quay.io/jupyter/x:1"}
    login = {"registry_username": "ann", "registry_password": "plan7ed"}
    want = {"username": "ann", "password": "plan7ed"}

    def ended():
        body = rooms.good.of("POST", "private")[-1]
        assert rooms.hub.server("private", "greta")["user_options"] == options
        rooms.hub.stop_server("private", "greta")
        return body

    rooms.hub.run("private", {**options, **login}, "greta")
    body = ended()
    assert body.pop("registry") == want and "plan7ed" not in json.dumps(body)
    rooms.hub.run("private", options, "greta")
    assert "registry" not in ended(), "it is not kept for the next start"

    browser, page, found = rooms.form("greta", "private")
    assert 'type="password"' in found["good"] and "plan7ed" not in page.text
    fields = {f"{key}-good": value for key, value in {**options, **login}.items() if key != "system"}
    assert browser.post(browser.form_action(page), {"system": "good", **fields}).code == 200
    stage.wait_for("server", lambda: (rooms.hub.server("private", "greta") or {}).get("ready"))
    assert ended()["registry"] == want
    rooms.hub.run("private", options, "greta")
    assert "registry" not in ended()

    shown = json.dumps(rooms.hub.fail("no", {**options, **login, "image": "quay.io/other"}, "greta"))
    assert "good does not allow this image." in shown and "plan7ed" not in shown
    server = "/hub/api/users/greta/servers"
    for method, path in (("PATCH", f"{server}/private"), ("PUT", f"{server}/later")):  # JupyterHub 5 has neither
        answer = rooms.hub.call(method, path, {"user_options": {**options, **login}})
        assert answer.code in (400, 405) and "plan7ed" not in answer.text
    page = browser.get("/hub/spawn/greta/private?system=good&opt-registry_password=other")
    assert "A login to a registry cannot be in a link" in page.text
    kept = [file for file in rooms.hub.folder.rglob("*") if file.is_file()]
    assert any(file.suffix == ".sqlite" for file in kept), kept
    assert not [file for file in kept if b"plan7ed" in file.read_bytes()]


@pytest.mark.parametrize(
    "system, user, options, words",
    [
        ("good", "paul", {"flavor": "gpu"}, "good has no flavor 'gpu'. Available flavors: small, full."),
        ("good", "paul", {"flavor": "full"}, "Flavor full is full on good."),
        ("good", "greta", {"flavor": "secret"}, "Ask Bob."),
        ("good", "paul", {"profile": "python"}, "Unknown option 'profile'."),
        ("good", "greta", {"profile": "gone"}, "good has no profile 'gone'."),
        ("good", "greta", {"profile": "matlab"}, "For licensed users."),
        ("good", "greta", {"profile": "python", "image": "none"}, "Option image has no choice 'none'."),
        ("good", "greta", {"profile": "r", "image": "evil.io/x"}, "good does not allow this image."),
        ("good", "olga", {}, "You may not start servers on good."),
        ("listed", "paul", {"profile": "gone"}, "listed has no profile 'gone'. Available profiles: lab, gpu."),
        ("listed", "paul", {"profile": "lab", "image": "no"}, "Available choices: full, minimal."),
        ("limited", "paul", {"flavor": "gpu"}, "limited has no flavor 'gpu'. Available flavors: full, small."),
        ("limited", "paul", {"flavor": "huge"}, "limited has no flavor 'huge'. Available flavors: full, small."),
        ("limited", "olga", {"flavor": "huge"}, "You may not start servers on limited."),
        ("closed", "paul", {}, "closed is in maintenance until 2999-01-01 18:00 UTC: New disks."),
        ("closed", "greta", {"profile": "gone"}, "closed is in maintenance until 2999-01-01 18:00 UTC: New disks."),
    ],
)
def test_refused_alike(rooms, system, user, options, words):
    """The same by API, by link and by form."""
    hub = rooms.hub
    starts, refused = len(rooms.good.requests), rooms.good.refused
    shown = " ".join(event.get("message", "") for event in hub.fail("no", {"system": system, **options}, user))
    assert words in shown
    assert hub.server("no", user)["user_options"] == {"system": system}, "what is refused is not shown"
    if set(options) == {"flavor"} and options["flavor"] != "huge":  # the outpost has refused it, before it was asked
        assert rooms.good.refused > refused
        starts = len(rooms.good.requests)
    browser = hub.browser()
    browser.log_in(user)
    query = "&".join(f"{key}={value}" for key, value in {"system": system, **options}.items())
    page = browser.get(f"/hub/spawn/{user}/no?{query}")
    assert words in plain(page.text), page.text
    page = browser.get(f"/hub/spawn/{user}/no")
    fields = {
        "system": system,
        **{(f"option:{system}:{options['profile']}:image" if key == "image" and options["profile"] != "r"
            else f"{key}-{system}"): value for key, value in options.items()},
    }  # fmt: skip
    answer = browser.post(browser.form_action(page), fields)
    assert words in plain(answer.text), answer.text
    assert len(rooms.good.requests) == starts, "the outpost has not been asked for a server"
    assert not [path for path in rooms.good.running if "/no/" in path]


@pytest.mark.parametrize("way", ["api", "link", "form"])
def test_own_value_that_its_pattern_refuses(rooms, way):
    """The outpost has the pattern. Its words are read where the start has failed, whichever way that was begun."""
    options = {"system": "good", "flavor": "small", "profile": "python", "image--unlisted-choice": "evil.io/x"}
    hub, server = rooms.hub, f"own-{way}"
    rooms.good.answers[server] = refusal(f"image: {EVIL}")
    browser = hub.browser()
    browser.log_in("greta")
    if way == "api":
        hub.begin(server, options, "greta")
    elif way == "link":
        browser.get(f"/hub/spawn/greta/{server}?{urllib.parse.urlencode(options)}")
    else:
        own = "option:good:python:image--unlisted-choice"
        fields = {"system": "good", "flavor-good": "small", "profile-good": "python", own: "evil.io/x"}
        browser.submit(browser.get(f"/hub/spawn/greta/{server}"), fields)
    stage.wait_for("start", lambda: rooms.good.of("POST", server))
    stage.wait_for("its end", lambda: not hub.server(server, "greta")["pending"])
    (body,) = rooms.good.of("POST", server)
    assert {key: value for key, value in body["user_options"].items() if key != "start_id"} == options
    page = browser.get(f"/hub/spawn-pending/greta/{server}")
    assert plain(html.escape(f"good: Exception: image: {EVIL}")) in plain(page.text), page.text


def test_start_that_needs_no_question(rooms):
    """One that names nothing but system and flavor: the outpost decides."""
    asked = len(rooms.good.questions)
    server = rooms.hub.run("unasked", {"system": "good", "flavor": "small"}, "paul")
    assert server["user_options"] == {"system": "good", "flavor": "small"}
    assert len(rooms.good.questions) == asked
    rooms.hub.stop_server("unasked", "paul")


def test_default_flavor_that_is_full(rooms):
    """A start that names none has the first one that is free, as on the form, whoever finds out that one is full."""
    asked, refused = len(rooms.good.questions), rooms.good.refused
    server = rooms.hub.run("unasked", {"system": "limited"}, "paul")
    assert server["user_options"] == {"system": "limited", "flavor": "small"}
    sent = [body["user_options"] for body in rooms.good.of("POST", "unasked")[-2:]]
    assert [options.pop("flavor") for options in sent] == ["full", "small"] and sent[0] == sent[1], "one start ID"
    assert (len(rooms.good.questions), rooms.good.refused) == (asked + 1, refused + 1)
    rooms.hub.stop_server("unasked", "paul")


def test_default_flavor_of_an_outpost_that_answers_late(rooms, monkeypatch):
    """A start that names none is sent without, and once more when the outpost has said which there are."""
    refused = threading.Event()

    def late(handler, question):
        refused.wait(60)
        by_groups(handler, question)

    def needs_flavor(handler, body):
        if body["user_options"].get("flavor") == "small":
            return handler.answer(200, {"service": rooms.good.service})
        handler.answer(*refusal(f"{body['name']} - Start with flavor None not allowed."))
        return refused.set()

    monkeypatch.setattr(rooms.good, "catalog", late)
    monkeypatch.setitem(rooms.good.answers, "late", needs_flavor)
    rooms.hub.call("POST", "/hub/api/users/nina")  # of whom nothing is known from before
    server = rooms.hub.run("late", {"system": "good"}, "nina")
    assert server["user_options"] == {"system": "good", "flavor": "small"}
    sent = [body["user_options"].get("flavor") for body in rooms.good.of("POST", "late")]
    assert sent == [None, "small"]
    rooms.hub.stop_server("late", "nina")


def test_default_flavor_of_an_outpost_that_comes_back(rooms, monkeypatch):
    """It is not there at first, and says its flavors only after it has refused the start that was sent again."""
    refused = threading.Event()

    def late(handler, question):
        if refused.is_set():
            return by_groups(handler, question)
        return handler.answer(500, {})

    def needs_flavor(handler, body):
        if body["user_options"].get("flavor") == "small":
            return handler.answer(200, {"service": rooms.good.service})
        refused.set()
        return handler.answer(*refusal(f"{body['name']} - Start with flavor None not allowed."))

    monkeypatch.setattr(rooms.good, "catalog", late)
    monkeypatch.setitem(rooms.good.first, "back", [refusal("It starts.", 503)])
    monkeypatch.setitem(rooms.good.answers, "back", needs_flavor)
    rooms.hub.call("POST", "/hub/api/users/nils")  # of whom nothing is known from before
    server = rooms.hub.run("back", {"system": "good"}, "nils")
    assert server["user_options"] == {"system": "good", "flavor": "small"}
    sent = [body["user_options"].get("flavor") for body in rooms.good.of("POST", "back")]
    assert sent == [None, None, "small"]
    rooms.hub.stop_server("back", "nils")


def test_other_failures_of_a_start_are_told_as_they_are(rooms):
    """An image that cannot be pulled is no refusal, although the flavor is full by then."""
    asked = len(rooms.good.questions)
    code, failed = refusal("The image cannot be pulled.")
    rooms.good.answers["bad"] = code, {**failed, "class": "Failed"}
    shown = json.dumps(rooms.hub.fail("bad", {"system": "good", "flavor": "full"}, "paul"))
    assert "good: Failed: The image cannot be pulled." in shown and len(rooms.good.questions) == asked


def test_refusal_that_the_catalog_does_not_know(rooms):
    """Its words are those of the outpost."""
    rooms.good.answers["limit"] = refusal("User has reached the maximum limit of services (5)")
    shown = json.dumps(rooms.hub.fail("limit", {"system": "good", "flavor": "small"}, "paul"))
    assert "good: Exception: User has reached the maximum limit of services (5)" in shown
    assert len(rooms.good.of("POST", "limit")) == 1


def test_maintenance(rooms):
    text = "New disks <b>soon</b>."
    plan = {"from": "2026-01-01T00:00:00Z", "until": "2999-01-01T18:00:00Z", "text": text, "active": True}
    before = rooms.good.catalog
    rooms.good.catalog = {**CATALOG, "maintenance": plan}
    try:
        _, _, found = rooms.form("paul")
        assert 'value="good" required disabled' in found["good"]
        assert "New disks &lt;b&gt;soon&lt;/b&gt;." in found["good"]
        assert '<time datetime="2999-01-01T18:00:00Z">2999-01-01 18:00 UTC</time>' in found["good"]
        rooms.good.answers["late"] = refusal("This system is in maintenance.", 503)
        said = len(rooms.hub.log.read_text())
        for system, name, options in (
            ("good", "no", {}), ("good", "late", {"flavor": "small"}), ("limited", "no", {"flavor": "huge"}),
        ):  # fmt: skip
            shown = rooms.hub.fail(name, {"system": system, **options}, "paul")
            assert f"{system} is in maintenance until 2999-01-01 18:00 UTC" in json.dumps(shown)
            assert "did not accept the start; retrying" not in rooms.hub.log.read_text()[said:], "it is not tried again"
    finally:
        rooms.good.catalog = before


def test_last_answer(rooms):
    """While an outpost does not answer, what it has offered last is shown, with its age; it decides about a start."""
    rooms.form("greta")
    before = rooms.good.catalog
    rooms.good.catalog = rooms.outposts["broken"].catalog
    try:
        _, _, found = rooms.form("greta")
        assert "good does not say what it offers at the moment." in found["good"]
        assert re.search(r"What it offered at <time[^>]*>\d\d:\d\d UTC</time> is shown.", found["good"])
        assert "Small: 3 of 8 in use, you 0 of 1</option>" in found["good"]
        rooms.hub.run("trust", {"system": "good", "flavor": "full"}, "greta")
        rooms.hub.stop_server("trust", "greta")
    finally:
        rooms.good.catalog = before


def test_profile_that_goes_while_the_form_is_open(rooms):
    browser, page, _ = rooms.form("greta")
    before = rooms.good.catalog
    rooms.good.catalog = {**CATALOG, "profiles": [p for p in CATALOG["profiles"] if p["slug"] != "python"]}
    try:
        answer = browser.post(browser.form_action(page), {"system": "good", "profile-good": "python"})
        assert answer.code == 400 and "good has no profile" in answer.text
        assert 'name="system"' in answer.text, "with the form again"
    finally:
        rooms.good.catalog = before


@pytest.mark.parametrize(
    "changed, code, words",
    [
        ({"flavors": GPU[1:]}, 400, "good has no flavor 'small'. Available flavors: gpu, full."),
        (
            {"flavors": [{**GPU[0], "used": 8}, *GPU[1:]]},
            429,
            "Flavor small is full on good. All of its places are in use.",
        ),
        ({"flavors": [{**GPU[0], "denied": "Ask Bob."}, *GPU[1:]]}, 403, "Ask Bob."),
        ({"flavors": []}, 403, "good offers you no flavor."),
    ],
)
def test_flavor_that_goes_while_the_form_is_open(rooms, changed, code, words):
    """Nothing is started in its place: the form is shown again, with what there is now."""
    before = rooms.good.catalog
    rooms.good.catalog = {**CATALOG, "flavors": GPU, "maintenance": None}
    try:
        browser, page, found = rooms.form("greta")
        assert '<option value="small"' in found["good"]
        starts = len(rooms.good.requests)
        rooms.good.catalog = {**rooms.good.catalog, **changed}
        answer = browser.submit(page, {"system": "good", "flavor-good": "small", "profile-good": "r"})
        assert answer.code == code and words in plain(answer.text), answer.text
        assert "good" in cards(answer), "with the form again"
        assert len(rooms.good.requests) == starts
    finally:
        rooms.good.catalog = before


def test_many_groups(rooms):
    names = [f"urn:geant:helmholtz.de:group:HIFIS:{'x' * 40}:{n}" for n in range(300)]
    for name in names:
        join(rooms.hub, name, "paul")
    rooms.form("paul")
    assert rooms.good.questions[-1]["authentication"]["groups"] == sorted(names)


# Many systems


def course(i):
    """A profile with all that one can have."""
    image = {
        "display_name": "Image",
        "choices": {name: {"display_name": name.title(), "default": name == "minimal"} for name in ("minimal", "full")},
        "unlisted_choice": {"display_name": "Another image", "validation_regex": "^q", "validation_message": "Of quay."},
    }
    return {
        "slug": f"course-{i}", "display_name": f"Course {i}", "description": f"All that course {i} needs. " * 4,
        "default": i == 0, "denied": None, "profile_options": {"image": image},
    }  # fmt: skip


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A hub of 30 systems, each with 20 profiles; and the outpost that all of them are."""
    folder = tmp_path_factory.mktemp("crowd")
    lab, cluster = stage.Lab(), stage.Cluster()
    outpost = stage.Outpost(f"http://127.0.0.1:{lab.port}")
    outpost.catalog = {**CATALOG, "profiles": [course(i) for i in range(20)]}
    names = [f"system-{i:02}" for i in range(30)]
    (folder / "auth").mkdir()
    for name in names:
        (folder / "auth" / name).write_text("jupyterhub:secret")
    systems = {name: {"url": outpost.url, "hubApiUrl": "http://127.0.0.1:9/hub/api"} for name in names}
    hub = stage.Hub(folder, {"authDir": str(folder / "auth"), "systems": systems}, cluster, flags=())
    hub.call("POST", "/hub/api/users/greta")
    yield hub, outpost
    for part in (hub, outpost, cluster, lab):
        part.close()


def test_many_systems(crowd):
    """All are on one page of a bounded size, with a search that a script shows, and each field has a label."""
    hub, _ = crowd
    browser = hub.browser()
    browser.log_in("greta")
    begun = time.monotonic()
    page = browser.get("/hub/spawn/greta/lab")
    took, size = time.monotonic() - begun, len(page.text.encode())
    print(f"\nthe form of 30 systems with 20 profiles each: {took:.2f} s, {size} bytes")
    found = cards(page)
    assert len(found) == 30 and {card.count('class="outpost-profile"') for card in found.values()} == {20}
    assert size < MANY_BYTES
    before, _, _ = page.text.partition('<fieldset class="form-group"><legend>System</legend>')
    assert (
        '<p hidden><label for="outposts-search">Search systems</label><input type="search" id="outposts-search"'
        in before
    ), "it comes first, and nobody without a script sees what would do nothing"
    assert '<span id="outposts-found" role="status"></span>' in before, "what it finds is read out"
    systems = "".join(found.values())
    ids = re.findall(r' id="([^"]+)"', systems)
    assert len(ids) == len(set(ids))
    fields = re.findall(r"<(?:input|select)[^>]* id=\"([^\"]+)\"", systems)
    assert set(fields) <= set(re.findall(r'<label for="([^"]+)"', systems)) and len(fields) > 30 * 20


def test_start_by_a_form_of_many_systems(crowd):
    """Without a script a browser sends the fields of all systems. Tornado takes 100 of them unless it is told."""
    hub, outpost = crowd
    browser = hub.browser()
    browser.log_in("greta")
    page = browser.get("/hub/spawn/greta/many")
    assert len(Controls(page.text).fields) > 1000
    options = {"system": "system-29", "flavor": "large", "profile": "course-19", "image": "full"}
    fields = {
        "system": "system-29", "flavor-system-29": "large", "profile-system-29": "course-19",
        "option:system-29:course-19:image": "full",
    }  # fmt: skip
    answer = browser.submit(page, fields)
    assert answer.code == 200, answer.text
    stage.wait_for("server", lambda: (hub.server("many", "greta") or {}).get("ready"))
    assert hub.server("many", "greta")["user_options"] == options
    (body,) = outpost.of("POST", "many")
    assert {key: value for key, value in body["user_options"].items() if key != "start_id"} == options
    hub.stop_server("many", "greta")


def test_search_is_there_from_many_systems_on(settings):
    offers = [offer(settings) for _ in range(form.MANY + 1)]
    assert 'type="search"' not in form.render(offers[1:], {}) and 'type="search"' in form.render(offers, {})


# The home page and the API


def test_home(rooms):
    hub = rooms.hub
    hub.run("here", {"system": "good", "profile": "python", "flavor": "small"}, "greta")
    try:
        browser = hub.browser()
        browser.log_in("greta")
        page = browser.get("/hub/home").text
        assert "<td>here</td><td>good</td><td>python</td><td>small</td>" in page
        assert "Named Servers" in page and page.count("<h1") == 1, "JupyterHub's own page is there too"
        assert re.search("<li><strong>away</strong>: Not reachable since <time", page)
        assert "<strong>good</strong>" not in page, "there is nothing to say of it"
    finally:
        hub.stop_server("here", "greta")


def test_portal(rooms):
    answer = rooms.hub.call("GET", "/hub/api/outposts")
    assert answer.code == 200, answer.text
    shown = {system["name"]: system for system in answer.json()}
    assert set(shown) == set(rooms.hub.settings["systems"])
    good = shown["good"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", good.pop("as_of"))
    assert good == {
        "name": "good", "display_name": "good", "description": "", "state": "available", "notes": ["Available."],
        "version": "0.1.0", "away_since": None, "maintenance": None, "used": 0, "limit": None,
        "flavors": [
            {"name": "small", "display_name": "Small", "description": "", "used": 3, "limit": 8},
            {"name": "full", "display_name": "Full", "description": "", "used": 2, "limit": 2},
        ],
    }  # fmt: skip
    states = {name: system["state"] for name, system in shown.items()}
    available = dict.fromkeys(("good", "limited"), "available")
    unknown = dict.fromkeys(("python", "listed"), "unknown")
    assert states == {**dict.fromkeys(states, "away"), **available, **unknown, "closed": "maintenance"}
    assert shown["away"]["away_since"] and shown["silent"]["flavors"][0] == {
        "name": "small", "display_name": "small", "description": "", "used": None, "limit": None,
    }  # fmt: skip


def test_portal_needs_its_scope(rooms):
    hub = rooms.hub
    assert hub.call("GET", "/hub/api/outposts", token=None).code == 403
    token = hub.call("POST", "/hub/api/users/greta/tokens", {}).json()["token"]
    assert hub.call("GET", "/hub/api/outposts", token=token).code == 403
