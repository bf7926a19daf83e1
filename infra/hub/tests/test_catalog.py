"""What an outpost says of itself: which answers are refused, and what a user is offered for those that are not."""

import asyncio
import copy
import json
import re
from types import SimpleNamespace

import outpost_hub
import pytest
from jupyterhub import orm
from outpost_hub import form
from outpost_hub.catalog import Choice, Option, Profile, WrongShape, parse, parse_maintenance
from outpost_hub.catalogs import Answer, Kept
from outpost_hub.errors import StartError
from outpost_hub.home import home
from outpost_hub.identity import identity
from outpost_hub.login import Login, keep_out_of_database, login_of, registry_of, taken_out, with_login
from outpost_hub.offer import Offer

EVIL = "<script>alert(1)</script>\"'"

CATALOG = {
    "version": 1,
    "outpost": "0.1.0",
    "denied": None,
    "maintenance": None,
    "home": {"size": "10Gi", "mount": "/home/jovyan", "per": "user"},
    "shared": [{"name": "data", "mount": "/data", "readOnly": True}],
    "user": {"limit": 5, "used": 1},
    "flavors": [
        {
            "name": "small", "display_name": "Small", "description": "1 core", "default": True, "limit": 8, "used": 3,
            "user": {"limit": 2, "used": 1}, "runtime": None,
        },
        {
            "name": "large", "display_name": "large", "description": EVIL, "default": False, "limit": None, "used": 0,
            "user": {"limit": None, "used": 0}, "runtime": 3600,
        },
        {
            "name": "gpu", "display_name": "GPU", "description": "", "default": False, "limit": 1, "used": 1,
            "user": {"limit": None, "used": 0}, "runtime": None,
        },
        {
            "name": "secret", "display_name": "Secret", "description": "", "default": False, "limit": None, "used": 0,
            "user": {"limit": None, "used": 0}, "runtime": None, "denied": "Ask <b>us</b>.",
        },
    ],
    "profiles": [
        {
            "slug": "python", "display_name": "Python", "description": EVIL, "default": False, "denied": None,
            "profile_options": {
                "image": {
                    "display_name": "Image",
                    "choices": {
                        "minimal": {"display_name": "Minimal", "default": True},
                        "full": {"display_name": EVIL, "default": False},
                    },
                    "unlisted_choice": {"display_name": "Other", "validation_regex": "^q", "validation_message": EVIL},
                },
            },
        },
        {
            "slug": "r", "display_name": "R", "description": "", "default": True, "denied": None,
            "profile_options": {},
        },
        {
            "slug": "matlab", "display_name": "Matlab", "description": "", "default": False,
            "denied": "For licensed users.", "profile_options": {},
        },
    ],
    "images": ["quay.io/jupyter/*"],
    "registries": ["quay.io"],
}  # fmt: skip


def said(**changes):
    """Returns the Catalog of an answer with other values; `...` leaves a key out."""
    data = {key: value for key, value in {**copy.deepcopy(CATALOG), **changes}.items() if value is not ...}
    return parse(json.dumps(data).encode())


def offer(settings, by_hand=None, fault="", away=None, **changes):
    system = outpost_hub.Outposts(settings).systems["direct"]
    if by_hand is not None:
        settings["systems"]["direct"]["flavors"] = by_hand
        system = outpost_hub.Outposts(settings).systems["direct"]
    return Offer(system, Answer(said(**changes), 1e9, fault, away))


