"""Each hook on its own, with the arguments that the client passes."""

import asyncio
import base64
import copy
from pathlib import Path
from types import SimpleNamespace

import certifi
import outpost_hub
import pytest
import stage
from outpost_hub.offer import Offer
from tornado import web
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest
from traitlets.config import Config


def made(settings):
    """Returns Outposts whose systems have no catalog, as Python outposts."""
    outposts = outpost_hub.Outposts(settings)
    for system in outposts.systems.values():
        system.catalogs.none_until = float("inf")
    return outposts


@pytest.fixture
def outposts(settings):
    return made(settings)


def spawner(name="lab", **user_options):
    user = SimpleNamespace(
        name="maria", id=1, admin=False, groups=[SimpleNamespace(name="staff"), SimpleNamespace(name="gpu")],
        orm_user=SimpleNamespace(_orm_spawners=[]),
    )  # fmt: skip
    return SimpleNamespace(
        name=name,
        user=user,
        user_options=user_options,
        orm_spawner=SimpleNamespace(user_options=None),
        events=[],
        start_timeout=600,
        start_error=None,
        own_image="",
        offered=(None, None),
    )


def form_of(outposts, s):
    return asyncio.run(outposts.options_form(s))


def checked(outposts, options):
    return outposts.checked(options, Offer(outposts.system(options)))


def message(function, *args):
    with pytest.raises(outpost_hub.errors.StartError) as e:
        function(*args)
    return e.value.jupyterhub_message


# Systems and options


@pytest.mark.parametrize(
    "options",
    [
        {},
        None,
        {"system": "nowhere"},
        {"system": ["direct", "remote"]},
        {"system": 1},
        {"system": "Direct <b>cluster</b>"},
    ],
)
def test_unknown_system(outposts, options):
    assert message(outposts.system, options) == "Choose one of these systems: direct, remote."


def test_system_as_string_and_as_list(outposts):
    """A form sends a list, the API a string."""
    assert outposts.system({"system": "remote"}).name == "remote"
    assert outposts.system({"system": ["remote"]}).name == "remote"


def test_only_system_needs_no_name(settings):
    del settings["systems"]["remote"]
    assert outpost_hub.Outposts(settings).system({}).name == "direct"


def test_former_names(settings):
    """What a user has chosen last, and what a start may ask for, may be a name from before."""
    settings["systems"]["direct"]["formerNames"] = ["first", "second"]
    outposts = made(settings)
    assert outposts.system({"system": ["first"]}).name == outposts.system({"system": "second"}).name == "direct"
    assert checked(outposts, {"system": "first"})["system"] == "direct"
    assert 'value="direct" required checked ' in form_of(outposts, spawner(system="second"))
    assert message(outposts.system, {"system": "third"}) == "Choose one of these systems: direct, remote."


def test_options_from_form_are_strings(outposts):
    form = {"system": ["remote"], "flavor-direct": ["x"], "flavor-remote": ["small"], "profile": ["p"], "evil": ["e"]}
    options = asyncio.run(outposts.options_from_form(form, spawner()))
    assert options == {"system": "remote", "flavor": "small", "profile": "p"}


def test_options_from_query(outposts):
    options = asyncio.run(outposts.options_from_form({"system": ["remote"], "flavor": ["small"]}, spawner()))
    assert options == {"system": "remote", "flavor": "small"}


def test_default_flavor(outposts):
    s = spawner(system="remote")
    asyncio.run(outposts.apply_user_options(s, s.user_options))
    assert s.user_options == s.orm_spawner.user_options == {"system": "remote", "flavor": "large"}


@pytest.mark.parametrize("flavor", ["huge", ["small"], {"small": 1}, 7, True])
def test_unknown_flavor_of_a_list_by_hand(outposts, flavor):
    """The outpost is asked, so that it is refused as on the form. By the API, it may be of any type."""
    remote = outposts.systems["remote"]
    assert remote.offer_unasked({"system": "remote", "flavor": flavor}) is None
    for known in ("small", "", None, []):
        assert remote.offer_unasked({"system": "remote", "flavor": known})
    s = spawner(system="remote", flavor=flavor)
    with pytest.raises(outpost_hub.errors.StartError, match="no flavor 'huge'|flavor must be a string"):
        asyncio.run(outposts.apply_user_options(s, s.user_options))
    assert s.user_options == {"system": "remote"}


