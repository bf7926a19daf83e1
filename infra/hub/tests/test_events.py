"""Who may report the events of a server, and what the hub keeps and shows of them."""

import asyncio
import concurrent.futures
import http.client
import json
import threading
from types import SimpleNamespace

import outpost_hub
import pytest
import stage


@pytest.fixture
def hub(hub_stage):
    return hub_stage.hub


@pytest.fixture
def pending(hub, hub_stage):
    """A start that is pending until `release` is called: its name and token."""
    held = threading.Event()
    name = "pending"
    hub_stage.direct.answers[name] = stage.Held(held, (200, {"service": hub_stage.direct.service}))
    before = len(hub_stage.direct.of("POST", name))
    assert hub.begin(name, {"system": "direct"}).code == 202
    stage.wait_for("start", lambda: len(hub_stage.direct.of("POST", name)) > before)
    opened = f"Checking access to /hub/api/users/maria/servers/{name}/progress"
    pages = hub.log.read_text().count(opened)

    def wait_for_page():
        stage.wait_for("page", lambda: hub.log.read_text().count(opened) > pages)

    token = hub.own_token(hub_stage.direct, name)
    yield SimpleNamespace(name=name, token=token, release=held.set, wait_for_page=wait_for_page)
    held.set()
    stage.wait_for("settled", lambda: not (hub.server(name) or {}).get("pending"))
    if hub.server(name):
        hub.stop_server(name)


def strict(text):
    """Parses JSON as a browser does."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def events_of(hub, name):
    return strict(hub.call("GET", "/hub/api/users/maria").text)["servers"][name]["state"]["events"]


# What servers and outposts report


def test_events_reach_the_page_as_text(hub, pending):
    shown = {
        "progress": 40,
        "message": "<script>alert(1)</script>",
        "html_message": "<details><summary>a</summary><img src=x></details>",
    }
    only_html = [{"progress": 40, "html_message": f"picture {n}"} for n in (1, 2)]
    for event in [shown, *only_html]:
        assert hub.post_event(pending.name, event, pending.token).code == 204
    with concurrent.futures.ThreadPoolExecutor() as pool:
        page = pool.submit(hub.progress, pending.name)
        pending.wait_for_page()
        pending.release()
        events = page.result()
    assert any("&lt;img src=x&gt;" in e.get("html_message", "") for e in events), events
    assert any(e.get("html_message", "").startswith("<details><summary>20") for e in events), "no time before a summary"
    assert [e["html_message"] for e in events if "picture" in e.get("html_message", "")] == [
        e["html_message"] for e in only_html
    ]
    assert not any("<script" in e.get("html_message", "") or "<img" in e.get("html_message", "") for e in events)


def test_events_of_a_page_that_asks_before_the_start_is_sent():
    """The start has a list of events of its own, and the page may be in the middle of another one by then."""
    said = {n: {"progress": n, "message": str(n)} for n in (10, 20, 30, 40, 50)}
    spawner = SimpleNamespace(events=[said[10], said[20]], yield_wait_seconds=0, _spawn_future=concurrent.futures.Future())

    async def shown():
        events = []
        async for event in outpost_hub.Spawner._events(spawner):
            events.append(event)
            if event == said[10]:
                spawner.events = []
            elif event == said[20]:
                spawner.events = [said[30]]
            elif event == said[30]:
                spawner.events.append(said[40])
            elif event == said[40]:
                spawner.events = [said[50]]
                spawner._spawn_future.set_result(None)
        return events

    assert asyncio.run(shown()) == list(said.values())


def test_events_go_with_their_start(hub, pending):
    """Or the page of the next start would show them: it may ask before that start begins."""
    hub.post_event(pending.name, {"message": "of the first start"}, pending.token)
    pending.release()
    stage.wait_for("ready", lambda: (hub.server(pending.name) or {}).get("ready"))
    assert events_of(hub, pending.name)
    assert hub.call("DELETE", hub.server_path(pending.name)).code in (202, 204)
    stage.wait_for("the stop", lambda: hub.server(pending.name)["stopped"])
    assert hub.server(pending.name)["state"]["events"] == []


def test_events_of_the_default_server(hub, hub_stage):
    hub.run("", {"system": "direct"})
    token = hub.own_token(hub_stage.direct, "")
    assert hub.post_event("", {"progress": 90, "message": "late"}, token).code == 204
    hub.stop_server("")


def test_own_failure_ends_a_pending_start(hub, hub_stage, pending):
    """This is how an outpost reports a failed start; the page shows the reason."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        page = pool.submit(hub.progress, pending.name)
        pending.wait_for_page()
        assert (
            hub.post_event(pending.name, {"failed": True, "message": "no room <b>here</b>"}, pending.token).code == 204
        )
        events = page.result()
    (event,) = [e for e in events if e.get("failed")]
    assert (event["message"], event["html_message"]) == ("no room <b>here</b>", "no room &lt;b&gt;here&lt;/b&gt;")
    stage.wait_for("stop", lambda: hub_stage.direct.of("DELETE", pending.name))