def at(path, value):
    """Returns the bytes of an answer with another value at a path."""
    data = copy.deepcopy(CATALOG)
    place = data
    *parents, last = path
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"{", json.dumps(CATALOG).encode()[:-1], b"[" * 200_000, b"\xff\xfe{}",
        b'{"version": 1e400}', b"<html>Sign in</html>", b"{}",
        at(["version"], 2), at(["version"], "1"), at(["version"], True),
        at(["flavors"], {}), at(["flavors"], "small"), at(["flavors", 0], "small"), at(["flavors", 0, "name"], ""),
        at(["flavors", 0, "name"], "a" * 257), at(["flavors", 0, "name"], "a\nb"), at(["flavors", 0, "name"], None),
        at(["flavors", 0, "used"], "3"), at(["flavors", 0, "used"], 3.5), at(["flavors", 0, "limit"], True),
        at(["flavors", 0, "user"], [1]), at(["flavors", 0, "default"], 1), at(["flavors", 0, "denied"], {}),
        at(["profiles", 0, "profile_options"], []), at(["profiles", 0, "profile_options", "image"], "minimal"),
        at(["profiles", 0, "profile_options", "image", "choices"], ["minimal"]),
        at(["profiles", 0, "profile_options", "image", "choices", "full"], None),
        at(["profiles", 0, "profile_options", ""], {}), at(["profiles", 0, "slug"], 7), at(["denied"], False),
        at(["home"], "10Gi"), at(["shared"], [[]]), at(["images"], [1]), at(["maintenance"], {"active": True}),
        at(["maintenance"], {"from": "tomorrow"}), at(["maintenance"], {"from": "0001-01-01T00:00:00+14:00"}),
    ],
)  # fmt: skip
def test_other_shapes(body):
    with pytest.raises(WrongShape):
        parse(body)


def test_texts_and_numbers_have_bounds():
    catalog = parse(at(["flavors", 0, "description"], "x" * 100_000))
    assert len(catalog.flavors[0].description) < 5000
    assert parse(at(["flavors", 0, "used"], 10**400)).flavors[0].use.used == 2**31 - 1
    assert parse(at(["flavors", 0, "used"], -5)).flavors[0].use.used == 0
    assert parse(at(["flavors", 0, "description"], "\ud800")).flavors[0].description == "?"


def test_unknown_keys_and_missing_ones():
    """Outposts of other versions have more keys, or fewer: what is missing is not known, and shown as nothing."""
    catalog = parse(b'{"version": 1, "outpost": "9", "more": {"x": 1}}')
    assert (catalog.flavors, catalog.profiles, catalog.images) == (None, None, ())
    assert not catalog.homes_known


def test_answers_are_kept_in_bounded_memory():
    kept = Kept(answers=3, size=100)
    for key in "abcd":
        kept.put(key, b"x" * 20, 1)
    assert [bool(kept.get(key)) for key in "abcd"] == [False, True, True, True]
    kept.get("b")
    kept.put("e", b"x" * 20, 2)
    assert kept.get("b") and not kept.get("c"), "what was not needed for longest goes first"
    kept.put("b", b"y" * 90, 3)
    assert (kept.get("b"), kept.get("d"), kept.get("e")) == ((3, b"y" * 90), None, None)
    kept.put("f", b"z" * 101, 4)
    assert (len(kept.answers), kept.room) == (0, 100), "nor is an answer kept that is larger than all"


# What a user is offered


def refusal(function, *args):
    with pytest.raises(StartError) as e:
        function(*args)
    return e.value.status_code, e.value.jupyterhub_message


def test_flavors(settings):
    offered = offer(settings)
    assert {f.name: (f.display_name, f.use) for f in offered.flavors.values()} == {
        "small": ("Small", "3 of 8 in use, you 1 of 2"), "large": ("large", ""), "gpu": ("GPU", "1 of 1 in use"),
        "secret": ("Secret", ""),
    }  # fmt: skip
    assert offered.start({"system": "direct"})["flavor"] == "small"
    code, text = refusal(offered.start, {"system": "direct", "flavor": "gpu"})
    assert (code, text) == (
        429, "Flavor gpu is full on Direct <b>cluster</b>. All of its places are in use.",
    )  # fmt: skip
    assert refusal(offered.start, {"system": "direct", "flavor": "secret"}) == (403, "Ask <b>us</b>.")
    assert "has no flavor 'huge'" in refusal(offered.start, {"system": "direct", "flavor": "huge"})[1]


