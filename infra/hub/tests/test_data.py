"""Which values of custom.outposts are refused, and with which messages."""

import copy

import outpost_hub
import pytest

BAD_SHELL = ["a b", "a;b", "$(a)", "`a`", "a'b", 'a"b', "a\nb", "-oProxyCommand=a", "", None, 7, ["a"]]


def put(settings, path, value):
    settings = copy.deepcopy(settings)
    *parents, last = path.split(".")
    place = settings
    for part in parents:
        place = place[part]
    place[last] = value
    return settings


def refusal(settings):
    with pytest.raises(ValueError) as e:
        outpost_hub.Outposts(settings)
    return str(e.value)


def test_valid(settings):
    outposts = outpost_hub.Outposts(settings)
    assert sorted(outposts.systems) == ["direct", "remote"]
    assert outposts.systems["direct"].url == "http://outpost.outpost.svc:8080/services"
    assert outposts.systems["direct"].flavor is None
    assert outposts.systems["remote"].flavor == "large"


@pytest.mark.parametrize("names", ["first", ["First"], [7], ["remote"], ["direct"], ["twice", "twice"]])
def test_former_names(settings, names):
    assert "systems.direct.formerNames" in refusal(put(settings, "systems.direct.formerNames", names))


@pytest.mark.parametrize("value", BAD_SHELL)
@pytest.mark.parametrize("path", ["sshKey", "authDir", "systems.remote.ssh.host", "systems.remote.ssh.user"])
def test_shell_characters_are_refused(settings, path, value):
    if value is None and path.endswith("user"):
        value = "root;"
    assert path.split(".")[-1] in refusal(put(settings, path, value))


@pytest.mark.parametrize("value", ["a b", "a;b", "$(a)", "-oProxyCommand=a", 7, "relative", "/etc/../etc/passwd x"])
@pytest.mark.parametrize("path", ["systems.remote.ssh.knownHosts", "systems.remote.caFile"])
def test_files_are_paths(settings, path, value):
    assert path in refusal(put(settings, path, value))