def test_own_failure_ends_a_running_server(hub, hub_stage):
    hub.run("broken", {"system": "direct"})
    token = hub.own_token(hub_stage.direct, "broken")
    assert hub.post_event("broken", {"failed": True, "message": "gone"}, token).code == 204
    stage.wait_for("stop", lambda: (hub.server("broken") or {"stopped": True})["stopped"])
    assert len(hub_stage.direct.of("DELETE", "broken")) == 1
    assert hub.post_event("broken", {"message": "after its end"}, token).code == 403


def test_notice_is_on_the_home_page(hub, hub_stage):
    """A notice is for the user of a server that runs; it goes with the server."""
    hub.run("noticed", {"system": "direct"})
    token = hub.own_token(hub_stage.direct, "noticed")
    browser = hub.browser()
    browser.log_in("maria")
    notice = {"progress": 99, "message": "It ends <b>soon</b>.", "notice": True}
    assert hub.post_event("noticed", notice, token).code == 204
    shown = '<p role="status"><strong>noticed</strong>: It ends &lt;b&gt;soon&lt;/b&gt;.</p>'
    assert shown in browser.get("/hub/home").text
    assert hub.server("noticed")["ready"], "it goes on"
    assert hub.post_event("noticed", {"message": "", "notice": True}, token).code == 204
    assert shown not in browser.get("/hub/home").text
    hub.post_event("noticed", notice, token)
    hub.stop_server("noticed")
    assert shown not in browser.get("/hub/home").text


def test_notice_before_the_server_is_ready(hub, hub_stage, pending):
    """It stays while the start goes on, and when the hub is restarted, which takes the next one."""
    shown = f'<p role="status"><strong>{pending.name}</strong>: It ends &lt;b&gt;soon&lt;/b&gt;.</p>'

    def page():
        stage.wait_for("ready", lambda: (hub.server(pending.name) or {}).get("ready"))
        browser = hub.browser()
        browser.log_in("maria")
        return browser.get("/hub/home").text

    notice = {"progress": 99, "message": "It ends <b>soon</b>.", "notice": True}
    assert hub.post_event(pending.name, notice, pending.token).code == 204
    assert "It ends <b>soon</b>." in [event["message"] for event in events_of(hub, pending.name)], "for its page"
    pending.release()
    assert shown in page()
    hub.kill()
    hub.start()
    assert shown in page()
    hub.run("other", {"system": "direct"})
    assert hub.post_event(pending.name, notice, hub.own_token(hub_stage.direct, "other")).code == 403
    hub.stop_server("other")
    assert hub.post_event(pending.name, {"message": "It goes on.", "notice": True}, pending.token).code == 204
    assert shown not in page() and "It goes on." in page()


def test_notice_of_a_start_that_a_restart_ends(hub, pending):
    notice = {"progress": 99, "message": "It ends.", "notice": True}
    assert hub.post_event(pending.name, notice, pending.token).code == 204
    hub.kill()
    pending.release()
    hub.start()
    stage.wait_for("the end", lambda: hub.server(pending.name)["stopped"])
    (event,) = hub.progress(pending.name)
    assert event["html_message"] == "The hub was restarted while this server was starting. Start it again."


def test_nobody_shares_by_default(hub):
    """As the manual says, users share their servers only where the role of users lets them."""
    hub.call("POST", "/hub/api/users/maria")
    answer = hub.call("POST", "/hub/api/users/maria/tokens", {"scopes": ["shares!user"]})
    assert answer.code == 400 and "not held by User maria" in answer.text, answer.text