def test_flavors_by_hand_are_a_limit(settings):
    """What this hub's operator has left out is not offered; a text by hand comes before the outpost's."""
    by_hand = [{"name": "large", "displayName": "Big"}, {"name": "gone"}, {"name": "small", "description": "tiny"}]
    offered = offer(settings, by_hand)
    assert [(f.name, f.display_name, f.description) for f in offered.flavors.values()] == [
        ("large", "Big", EVIL), ("small", "Small", "tiny"),
    ]  # fmt: skip
    assert refusal(offered.start, {"flavor": "gpu"})[0] == 400
    assert offered.flavor == "large", "the first one by hand"


def test_flavors_by_hand_that_nobody_is_offered(settings, monkeypatch, caplog):
    """They are not shown, so the log names them, once at each change: what one user is not offered, another may be."""
    settings["systems"]["direct"]["flavors"] = [{"name": name} for name in ("small", "gone", "gpu", "odd")]
    catalogs = outpost_hub.Outposts(settings).systems["direct"].catalogs
    caplog.set_level("INFO")

    def ask(user, *names, **changes):
        """Returns what is logged when the outpost offers a user some of its flavors."""
        flavors = [f for f in CATALOG["flavors"] if f["name"] in names]
        answer = json.dumps({**CATALOG, "flavors": flavors, **changes}).encode()

        async def fetch(question, client):
            return answer

        async def question():
            return {}

        monkeypatch.setattr(catalogs, "_fetch", fetch)
        caplog.clear()
        assert asyncio.run(catalogs.of(user, question, lambda: None)).catalog
        return [(r.levelname, r.getMessage().partition("direct - its outpost offers ")[2]) for r in caplog.records]

    def nobody(names):
        none = "these `flavors` of the hub's data to nobody who has asked"
        return [("WARNING", f"{none}, so that they are not shown: {names}")]

    assert ask("maria", "small", "large") == nobody("gone, gpu, odd")
    assert ask("maria", "small") == []
    assert ask("greta", "small", "gpu") == nobody("gone, odd"), "of a group"
    assert ask("maria", "small") == [], "she has never had it"
    assert ask("paul", denied="Ask.") == [], "it says nothing of flavors"
    assert ask("greta", "small") == nobody("gone, gpu (withdrawn), odd"), "it is gone"
    assert ask("maria", flavors=None) == [("INFO", "all `flavors` of the hub's data")], "any name is accepted"
    assert ask("greta", "large") == [], "another has been offered them last"
    assert ask("maria", "large") == nobody("small (withdrawn), gone (withdrawn), gpu (withdrawn), odd (withdrawn)")
    catalogs.system.flavors = {}
    assert ask("maria", "large") == []


def test_profiles_by_hand(settings):
    """Those of an outpost that says its own come before them, none among them too."""
    settings["systems"]["direct"]["profiles"] = [
        {"slug": "lab", "display_name": "Lab", "description": "Python.", "profile_options": {
            "image": {
                "display_name": "Image", "choices": {"3.12 full": {"display_name": "Full"}, "min": {"default": True}},
                "unlisted_choice": {"enabled": True, "validation_message": "An image of ours."},
            },
            "disk": {"unlisted_choice": {"enabled": True, "display_name": "Size"}},
        }},
        {"slug": "gpu", "default": True},
    ]  # fmt: skip
    system = outpost_hub.Outposts(settings).systems["direct"]
    image = Option(
        "image", "Image", (Choice("3.12 full", "Full", False), Choice("min", "min", True)), "Other", "An image of ours."
    )
    lab = Profile("lab", "Lab", "Python.", False, (image, Option("disk", "disk", (), "Size", "")), None)
    want = {"lab": lab, "gpu": Profile("gpu", "gpu", "", True, (), None)}
    for answer in (Answer(), Answer(fault="away"), Answer(said(profiles=None))):
        offered = Offer(system, answer)
        assert offered.profiles == want and offered.knows_profiles
        assert offered.profile({}).name == "gpu"
    names = ("profile", "image", "image--unlisted-choice", "disk", "disk--unlisted-choice")
    assert Offer(system).option_names({"profile": "lab"}) == names
    assert list(Offer(system, Answer(said())).profiles) == ["python", "r", "matlab"]
    assert Offer(system, Answer(said(profiles=[]))).profiles == {}


