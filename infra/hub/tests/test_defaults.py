"""What the module sets where the operator has set nothing. What the operator says wins, in each place that traitlets
has for it, and before or after the module's configuration."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterhub.apihandlers import default_handlers
from jupyterhub.app import JupyterHub
from outpost_hub.names import JupyterHubHTTPClient
from outpost_hub.pages import template_folder
from outpost_hub.spawner import Spawner
from traitlets import Integer

CONFIG = """
import json
import outpost_hub
from traitlets import Dict, Integer, default, validate

c = get_config()
{before}
{module}
{after}
"""
MODULE = "outpost_hub.configure(c, json.loads({!r}))"


@pytest.fixture
def hub(settings, tmp_path):
    """Makes a JupyterHub that has read its configuration: what is said before the module, after it, and by options.
    The module's lines may be in a file of their own."""
    before_module = list(default_handlers)

    def read(before="", after="", *argv, of=JupyterHub, apart=False):
        file, module = tmp_path / "jupyterhub_config.py", MODULE.format(json.dumps(settings))
        if apart:
            (tmp_path / "outposts.py").write_text(CONFIG.format(before="", module=module, after=""))
            module = f"load_subconfig({str(tmp_path / 'outposts.py')!r})"
        file.write_text(CONFIG.format(before=before, module=module, after=after))
        app = of()
        app.parse_command_line(list(argv))
        app.load_config_file(str(file))
        return app

    yield read
    default_handlers[:] = before_module


SECTIONS = ("Spawner", "ForwardBaseSpawner", "OutpostSpawner")
OWN = "class Own(outpost_hub.Spawner):\n    {}\nc.JupyterHub.spawner_class = Own\n"


@pytest.mark.parametrize("timeout, seconds", [("start_timeout", 600), ("http_timeout", 120)])
def test_timeouts(hub, timeout, seconds):
    def found(*said):
        app = hub(*said)
        user = SimpleNamespace(name="maria", id=1, settings={})
        return getattr(app.spawner_class(user=user, config=app.config), timeout)

    assert found() == seconds
    assert found("c.Spawner.poll_interval = 7", "c.OutpostSpawner.debug = True") == seconds
    assert found("", OWN.format("pass")) == seconds
    for section in SECTIONS:
        line = f"c.{section}.{timeout} = 90"
        assert found(line) == found("", line) == found("", "", f"--{section}.{timeout}=90") == 90, section
    for own in (
        f"{timeout} = 90",
        f"{timeout} = Integer(90).tag(config=True)",
        f"@default('{timeout}')\n    def _of_mine(self):\n        return 90",
    ):
        assert found("", OWN.format(own)) == 90, own
    assert found("", OWN.format("pass") + f"c.Own.{timeout} = 90") == 90
    assert found(f"c.Spawner.{timeout} = 30", OWN.format("pass") + f"c.Own.{timeout} = 90") == 90


class OwnHub(JupyterHub):
    init_spawners_timeout = Integer(30).tag(config=True)


def test_users_are_answered_while_servers_are_looked_at(hub):
    assert hub().init_spawners_timeout == 1
    for seconds in (10, 30):  # the first is JupyterHub's own
        line = f"c.JupyterHub.init_spawners_timeout = {seconds}"
        option = f"--JupyterHub.init_spawners_timeout={seconds}"
        for said in ((line,), ("", line), ("", "", option)):
            assert hub(*said).init_spawners_timeout == seconds, said
    for said in (("c.Application.init_spawners_timeout = 30",), ("", "c.Application.init_spawners_timeout = 30")):
        assert hub(*said).init_spawners_timeout == 30, said
    assert hub(of=OwnHub).init_spawners_timeout == 30
    assert OwnHub(config=hub().config).init_spawners_timeout == 30, "another has read it before"
    assert hub("", "c.OwnHub.init_spawners_timeout = 40", of=OwnHub).init_spawners_timeout == 40


@pytest.mark.parametrize("apart", [False, True])
def test_templates_of_the_operator_come_first(hub, apart):
    def found(*said):
        ours = Path(template_folder()).name[:-8]  # the end is by chance
        return ["ours" if ours in path else path for path in hub(*said, apart=apart).template_paths]

    own, stock = "/of/mine", found()
    assert len(stock) == 2 and stock[0] == "ours"
    paths = "c.JupyterHub.template_paths"
    for line in (f"{paths} = [{own!r}]", f"{paths} = ({own!r},)"):
        assert found(line) == [own, "ours"], line
        assert found(line, f"{paths}.insert(0, '/mine/too')") == ["/mine/too", own, "ours"], line
    prepend, insert = f"{paths}.prepend([{own!r}])", f"{paths}.insert(0, {own!r})"
    for said in ((prepend,), (insert,), ("", prepend), ("", insert)):
        assert found(*said) == [own, *stock], said
    assert found(insert, f"{paths}.insert(0, '/mine/too')") == ["/mine/too", own, *stock]
    for said in ((f"{paths}.append({own!r})",), ("", f"{paths}.append({own!r})")):
        assert found(*said) == [*stock, own], said
    assert found(f"{paths} = [{own!r}, {stock[1]!r}]") == [own, *stock]