# Nobody else


class Others:
    """Credentials of everybody who may open a running server, or has a server of their own."""

    def __init__(self, hub, hub_stage):
        self.hub = hub
        for name, user in (("victim", "maria"), ("neighbour", "maria"), ("mallory", "nina")):
            hub.run(name, {"system": "direct"}, user)
        self.tokens = {
            "a service that may open servers": stage.TOKEN,
            "another server of the user": hub.own_token(hub_stage.direct, "neighbour"),
            "the server of another user": hub.own_token(hub_stage.direct, "mallory"),
            "nobody": "0" * 64,
            "no token": None,
        }
        scopes = {"the user": None, "the user, for this server": ["access:servers!server=maria/victim"]}
        for who, wanted in scopes.items():
            body = {"scopes": wanted} if wanted else {}
            self.tokens[who] = hub.call("POST", "/hub/api/users/maria/tokens", body).json()["token"]
        shared = hub.call(
            "POST", "/hub/api/shares/maria/victim", {"user": "nina", "scopes": ["access:servers!server=maria/victim"]}
        )
        assert shared.code in (200, 201), shared.text
        self.tokens["whom the server is shared with"] = hub.call("POST", "/hub/api/users/nina/tokens", {}).json()[
            "token"
        ]
        self.own = hub.own_token(hub_stage.direct, "victim")

    def close(self):
        for name, user in (("victim", "maria"), ("neighbour", "maria"), ("mallory", "nina")):
            self.hub.stop_server(name, user)


@pytest.fixture(scope="module")
def others(hub_stage):
    o = Others(hub_stage.hub, hub_stage)
    yield o
    o.close()


EVENTS = [{"failed": True}, {"failed": 1, "message": "x"}, {"progress": 50, "message": "by somebody else"}]


def unharmed(hub, hub_stage):
    server = hub.server("victim")
    return server["ready"] and not server["pending"] and not hub_stage.direct.of("DELETE", "victim")


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    "who",
    [
        "a service that may open servers", "another server of the user", "the server of another user", "nobody", "no token", "the user",
        "the user, for this server", "whom the server is shared with",
    ],
)  # fmt: skip
def test_only_the_server_itself_reports(hub, hub_stage, others, who, event):
    answer = hub.post_event("victim", event, others.tokens[who])
    assert answer.code == 403, answer.text
    assert unharmed(hub, hub_stage)


def test_only_the_server_itself_reports_while_it_starts(hub, others, pending):
    """Nor for another server, or another user."""
    before = events_of(hub, pending.name)
    refused = {who: hub.post_event(pending.name, EVENTS[0], token) for who, token in others.tokens.items()}
    assert {who: answer.code for who, answer in refused.items()} == dict.fromkeys(others.tokens, 403)
    assert hub.post_event("victim", EVENTS[0], pending.token).code == 403
    assert hub.post_event(pending.name, EVENTS[0], pending.token, "nina").code == 403
    assert events_of(hub, pending.name) == before
    assert hub.post_event(pending.name, {"message": "its own"}, pending.token).code == 204
    assert [e["message"] for e in events_of(hub, pending.name)] == [*(e["message"] for e in before), "its own"]


@pytest.mark.parametrize("name, user", [("no-such-server", "maria"), ("victim", "no-such-user"), ("", "maria")])
def test_the_refusal_reveals_nothing(hub, others, name, user):
    for token in others.tokens.values():
        answer, known = hub.post_event(name, {}, token, user), hub.post_event("victim", {}, token)
        assert (
            (answer.code, answer.json())
            == (known.code, known.json())
            == (403, {"status": 403, "message": known.json()["message"]})
        )