def test_outpost_without_flavors(settings):
    offered = offer(settings, flavors=None)
    assert offered.start({"system": "direct"}) == {"system": "direct"}
    assert offered.start({"system": "direct", "flavor": "any"})["flavor"] == "any"
    assert "offers you no flavor" in refusal(offer(settings, flavors=[]).start, {"system": "direct"})[1]


def test_full_system(settings):
    flavors = [dict(f, limit=1, used=1) for f in CATALOG["flavors"][:2]]
    offered = offer(settings, flavors=flavors)
    assert offered.refusal.error().jupyterhub_message == "Direct <b>cluster</b> is full."
    assert refusal(offered.start, {"system": "direct"})[0] == 429
    late = offer(settings, fault="away", flavors=flavors)
    assert late.start({"system": "direct"})["flavor"] == "small", "of long ago: the outpost decides"


def test_hub_has_all_it_may(settings):
    """Whatever flavors have left: the limit is of all servers of this hub, and is shown before it is reached."""
    free = offer(settings, hub={"limit": 20, "used": 17})
    assert free.notes() == [("17 of 20 servers in use.",)]
    assert free.start({"system": "direct"})["flavor"] == "small"
    full = offer(settings, hub={"limit": 20, "used": 20})
    words = "Direct <b>cluster</b> is full: this hub has 20 of 20 servers there."
    assert (full.state, full.notes()) == ("full", [(words,)])
    assert refusal(full.start, {"system": "direct", "flavor": "small"}) == (429, words)
    late = offer(settings, fault="away", hub={"limit": 20, "used": 20})
    assert late.start({"system": "direct"})["flavor"] == "small", "of long ago: the outpost decides"
    assert offer(settings, hub={"limit": None, "used": 3}).notes() == [("Available.",)]


def test_user_has_all_they_may(settings):
    flavor = dict(CATALOG["flavors"][0], user={"limit": 1, "used": 1})
    offered = offer(settings, flavors=[flavor])
    assert "You have 1 of 1 servers." in refusal(offered.start, {})[1]


def test_denied(settings):
    offered = offer(settings, denied="Ask for access at <a>.")
    assert refusal(offered.start, {}) == (403, "Ask for access at <a>.")
    assert not offered.hidden and offer(settings, denied="").hidden
    assert refusal(offer(settings, denied="").start, {})[0] == 403


def maintenance(**changes):
    return {"from": "2001-09-09T01:46:40Z", "until": None, "text": "New disks.", "active": True, **changes}


def test_maintenance(settings):
    offered = offer(settings, maintenance=maintenance(until="2999-01-01T18:00:00Z"))
    want = "Direct <b>cluster</b> is in maintenance until 2999-01-01 18:00 UTC: New disks."
    assert refusal(offered.start, {}) == (503, want)
    planned = offer(settings, maintenance=maintenance(active=False))
    assert planned.refusal is None
    assert outpost_hub.offer.plain(planned.notes()[0]) == "Maintenance from 2001-09-09 01:46 UTC: New disks."
    assert offer(settings, fault="away", maintenance=maintenance(active=False)).refusal, "it has begun since"
    ends = offer(settings, maintenance=maintenance(**{"from": "2999-01-01T18:00:00Z"}, active=False, evict=True))
    assert [outpost_hub.offer.plain(note) for note in ends.notes()] == [
        "Maintenance from 2999-01-01 18:00 UTC: New disks.", "Servers are stopped when it begins.",
    ]  # fmt: skip
    over = maintenance(until="2001-09-10T00:00:00Z")
    assert offer(settings, maintenance=over).refusal, "the outpost's clock counts"
    assert offer(settings, fault="away", maintenance=over).refusal is None, "but not that of an old answer"