def test_ssh_that_is_not_there(settings, monkeypatch, tmp_path):
    """Its absence would show when a user starts; tunnels do without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(settings).endswith(
        "systems.remote.ssh: needs the program ssh, which this hub's image does not have. Use `tunnels`"
    )
    settings["tunnels"] = {"name": "hub", "url": "http://tunnels.jupyter.svc:8081"}
    outpost_hub.Outposts(settings)


@pytest.mark.parametrize("port", [0, 65536, "22", -1, True, 2.5, "22 -oProxyCommand=a"])
def test_ports(settings, port):
    assert "systems.remote.ssh.port" in refusal(put(settings, "systems.remote.ssh.port", port))


@pytest.mark.parametrize("count", [0, 501, "10", -1, True, 2.5, [], float("nan")])
def test_concurrent_starts(settings, count):
    assert "systems.remote.concurrentStarts" in refusal(put(settings, "systems.remote.concurrentStarts", count))


@pytest.mark.parametrize("name", ["Remote", "a_b", "-a", "a-", "a" * 33, "a/b", "../a", "", "<b>", "a\n"])
def test_system_names(settings, name):
    assert repr(name) in refusal(put(settings, "systems", {name: settings["systems"]["direct"]}))


@pytest.mark.parametrize("name", ["Hub", "1hub", "hub_1", "h" * 23, "hub-", "{username}", ""])
def test_prefixes(settings, name):
    assert "namePrefix" in refusal(put(settings, "namePrefix", name))


@pytest.mark.parametrize(
    "url",
    [None, "", "ftp://a", "http://", "outpost:8080", "http://a b", "http://u:p@a/", "http://a/?x=1", "https://a/'"],
)
@pytest.mark.parametrize("key", ["url", "hubApiUrl"])
def test_urls(settings, key, url):
    assert f"systems.remote.{key}" in refusal(put(settings, f"systems.remote.{key}", url))


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("systems", {}, "systems"),
        ("systems", None, "systems"),
        ("systems.remote", None, "systems.remote"),
        ("systems.remote.hubApiURL", "http://a", "systems.remote.hubApiURL"),
        ("systems.remote.ssh.hostKey", "a", "systems.remote.ssh.hostKey"),
        ("outposts", 1, "outposts"),
        ("userOptions", "profile", "userOptions"),
        ("userOptions", ["a b"], "userOptions[0]"),
        ("systems.remote.flavors", [{"name": "a b"}], "flavors[0].name"),
        ("systems.remote.flavors", [{"name": "large"}, {"name": "large"}], "listed twice"),
        ("systems.remote.flavors", [{"name": "large", "cpu": 1}], "flavors[0].cpu"),
        ("systems.remote.flavor", "huge", "huge"),
        ("systems.remote.ssh.knownHosts", "/no/such/file", "file /no/such/file does not exist"),
        ("systems.remote.caFile", "/no/such/file", "file /no/such/file does not exist"),
        ("sshKey", "/no/such/file", "file /no/such/file does not exist"),
    ],
)
def test_refused(settings, path, value, message):
    assert message in refusal(put(settings, path, value))


LAB = {"slug": "lab"}


def image(option, name="image"):
    """Returns profiles with one option."""
    return [{**LAB, "profile_options": {name: option}}]


NAME = "is not a name of printable ASCII characters, at most 256"


@pytest.mark.parametrize(
    "profiles, message",
    [
        ([{}], f"profiles[0].slug: None {NAME}"),
        ([{"slug": "a\nb"}], f"profiles[0].slug: 'a\\nb' {NAME}"),
        ([{"slug": " a"}], f"profiles[0].slug: ' a' {NAME}"),
        ([{"slug": "a" * 257}], "at most 256"),
        ([LAB, LAB], "systems.remote.profiles: a slug is listed twice"),
        ([LAB, "gpu"], "profiles[1]: must be a map"),
        ([{**LAB, "kubespawner_override": {}}], "profiles[0].kubespawner_override: unknown key"),
        ([{**LAB, "allowed_groups": ["a"]}], "profiles[0].allowed_groups: unknown key"),
        ([{**LAB, "default": "yes"}], "profiles[0].default: must be true or false"),
        ([{**LAB, "display_name": 1}], "profiles[0].display_name: must be a string"),
        ([{**LAB, "profile_options": ["image"]}], "profiles[0].profile_options: must be a map"),
        ([{**LAB, "profile_options": 0}], "profiles[0].profile_options: must be a map"),
        (image({}, name="a\tb"), f"profiles[0].profile_options: 'a\\tb' {NAME}"),
        (image({}, name=3), f"profiles[0].profile_options: 3 {NAME}"),
        (image(None), "profile_options.image: must be a map"),
        (image({}), "profile_options.image: has neither choices nor an unlisted_choice"),
        (image({"choices": {}}), "profile_options.image: has neither choices nor an unlisted_choice"),
        (image({"choices": ["a"]}), "profile_options.image.choices: must be a map"),
        (image({"choices": {"": {}}}), f"profile_options.image.choices: '' {NAME}"),
        (image({"choices": {"a": "b"}}), "profile_options.image.choices.a: must be a map"),
        (image({"choices": {"a": {"kubespawner_override": {}}}}), "choices.a.kubespawner_override: unknown key"),
        (image({"choices": {"a": {"default": 1}}}), "choices.a.default: must be true or false"),
        (image({"unlisted_choice": True}), "profile_options.image.unlisted_choice: must be a map"),
        (image({"unlisted_choice": {}}), "profile_options.image.unlisted_choice.enabled: must be true; leave"),
        (image({"unlisted_choice": {"enabled": False}}), "profile_options.image.unlisted_choice.enabled: must be true"),
        (image({"unlisted_choice": {"enabled": True, "validation_regex": "^a"}}), "unlisted_choice.validation_regex: "),
        (
            [{**LAB, "profile_options": {"b": {"unlisted_choice": {"enabled": True}}, "b--unlisted-choice": {"choices": {"a": {}}}}}],
            "profile_options.b--unlisted-choice: is what a start calls a value of the user's own for b; rename one of them",
        ),
        (
            [{**LAB, "profile_options": {name: {"choices": {"a": {}}} for name in ("b", "b--unlisted-choice")}}],
            "profile_options.b--unlisted-choice: is what a start calls a value of the user's own for b; rename one of them",
        ),
        *(
            (image({"choices": {"a": {}}}, name), f"profile_options.{name}: is an option of every start")
            for name in ("system", "flavor", "profile", "start_id", "registry_username", "registry_password")
        ),
    ],
)
def test_profiles(settings, profiles, message):
    assert message in refusal(put(settings, "systems.remote.profiles", profiles))


@pytest.mark.parametrize(
    "path, value",
    [
        ("systems.remote.url", "https://a:65536/services"),
        ("systems.remote.url", "https://a:0"),
        ("systems.remote.hubApiUrl", "http://a:99999/hub/api"),
        ("systems.remote.defaultServer", "false"),
        ("systems.remote.defaultServer", 0),
        ("systems.remote.ssh.port", float("nan")),
        ("systems.remote.ssh.port", float("inf")),
        ("systems.remote.ssh.port", 10**400),
        ("systems.remote.displayName", 0),
        ("systems.remote.displayName", False),
        ("systems.remote.description", []),
        ("systems.remote.flavor", 0),
        ("systems.remote.flavors", 0),
        ("systems.remote.flavors", ""),
        ("systems.remote.profiles", {}),
        ("systems.remote.caFile", False),
        ("systems.remote.ssh.knownHosts", 0),
        ("userOptions", {}),
    ],
)
def test_wrong_types(settings, path, value):
    """A value that is false in Python does not count as missing: a wrong value must not remove a limit."""
    assert path.removeprefix("systems.") in refusal(put(settings, path, value))


def test_known_hosts_of_another_system(settings, tmp_path):
    (tmp_path / "known_hosts" / "remote").write_text("10.0.0.3 ssh-ed25519 AAAA\n")
    assert "begins with outpost-remote" in refusal(settings)


def test_all_faults_at_once(settings):
    settings["systems"]["remote"]["url"] = "nowhere"
    settings["systems"]["direct"]["hubApiUrl"] = "nowhere"
    settings["namePrefix"] = "A"
    message = refusal(settings)
    assert all(part in message for part in ("systems.remote.url", "systems.direct.hubApiUrl", "namePrefix"))


def test_longest_service_name_fits_kubernetes():
    """It consists of the prefix, the user's ID and the server's name."""
    prefix, server = "a" * 22, "b" * 32
    assert outpost_hub.settings.PREFIX.fullmatch(prefix) and outpost_hub.settings.SERVER_NAME.fullmatch(server)
    assert len(f"{prefix}-9999999-{server}") <= 63