@pytest.mark.parametrize("xsrf", [False, True])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
@pytest.mark.parametrize("event", EVENTS)
def test_no_cookie_reports(hub, hub_stage, others, event, content_type, xsrf):
    """Not even the cookie of the server's user on a page of the hub."""
    browser = hub.browser()
    assert browser.log_in("maria").code == 200
    headers = {"Content-Type": content_type} if content_type else {}
    if xsrf:
        headers["X-XSRFToken"] = next(c.value for c in browser.cookies if c.name == "_xsrf" and c.path == "/hub/")
    path = "/hub/api/users/progress/events/maria/victim"
    assert browser.send(path, json.dumps(event).encode(), **headers).code == 403
    # Nor with a token that is not the server's.
    assert (
        browser.send(
            path, json.dumps(event).encode(), Authorization=f"token {others.tokens['the user']}", **headers
        ).code
        == 403
    )
    assert unharmed(hub, hub_stage)


@pytest.mark.parametrize("place", ["?token={}", "?access_token={}", "?_xsrf={}"])
def test_no_token_in_the_url(hub, hub_stage, others, place):
    path = "/hub/api/users/progress/events/maria/victim" + place.format(others.own)
    assert hub.call("POST", path, {"failed": True}, token=None).code == 403
    assert unharmed(hub, hub_stage)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_events_are_only_reported(hub, others, method):
    for token in (others.own, stage.TOKEN):
        assert hub.call(method, "/hub/api/users/progress/events/maria/victim", token=token).code == 405


def test_other_routes_of_the_client_are_closed(hub):
    """Every route that the client's packages add and the hub does not need is closed."""
    from jupyterhub.apihandlers import default_handlers

    routes = [
        h[0] for h in default_handlers if h[1].__module__.split(".")[0] in ("outpostspawner", "forwardbasespawner")
    ]
    closed = [
        route
        for route in routes
        if not any(word in route for word in ("/progress/events/", "/api/servers", "/recreateforward/"))
    ]
    assert len(closed) == 7, closed
    for route in closed:
        path = "/hub" + route.replace("([^/]+)", "maria", 1).replace("([^/]+)", "victim")
        for method in ("GET", "POST", "DELETE", "PUT"):
            assert hub.call(method, path, {} if method in ("POST", "PUT") else None).code == 404, (method, path)


# Bodies


@pytest.mark.parametrize(
    "body, code",
    [
        (b"planted-word", 400),
        (b'{"message": "planted-word', 400),
        (b'"planted-word"', 400),
        (b'["planted-word"]', 400),
        (b"planted-word\xff\xfe", 400),
        (b"planted-word\r\n[E 2026-01-01 00:00:00.000 JupyterHub app:1] forged", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 20_000, 400),
        (b'{"progress": ' + b"9" * 5_000 + b"}", 400),
        (b"null", 400),
        (b"", 400),
        (b"{}", 400),
        (b'{"message": "planted-word' + b"x" * outpost_hub.events.MAX_BODY + b'"}', 413),
        (b'{"message": "planted-word\\r\\nforged", "html_message": "planted-word"}', 204),
        (b'{"message": "planted-word \\ud800 \\u0000"}', 204),
        (b'{"failed": 0, "message": {"planted-word": 1}, "html_message": ["planted-word"]}', 204),
    ],
)
def test_bodies_are_bounded_and_never_logged(hub, pending, body, code):
    before = hub.log.stat().st_size
    answer = hub.post_event(pending.name, body, pending.token)
    assert answer.code == code, answer.text
    with hub.log.open("rb") as log:
        log.seek(before)
        said = log.read()
    assert b"planted-word" not in said and b"forged" not in said and b"Traceback" not in said, said