def test_flavor_that_a_maintenance_ends(settings):
    flavors = [{**CATALOG["flavors"][1], "until": "2999-01-01T18:00:00Z", "description": "1 core"}]
    page = form.render([offer(settings, flavors=flavors)], {})
    assert ">large (1 core): ends at 2999-01-01 18:00 UTC</option>" in page


def test_announcements_hold_for_answers_that_are_not_given_any_more(settings):
    """What the watch has said of a maintenance is newer than the last answer."""
    catalogs = outpost_hub.Outposts(settings).systems["direct"].catalogs
    catalogs.kept.put("maria", json.dumps(CATALOG).encode(), 1e9)
    catalogs.kept.put("nina", at(["denied"], "Ask."), 1e9)
    assert catalogs._last("maria", "away").catalog.maintenance is None
    catalogs.announced(parse_maintenance(maintenance()))
    assert catalogs._last("maria", "away").catalog.maintenance.text == "New disks."
    assert catalogs._last("nina", "away").catalog.maintenance is None
    catalogs.announced(parse_maintenance(None))
    assert catalogs._last("maria", "away").catalog.maintenance is None


@pytest.mark.parametrize(
    "options, want",
    [
        ({"profile": "gone"}, "has no profile 'gone'. Available profiles: python, r, matlab."),
        ({"profile": "matlab"}, "For licensed users."),
        ({"profile": "python", "image": "none"}, "no choice 'none'. Available choices: minimal, full."),
        ({"profile": "r", "image": "evil.io/x"}, "does not allow this image. Allowed images: quay.io/jupyter/*."),
        ({"profile": "r", "image--unlisted-choice": "x"}, "Unknown option 'image--unlisted-choice'."),
        ({"profile": "python", "cpu": "x"}, "Unknown option 'cpu'."),
        ({"profile": ["python"]}, "Option profile must be a string"),
    ],
)
def test_profiles_refused(settings, options, want):
    outposts = outpost_hub.Outposts(settings)
    assert want in refusal(outposts.checked, {"system": "direct", **options}, offer(settings))[1]


@pytest.mark.parametrize(
    "options, image",
    [
        ({"profile": "python", "image": "full"}, ""),
        ({"profile": "python", "image--unlisted-choice": "quay.io/x"}, ""),
        ({"image": "quay.io/jupyter/a:1"}, "quay.io/jupyter/a:1"),
        ({}, ""),
    ],
)
def test_profiles(settings, options, image):
    outposts, offered = outpost_hub.Outposts(settings), offer(settings)
    options = {"system": "direct", **options}
    assert outposts.checked(options, offered) == {**options, "flavor": "small"}
    assert offered.own_image(options) == image


# Logins to registries


@pytest.mark.parametrize(
    "image, want",
    {
        "alpine": "docker.io", "jupyter/lab:1": "docker.io", "index.docker.io/a/b": "docker.io", "quay.io/a": "quay.io",
        "localhost/a": "localhost", "registry:5000/a": "registry:5000", "r.example.org:5000/a/b": "r.example.org:5000",
    }.items(),
)  # fmt: skip
def test_registry_of(image, want):
    assert registry_of(image) == want