@pytest.mark.parametrize(
    "options, want",
    [
        ({"system": "remote", "flavor": "huge"}, "no flavor 'huge'"),
        ({"system": "remote", "flavor": ["small"]}, "flavor must be a string"),
        ({"system": "direct", "flavor": "a b"}, "Invalid flavor name."),
        ({"system": "direct", "image": "evil"}, "Unknown option 'image'"),
        ({"system": "direct", "profile": {"a": 1}}, "profile must be a string"),
        ({"system": "direct", "profile": "a\x1bb"}, "profile must be a string"),
        ({"system": "direct", "profile": "a" * 257}, "profile must be a string"),
    ],
)
def test_options_refused(outposts, options, want):
    assert want in message(checked, outposts, options)


@pytest.mark.parametrize("name", ["Lab", "a.b", "a_b", "a" * 33, "-a", "a b", "ä"])
def test_server_names_refused(outposts, name):
    assert "at most 32 characters" in message(outposts.pre_spawn_hook, spawner(name, system="direct"))


@pytest.mark.parametrize("name", ["", "a", "lab-1", "a" * 32])
def test_server_names(outposts, name):
    outposts.pre_spawn_hook(spawner(name, system="direct"))


def test_system_without_default_servers(settings):
    settings["systems"]["remote"]["defaultServer"] = False
    outposts = made(settings)
    assert "Give the server a name" in message(outposts.pre_spawn_hook, spawner("", system="remote"))
    outposts.pre_spawn_hook(spawner("lab", system="remote"))
    assert 'value="remote"' not in form_of(outposts, spawner(""))
    del settings["systems"]["direct"]
    assert "named servers only" in form_of(made(settings), spawner(""))


def test_form(outposts):
    form = form_of(outposts, spawner())
    assert "Direct &lt;b&gt;cluster&lt;/b&gt;" in form and "With GPUs &amp; more" in form
    assert '<option value="large" selected>Large &quot;&amp;&quot; fast</option>' in form
    assert '<option value="small">Small (1 core)</option>' in form
    assert form.count(" checked ") == 1
    assert 'value="remote" required checked ' in form_of(outposts, spawner(system="remote"))


def test_last_choice(outposts):
    """A new server begins with what the user's latest one has, an old one with its own. Old rows have other types."""
    s = spawner()
    s.user.orm_user._orm_spawners = [
        SimpleNamespace(last_activity=2, user_options={"system": ["remote"], "flavor": "small", "profile": ["x"]}),
        SimpleNamespace(last_activity=1, user_options={"system": "direct"}),
        SimpleNamespace(last_activity=4, user_options={"system": "gone"}),
        SimpleNamespace(last_activity=3, user_options=None),
    ]
    assert outposts.last_options(s) == {"system": "remote", "flavor": "small"}
    assert '<option value="small" selected>' in form_of(outposts, s)
    s.user_options = {"system": "direct"}
    assert outposts.last_options(s) == {"system": "direct"}


# Requests


def test_credentials_are_read_each_time(outposts, tmp_path):
    assert outposts.request_headers(spawner(), {"system": "direct"}) == {
        "Authorization": "Basic " + base64.b64encode(b"jupyterhub:secret").decode()
    }
    (tmp_path / "auth" / "direct").write_text("jupyterhub:rotated")
    got = outposts.request_headers(spawner(), {"system": "direct"})["Authorization"]
    assert base64.b64decode(got.split()[1]) == b"jupyterhub:rotated"
    (tmp_path / "auth" / "direct").unlink()
    assert "no password" in message(outposts.request_headers, spawner(), {"system": "direct"})


def test_ca_on_every_request(outposts, settings):
    for hook in (outposts.request_kwargs, outposts.request_kwargs_start):
        assert hook(spawner(), {"system": "direct"})["ca_certs"] == certifi.where()
        assert hook(spawner(), {"system": "remote"})["ca_certs"] == settings["systems"]["remote"]["caFile"]
        assert hook(spawner(), {"system": "remote"})["validate_cert"] is True


def test_rotated_ca_is_trusted_at_once(outposts, settings, tmp_path):
    """By default curl caches a CA file for a day, and requests would fail after a rotation."""

    def trust(*names):
        Path(settings["systems"]["remote"]["caFile"]).write_text(
            "".join((tmp_path / f"{n}.crt").read_text() for n in names)
        )

    async def codes():
        client = CurlAsyncHTTPClient(force_instance=True)
        got = []
        for names in (("old",), ("new", "old")):
            trust(*names)
            outpost = stage.Outpost("http://x:1", certificate=tmp_path / f"{names[0]}.pem")
            request = HTTPRequest(
                f"https://127.0.0.1:{outpost.port}/services/x/1",
                **outposts.request_kwargs(spawner(), {"system": "remote"}),
            )
            got.append((await client.fetch(request, raise_error=False)).code)
            outpost.close()
        return got

    for name in ("old", "new"):
        stage.make_certificate(tmp_path, name)
    assert asyncio.run(codes()) == [404, 404]  # 599: not trusted