@pytest.mark.parametrize("apart", [False, True])
def test_services_of_the_operator_stay(hub, settings, apart):
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels:8081", "dialOutUrl": "http://tunnels:8082"}
    for said in ("= [{'name': 'mine'}]", "= ({'name': 'mine'},)", ".append({'name': 'mine'})"):
        line = f"c.JupyterHub.services {said}"
        assert [service["name"] for service in hub(line, apart=apart).services] == ["mine", "outposts"], line
    late = hub("", "c.JupyterHub.services.append({'name': 'mine'})", apart=apart)
    assert [service["name"] for service in late.services] == ["outposts", "mine"]


@pytest.mark.skipif(JupyterHubHTTPClient is None, reason="JupyterHub 5 has no such client")
def test_client_of_jupyterhub_6(hub):
    async def found(*said):
        return JupyterHubHTTPClient(parent=hub(*said)).connector_options

    def check(want, *said):
        assert asyncio.run(found(*said)) == want, said

    section, ours = "c.JupyterHubHTTPClient.connector_options", {"use_dns_cache": False, "force_close": True}
    check(ours)
    for said, want in (
        ({"limit": 5}, {"limit": 5, **ours}),
        ({"ttl_dns_cache": 3}, {"ttl_dns_cache": 3, "force_close": True}),
        ({"use_dns_cache": True}, {"use_dns_cache": True, "force_close": True}),
        ({"keepalive_timeout": 3}, {"keepalive_timeout": 3, "use_dns_cache": False}),
        ({"force_close": False}, {"force_close": False, "use_dns_cache": False}),
    ):
        for line in (f"{section} = {said}", f"{section}.update({said})"):
            check(want, line)
            check(want, "", line)
    check({"ttl_dns_cache": 3}, "", "c.JupyterHub.JupyterHubHTTPClient.connector_options = {'ttl_dns_cache': 3}")
    for of in ("c.JupyterHub", "c.Application"):
        section = f"{of}.JupyterHubHTTPClient.connector_options"
        for line in (f"{section} = {{'ttl_dns_cache': 3}}", f"{section}.update({{'ttl_dns_cache': 3}})"):
            check({"ttl_dns_cache": 3, "force_close": True}, line)
        check({"ttl_dns_cache": 3, "force_close": True}, "", line)
        check({"limit": 5, "ttl_dns_cache": 3, "force_close": True}, f"{section}.update({{'limit': 5}})", line)
    for of in ("JupyterHub", "Application"):  # as zero-to-jupyterhub takes values of `hub.config`
        check({"limit": 5, **ours}, f"c.{of}.update({{'JupyterHubHTTPClient': {{'connector_options': {{'limit': 5}}}}}})")
    both = "c.JupyterHubHTTPClient.connector_options = {'limit': 5}"
    check({"limit": 5, "ttl_dns_cache": 3, "force_close": True}, both, line.replace("Application", "JupyterHub"))


def test_what_spawners_are_told_where_there_is_none(hub):
    """The hub's own requests have the options of those for servers."""

    def found(*said):
        app = hub(*said)
        system = Spawner.outposts.systems["direct"]
        system._client_for = lambda settings, defaults: defaults
        return system.client_of_hub({"config": app.config, "spawner_class": app.spawner_class})

    assert found() == {}
    for section in SECTIONS:
        at = f"c.{section}.http_client_defaults"
        for line in (f"{at} = {{'user_agent': 'x'}}", f"{at}.update({{'user_agent': 'x'}})"):
            assert found(line) == found("", line) == {"user_agent": "x"}, line
    both = "c.ForwardBaseSpawner.http_client_defaults = {'user_agent': 'x'}\nc.OutpostSpawner.http_client_defaults"
    assert found(f"{both} = {{'proxy_port': 1}}") == {"proxy_port": 1}
    assert found(f"{both}.update({{'proxy_port': 1}})") == {"user_agent": "x", "proxy_port": 1}
    own = OWN.format("pass") + "c.Own.http_client_defaults = {'proxy_port': 1}"
    assert found("c.Spawner.http_client_defaults = {'user_agent': 'x'}", own) == {"proxy_port": 1}
    for section in SECTIONS:
        option = f"--{section}.http_client_defaults=user_agent=x"
        assert found("", "", option) == {"user_agent": "x"}, section
    for own in (
        "http_client_defaults = {'proxy_port': 1}",
        "http_client_defaults = Dict({'proxy_port': 1}).tag(config=True)",
        "@default('http_client_defaults')\n    def _of_mine(self):\n        return {'proxy_port': 1}",
    ):
        assert found("", OWN.format(own)) == {"proxy_port": 1}, own
    add = "c.Own.http_client_defaults.update({'user_agent': 'x'})"
    assert found("", OWN.format(own) + add) == {"proxy_port": 1, "user_agent": "x"}
    needs = """@default('args')
    def _args_of(self):
        return [self.user.name]

    @validate('environment')
    def _environment_of(self, proposal):
        return {**proposal.value, 'OWNER': self.user.name}

    http_client_defaults = {'proxy_port': 1}"""
    more = "c.Own.args.append('x')\nc.Spawner.environment = {'A': 'b'}\n"
    assert found("", OWN.format(needs) + more) == {"proxy_port": 1}
    unread = OWN.replace("Own", "own").format("pass") + "c.own.http_client_defaults = {'proxy_port': 1}"
    assert found("", unread) == {}, "a section begins with a capital letter"