@pytest.mark.parametrize(
    "image, login, changes, words",
    [
        ("quay.io/jupyter/x", ("ann", "plan7ed"), {}, ""),
        ("quay.io/jupyter/x", None, {"registries": []}, ""),
        ("", ("ann", "plan7ed"), {}, "only with an image of your own."),
        ("quay.io/jupyter/x", ("ann", None), {}, "needs a username and a password."),
        ("quay.io/jupyter/x", ("plan7ed", ""), {}, "needs a username and a password."),
        ("quay.io/jupyter/x", ("ann:plan7ed", "x"), {}, "has no colon."),
        ("quay.io/jupyter/x", ("ann", "plan7ed\n"), {}, "must be printable characters"),
        ("quay.io/jupyter/x", (["ann"], {"plan7ed": 1}), {}, "must be printable characters"),
        ("quay.io/jupyter/x", ("ann", "plan7ed" * 2000), {}, "must be printable characters"),
        ("quay.io/jupyter/x", ("ann", "plan7ed"), {"registries": ["a", "b"]}, "to 'quay.io'. Allowed registries: a, b."),
        ("quay.io/jupyter/x", ("ann", "plan7ed"), {"registries": ...}, "Allowed registries: none."),
    ],
)
def test_logins(settings, image, login, changes, words):
    options = {"system": "direct", "profile": "r", **({"image": image} if image else {})}
    given = taken_out({**options, "registry_username": login[0], "registry_password": login[1]} if login else options)
    assert given == options
    offered = offer(settings, **changes)
    if words:
        _, text = refusal(offered.check_login, offered.start(given), login_of(given))
        assert words in text and "plan7ed" not in text
    else:
        offered.check_login(offered.start(given), login_of(given))
    if login and login[0] == "ann":
        assert repr(login_of(given)) == "Login(username='ann')", "for logs"


def test_no_login_is_beside_stored_options():
    """JupyterHub takes the options of a start that names none from there, in memory too."""
    keep_out_of_database()
    stored = orm.Spawner()
    stored.user_options = with_login({"system": "direct"}, Login("ann", "plan7ed"))
    assert stored.user_options == {"system": "direct"} and login_of(stored.user_options) is None


def test_an_option_of_a_profile_is_no_login(settings):
    """Its choice, of which a form always sends one, would be taken for a login without an image."""
    profiles = copy.deepcopy(CATALOG["profiles"])
    profiles[0]["profile_options"]["registry_username"] = {"display_name": "R", "choices": {"a": {"display_name": "A"}}}
    offered, profile = offer(settings, profiles=profiles), profiles[0]["slug"]
    assert "registry_username" not in offered.option_names({"profile": profile})
    assert "option:direct:python:registry_username" not in form.render([offered], {})


def test_form_asks_for_no_login_that_nobody_takes(settings):
    assert 'type="password"' in form.render([offer(settings)], {})
    for changes in ({"registries": []}, {"registries": ...}, {"images": []}):
        assert 'type="password"' not in form.render([offer(settings, **changes)], {})


# The form


def test_notes(settings):
    def notes(**more):
        return [outpost_hub.offer.plain(note) for note in offer(settings, **more).notes()]

    assert notes() == ["Available."]
    assert notes(fault="away", away=1e9) == [
        "Not reachable since 2001-09-09 01:46 UTC.", "What it offered at 2001-09-09 01:46 UTC is shown.",
    ]  # fmt: skip
    assert notes(denied="Ask.") == ["Ask."]
    assert offer(settings).keeps() == "Home: 10 GB, kept."
    assert offer(settings, home=None).keeps().startswith("Nothing is kept here")
    assert offer(settings, home=...).keeps() == "", "an outpost that does not say it"


def test_form_is_escaped(settings):
    page = form.render([offer(settings)], {"system": "direct", "profile": "python", "image--unlisted-choice": EVIL})
    assert "alert(1)</script>" not in page.replace(form.SCRIPT, "") and "&lt;script&gt;alert(1)" in page
    assert EVIL not in page and not re.search(r"<[^>]* on\w+=", page), "no inline handlers"
    assert 'value="gpu" disabled>GPU: 1 of 1 in use, full</option>' in page
    assert 'value="secret" disabled>Secret: Ask &lt;b&gt;us&lt;/b&gt;.</option>' in page


def test_form_has_what_it_needs_to_be_heard(settings):
    """Each field has a label, and no two have the same ID."""
    page = form.render([offer(settings)], {})
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    fields = re.findall(r"<(?:input|select)[^>]* id=\"([^\"]+)\"", page)
    assert set(fields) <= set(re.findall(r'<label for="([^"]+)"', page)) and fields
    assert set(re.findall(r'aria-describedby="([^"]+)"', page)) <= set(ids)