def test_start_may_take_as_long_as_the_hub_waits(outposts):
    """tornado's default of 20 s would fail starts whose image has to be pulled."""
    assert outposts.request_kwargs_start(spawner(), {"system": "direct"})["request_timeout"] == 600
    assert outposts.request_kwargs(spawner(), {"system": "direct"})["request_timeout"] == 60


def test_misc_is_not_shared(outposts):
    """The client modifies what the hook returns."""
    outposts.custom_misc(spawner(), {})["port"] = 1
    assert outposts.custom_misc(spawner(), {}) == {}


def test_each_system_has_its_own_address(outposts):
    api = {name: outposts.public_api_url(spawner(system=name)) for name in outposts.systems}
    assert api == {"direct": "http://hub.jupyter.svc:8081/hub/api", "remote": "http://10.0.0.2:30000/hub/api"}
    assert outposts.extra_labels(spawner(), {"system": "remote"}) == {"outposts.dev/system": "remote"}


# The tunnel


def test_only_systems_with_ssh_have_tunnels(outposts):
    assert outposts.ssh_during_startup(spawner(system="remote")) is True
    assert outposts.ssh_during_startup(spawner(system="direct")) is False


def test_ssh_settings(outposts, settings):
    s = spawner(system="remote")
    assert outposts.ssh_node(s, {}) == "10.0.0.3"
    assert outposts.ssh_port(s, {}) == 30022
    assert outposts.ssh_username(s, {}) == "jhuboutpost"
    assert outposts.ssh_key(s, {}) == settings["sshKey"]
    options = outposts.ssh_forward_options(s, {})
    assert options["StrictHostKeyChecking"] == "yes"
    assert options["HostKeyAlias"] == "outpost-remote"
    assert options["ControlPath"] == "/tmp/outpost-remote.sock"
    assert options["UserKnownHostsFile"] == settings["systems"]["remote"]["ssh"]["knownHosts"]
    assert not any(" " in value for value in options.values()), "the client does not quote them"


class RunningServer:
    """A running server as the check of its system's tunnels sees it."""

    port_forward_info, _stop_pending, outpost_connection, _log_name = {"service": "a:1"}, False, 1, "maria:lab"
    log = SimpleNamespace(warning=lambda *a: None)

    def __init__(self, system, stopped=False):
        self.system, self.stopped, self.calls = system, stopped, []
        system.tunnels.servers.add(self)

    async def run_ssh_forward(self):
        self.calls.append("forward")
        if self.stopped:  # while the tunnel is renewed
            self.system.tunnels.servers.discard(self)

    async def run_ssh_forward_remove(self):
        self.calls.append("remove")


def test_one_check_for_all_servers(outposts, monkeypatch):
    """The servers of a system share its connection: one check in each round, and a new tunnel each if it is new."""
    monkeypatch.setattr(outpost_hub.tunnels, "CHECK_SECONDS", 0)
    system = outposts.systems["remote"]
    servers = [RunningServer(system) for _ in range(20)] + [RunningServer(system, stopped=True)]
    checks = []

    async def connect(spawner):
        checks.append(spawner)
        if len(checks) == 3:
            system.tunnels.servers.clear()
        return 2

    system.tunnels.connect = connect
    asyncio.run(asyncio.wait_for(system.tunnels._check(), 300))
    assert len(checks) == 3
    assert [s.calls for s in servers] == [["forward"]] * 20 + [["forward", "remove"]]
    assert [s.outpost_connection for s in servers] == [2] * 20 + [1]


@pytest.mark.parametrize(
    "answer",
    [
        "", None, ["127.0.0.1", 80], "http://a", "a:b", "a:1/user/x", "[::1]:80", "HTTP://a:80", "a:0", "a:65536", "a b:80",
        "a;touch x:80", "$(touch x):80", "a:80 -oProxyCommand=x", "-oProxyCommand=x:80", "a:80\n", "user@a:80",
    ],
)  # fmt: skip
def test_addresses_refused(outposts, answer):
    s = spawner(system="direct")
    s.log = SimpleNamespace(error=lambda *a: None)
    s._log_name = "maria:lab"
    with pytest.raises(outpost_hub.errors.StartError):
        asyncio.run(outposts.update_start_response(s, answer))


@pytest.mark.parametrize(
    "answer", ["http://jupyter-1.outpost.svc.cluster.local:41234", "https://10.0.0.7:1", "a:65535"]
)
def test_addresses(outposts, answer):
    assert asyncio.run(outposts.update_start_response(spawner(system="direct"), answer)) == answer