def test_connection_outlives_a_large_body(hub, pending):
    """A body that is too large does not disturb the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=stage.PATIENCE)
    path = f"/hub/api/users/progress/events/maria/{pending.name}"
    for body, code in ((b"x" * (outpost_hub.events.MAX_BODY + 1), 413), (b'{"message": "after it"}', 204)):
        connection.request("POST", path, body, {"Authorization": f"token {pending.token}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == code
    connection.close()


# Limits and numbers

NUMBERS = [
    "NaN",
    "-NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 4000,
    "true",
    '"50"',
    "[1]",
    "{}",
    "null",
    "1e308",
    "-5",
    "50.5",
]


def test_numbers_of_events_are_finite(hub, pending):
    for number in NUMBERS:
        body = b'{"message": "number", "progress": %s}' % number.encode()
        assert hub.post_event(pending.name, body, pending.token).code == (400 if number == "-NaN" else 204), number
    pending.release()
    stage.wait_for("ready", lambda: (hub.server(pending.name) or {}).get("ready"))
    found = [e.get("progress") for e in events_of(hub, pending.name) if e["message"] == "number"]
    assert found == [100, None, 100, 0, 50.5] or found == [None] * 5 + [100] + [None] * 5 + [100, 0, 50.5], found


@pytest.mark.parametrize("number", ["NaN", "1e999", "true", '"1"', "{}"])
def test_status_of_a_poll_must_be_a_number(hub, hub_stage, number):
    """A malformed answer does not end a server."""
    name = "polled-" + number.encode().hex()
    hub_stage.direct.polls[name] = {"status": json.loads(number), "logs": []}
    hub.run(name, {"system": "direct"})
    polls = len(hub_stage.direct.of("GET", name))
    stage.wait_for("polls", lambda: len(hub_stage.direct.of("GET", name)) > polls + 2)
    assert hub.server(name)["ready"]
    strict(hub.call("GET", "/hub/api/users").text)
    hub_stage.direct.polls[name] = {"status": 137, "logs": []}
    stage.wait_for("its end", lambda: (hub.server(name) or {"stopped": True})["stopped"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, 1.5, None, {"a": float("nan")}])
def test_refused_options_are_not_kept(hub, value):
    """JupyterHub stores options before a spawner checks them, and its API returns them."""
    hub.fail("numbers", {"system": "direct", "size": value})
    users = strict(hub.call("GET", "/hub/api/users?include_stopped_servers").text)
    options = next(u for u in users if u["name"] == "maria")["servers"]["numbers"]["user_options"]
    assert options == {"system": "direct"}


def test_events_of_one_start_are_bounded(hub, pending):
    """In memory and in the database, for any characters."""
    for text in ("<" * 5000, "\U0001f600" * 5000, "&amp;" * 5000, "x" * 5000):
        for _ in range(15):
            hub.post_event(pending.name, {"message": text, "html_message": text}, pending.token)
    pending.release()
    stage.wait_for("ready", lambda: (hub.server(pending.name) or {}).get("ready"))
    events = events_of(hub, pending.name)
    assert len(json.dumps(events)) <= outpost_hub.received.MAX_KEPT
    assert max(len(json.dumps(e)) for e in events) <= outpost_hub.received.MAX_TEXT + outpost_hub.received.MAX_HTML + 100
    assert hub.post_event(pending.name, {"failed": False, "message": "one more" * 4000}, pending.token).code == 400


def test_number_of_events_is_bounded():
    spawner = SimpleNamespace(events=[], run_filter_events=lambda event: event)
    kept = [outpost_hub.Spawner.keep_event(spawner, {"message": str(n)}) for n in range(outpost_hub.received.MAX_EVENTS + 10)]
    assert kept == [True] * outpost_hub.received.MAX_EVENTS + [False] * 10
    assert [e["message"] for e in spawner.events] == [str(n) for n in range(outpost_hub.received.MAX_EVENTS)]


@pytest.mark.parametrize("filtered", [{}, None, [], "text"])
def test_an_operators_filter_can_drop_events(filtered):
    spawner = SimpleNamespace(events=[], run_filter_events=lambda event: filtered)
    assert not outpost_hub.Spawner.keep_event(spawner, {"message": "a"}) and spawner.events == []


def test_a_filter_that_raises_does_not_log_the_event():
    warnings = []
    spawner = SimpleNamespace(
        events=[],
        _log_name="maria:lab",
        log=SimpleNamespace(warning=warnings.append),
        run_filter_events=lambda event: {}[event["message"]],
    )
    assert not outpost_hub.Spawner.keep_event(spawner, {"message": "planted-word"})
    assert warnings == ["maria:lab - filter_events raised KeyError"]


def test_a_start_fails_once(hub, hub_stage, pending):
    """Further reports of a failure are neither kept nor do they disturb its end."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        failed = {"failed": True, "message": "x" * 3000}
        answers = list(pool.map(lambda _: hub.post_event(pending.name, failed, pending.token).code, range(40)))
    assert set(answers) <= {204, 403}, answers  # 403 after its end
    stage.wait_for("stop", lambda: hub_stage.direct.of("DELETE", pending.name))
    assert "Traceback" not in hub.log.read_text().split(f"Calling Spawner.start for maria:{pending.name}")[-1]