def test_last_choice_is_selected(settings):
    last = {"system": "direct", "flavor": "large", "profile": "python", "image": "full"}
    page = form.render([offer(settings)], last)
    for part in (
        'value="direct" required checked', 'value="large" selected', 'value="python" checked', 'value="full" selected',
    ):  # fmt: skip
        assert part in page, part
    page = form.render([offer(settings)], {**last, "flavor": "gpu", "profile": "matlab"})
    assert 'value="small" selected' in page and 'value="r" checked' in page


def test_home_names_a_system_that_is_gone(settings):
    """A server of a system that is no longer there must not take the home page from its user."""
    outposts = outpost_hub.Outposts(settings)
    outposts.systems = {}  # none is asked

    def server(options):
        return SimpleNamespace(active=True, kube_state=None, user_options=options, notice="<b>" if options else "")

    servers = {"": server({"system": "direct"}), "a": server({"system": "<b>gone"}), "b": server({"system": ["x"]})}
    page = asyncio.run(home(outposts, SimpleNamespace(spawner=None, spawners=servers)))
    for cells in (
        "<td>My Server</td><td>Direct &lt;b&gt;cluster&lt;/b&gt;</td>", "<td>a</td><td>&lt;b&gt;gone</td>",
        "<td>b</td><td></td>",
    ):  # fmt: skip
        assert cells in page
    assert '<p role="status"><strong>a</strong>: &lt;b&gt;</p>' in page, "what its outpost has told the user"


def test_refused_system_cannot_be_chosen(settings):
    page = form.render([offer(settings, denied="Ask.")], {"system": "direct"})
    assert 'value="direct" required disabled' in page and "<p>Ask.</p>" in page
    assert " checked" not in page


@pytest.mark.parametrize(
    "fields, want",
    [
        (
            {"flavor-direct": "small", "profile-direct": "python", "option:direct:python:image": "full"},
            {"flavor": "small", "profile": "python", "image": "full"},
        ),
        (
            {
                "profile-direct": "python", "option:direct:python:image": "full",
                "option:direct:python:image--unlisted-choice": "quay.io/x", "image-direct": "quay.io/jupyter/a",
            },
            {"profile": "python", "image--unlisted-choice": "quay.io/x"},
        ),
        ({"profile-direct": "r", "image-direct": "quay.io/jupyter/a"}, {"profile": "r", "image": "quay.io/jupyter/a"}),
        (
            {"flavor": "small", "profile": "python", "image": "full"},
            {"flavor": "small", "profile": "python", "image": "full"},
        ),
        ({"flavor-remote": "x", "next": "/", "evil": "x", "start_id": "1"}, {}),
    ],
)  # fmt: skip
def test_options_from_fields(settings, fields, want):
    data = {key: [value] for key, value in {"system": "direct", **fields}.items()}
    assert form.options_from(data, offer(settings), ()) == {"system": "direct", **want}


# Who a user is


def test_identity():
    """No token leaves the hub unless its key is listed, and auth state takes the place of no name or group."""

    async def get_auth_state():
        return {"access_token": "t0ken", "name": "root", "groups": ["all"], "entitlements": ["a"]}

    groups = [SimpleNamespace(name="staff"), SimpleNamespace(name="gpu <b>")]
    user = SimpleNamespace(name="maria", groups=groups, admin=None, get_auth_state=get_auth_state)
    who = {"name": "maria", "groups": ["gpu <b>", "staff"], "admin": False}
    assert asyncio.run(identity(SimpleNamespace(user=user))) == who
    assert asyncio.run(identity(SimpleNamespace(user=user), ("entitlements", "none"))) == {**who, "entitlements": ["a"]}


@pytest.mark.parametrize("names", ["access_token", ["a b"], [7], ["groups"]])
def test_send_auth_state(settings, names):
    settings["systems"]["direct"]["sendAuthState"] = names
    with pytest.raises(ValueError, match="systems.direct.sendAuthState"):
        outpost_hub.Outposts(settings)