def test_copies_share_the_object(outposts):
    """traitlets copies hooks; with a copy for each spawner, a lock would lock nothing."""
    hook = copy.deepcopy({"hook": outposts.request_url})["hook"]
    assert hook.__self__ is outposts


# Messages and HTML


@pytest.mark.parametrize(
    "log_message, reason, want",
    [
        ("start request to http://a failed: 419", "quota: no small left", "Remote cluster: quota: no small left"),
        ("start request to http://a failed: 419", "", "Remote cluster: the server could not be started."),
        ("start request to http://a failed: 401", "{}", "does not accept the hub's password"),
        ("start request to http://a failed: 599", "HTTP 599: timeout", "cannot be reached at the moment. Try again"),
        ("start request to http://a failed: 599", "SSL certificate problem", "does not trust its certificate"),
        ("start request to http://a failed", "resolver", "cannot be reached at the moment"),
        ("start request to http://a failed: 503", "no endpoints", "cannot be reached at the moment"),
        ("start request to http://a failed: 503", '{"args": []}', "cannot be reached at the moment"),
        ("start request to http://a failed: 503", '{"args": [{"a": 1}]}', "cannot be reached at the moment"),
        ("start request to http://a failed: 503", "[" * 16_000, "cannot be reached at the moment"),
        ("start request to http://a failed: 503", '{"args": ["busy"]}', "cannot start servers at the moment: busy"),
        ("start request to http://a failed: 500", "x", "unexpected status 500"),
        ("start request to http://a failed: 404", "x", "unexpected status 404"),
    ],
)
def test_user_messages(outposts, log_message, reason, want):
    error = web.HTTPError(419, log_message=log_message, reason=reason)
    s = spawner(system="remote")
    outposts.failed_spawn_request_hook(s, error)
    assert want in s.start_error.jupyterhub_message
    assert "http://a" not in s.start_error.jupyterhub_message


def test_error_is_escaped(outposts):
    error = web.HTTPError(419, log_message="start request to http://a failed: 419", reason="<script>x</script> 100%")
    s = spawner(system="remote")
    outposts.failed_spawn_request_hook(s, error)
    error = s.start_error
    assert error.jupyterhub_html_message == "Remote cluster: &lt;script&gt;x&lt;/script&gt; 100%"
    assert "100%" in str(error), "a percent sign is not a format"


@pytest.mark.parametrize(
    "text, safe",
    [
        ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("<details><summary>a</summary>b<br>c</details>", "<details><summary>a</summary>b<br>c</details>"),
        ("<details ontoggle=x open>", "&lt;details ontoggle=x open&gt;"),
        ("&lt;img src=x onerror=y&gt;", "&lt;img src=x onerror=y&gt;"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("a < b & c", "a &lt; b &amp; c"),
    ],
)
def test_safe_html(text, safe):
    assert outpost_hub.received.safe_html(text) == safe
    assert outpost_hub.received.safe_html(safe) == safe, "safe HTML does not change"


# Configuration


def test_configure(settings):
    from jupyterhub.apihandlers import default_handlers

    before = list(default_handlers)
    try:
        c = Config()
        outpost_hub.configure(c, settings)
        routes = {
            h[0]: h[1]
            for h in default_handlers
            if h not in before or h[1].__module__.startswith(("outpost", "forward"))
        }
    finally:
        default_handlers[:] = before
    assert c.JupyterHub.spawner_class is outpost_hub.Spawner
    assert c.OutpostSpawner.svc_name_template == "hub1-{userid}-{servername}"
    assert set(outpost_hub.Outposts.HOOKS) <= set(c.OutpostSpawner)
    assert {route: handler.__name__ for route, handler in routes.items()} == {
        "/api/recreateforward/([^/]+)": "SSHNodeRestartedAPIHandler",
        "/api/outposts": "ListOutposts",
        "/api/servers": "ListServersAPIHandler",
        "/api/users/([^/]+)/server": "Servers",
        "/api/users/([^/]+)/servers/([^/]*)": "Servers",
        "/api/users/progress/events/([^/]+)": "Events",
        "/api/users/progress/events/([^/]+)/([^/]+)": "Events",
    }


def test_hooks_exist_in_the_client():
    """JupyterHub ignores an option that the client does not have, with no more than a warning."""
    for hook in outpost_hub.Outposts.HOOKS:
        assert outpost_hub.Spawner.class_traits().get(hook) is not None, hook
        assert outpost_hub.Spawner.class_traits()[hook].metadata.get("config"), hook