def test_event():
    event = {"progress": 1000, "message": "<b>a</b>", "ready": True, "raw_event": {"a": 1}, "html_message": ""}
    assert outpost_hub.received.safe_event(event) == {
        "progress": 100,
        "message": "<b>a</b>",
        "html_message": "&lt;b&gt;a&lt;/b&gt;",
    }
    assert outpost_hub.received.safe_event({"message": 1, "html_message": {}, "failed": "yes"}) == {
        "message": "",
        "html_message": "",
        "failed": True,
    }
    assert outpost_hub.received.safe_event(["no event"]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "<" * 9000,
        "&" * 9000,
        "<details>" * 3000,
        "\u00fc" * 9000,
        "\U0001f600" * 9000,
        '"' * 9000,
        "a" * 7995 + "<br>b",
    ],
)
def test_html_is_cut_between_its_parts(text):
    safe = outpost_hub.received.safe_event({"message": text, "html_message": text})
    assert outpost_hub.received.json_size(safe["message"]) <= outpost_hub.received.MAX_TEXT
    assert outpost_hub.received.json_size(safe["html_message"]) <= outpost_hub.received.MAX_HTML
    assert outpost_hub.received.safe_event(safe) == safe, "a safe value does not change"


def test_state():
    """Also a state that an earlier version has stored."""
    state = {
        "api_token": "t",
        "start_id": "s",
        "events": [{"progress": float("nan"), "message": "a"}, "b", {"message": "c" * 10**6}] * 10,
        "logs": ["d", 1, float("nan"), "e" * 10**6] * 300,
        "exitCode": float("inf"),
        "custom_port": float("nan"),
        "port_forward_info": {"service": "a:1", "ssh_forward_options": {"ProxyCommand": "x"}},
    }
    safe = outpost_hub.received.safe_state(state)
    strict(json.dumps(safe))
    assert {key: safe[key] for key in ("api_token", "start_id", "exitCode", "custom_port", "port_forward_info")} == {
        "api_token": "t", "start_id": "s", "exitCode": None, "custom_port": 0, "port_forward_info": {"service": "a:1"},
    }  # fmt: skip
    assert (
        safe["events"][-1]["message"].startswith("ccc")
        and outpost_hub.received.json_size(safe["events"]) <= outpost_hub.received.MAX_KEPT
    )
    assert outpost_hub.received.json_size(safe["logs"]) <= outpost_hub.received.MAX_KEPT
    assert outpost_hub.received.safe_state(safe) == safe, "a safe value does not change"
    assert outpost_hub.received.safe_state({"api_token": "t"}) == {"api_token": "t"}, "no keys are added"
    for info in ({"service": "a;b:1"}, {"service": None}, "a:1", None):
        assert outpost_hub.received.safe_state({"port_forward_info": info})["port_forward_info"] == {}


@pytest.mark.parametrize(
    "action, answer, safe",
    [
        ("start", {"service": "http://a:1", "more": "x" * 10**6}, {"service": "http://a:1"}),
        ("start", {"service": "a:1\nforged"}, {"service": ""}),
        ("start", None, {"service": ""}),
        ("start", [1], {"service": ""}),
        ("poll", {"status": 1, "logs": ["a"]}, {"status": 1, "logs": ["a"]}),
        ("poll", {"status": 1.0}, {"status": 1, "logs": []}),
        ("poll", {"status": 10**400}, {"status": 2**31 - 1, "logs": []}),
        ("poll", None, {"status": None, "logs": []}),
        ("stop", {"logs": {"a": 1}}, {"status": None, "logs": []}),
        ("stop", None, None),
    ],
)
def test_answers(action, answer, safe):
    assert outpost_hub.received.safe_answer(action, answer) == safe


def test_answers_are_bounded(hub, hub_stage):
    hub_stage.direct.answers["endless"] = (
        200,
        {"service": hub_stage.direct.service, "more": "planted-answer" * 200_000},
    )
    events = hub.fail("endless", {"system": "direct"})
    assert "direct cannot be reached at the moment" in events[-1]["message"]
    assert "planted-answer" not in hub.log.read_text()
