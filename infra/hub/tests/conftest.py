import copy
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

import stage  # noqa: E402


@pytest.fixture
def settings(tmp_path):
    """Valid data with one system that is reached directly and one that is reached by a tunnel."""
    for name in ("auth", "known_hosts"):
        (tmp_path / name).mkdir()
    (tmp_path / "key").write_text("a key")
    (tmp_path / "ca.pem").write_text("a certificate")
    (tmp_path / "auth" / "direct").write_text("jupyterhub:secret\n")
    (tmp_path / "auth" / "remote").write_text("jupyterhub:other\n")
    (tmp_path / "known_hosts" / "remote").write_text("outpost-remote ssh-ed25519 AAAA\n")
    return {
        "namePrefix": "hub1",
        "authDir": str(tmp_path / "auth"),
        "sshKey": str(tmp_path / "key"),
        "userOptions": ["profile"],
        "systems": {
            "direct": {
                "displayName": "Direct <b>cluster</b>",
                "url": "http://outpost.outpost.svc:8080/services/",
                "hubApiUrl": "http://hub.jupyter.svc:8081/hub/api",
            },
            "remote": {
                "displayName": "Remote cluster",
                "description": "With GPUs & more",
                "url": "https://10.0.0.3:30080/services",
                "hubApiUrl": "http://10.0.0.2:30000/hub/api",
                "caFile": str(tmp_path / "ca.pem"),
                "flavor": "large",
                "flavors": [
                    {"name": "small", "displayName": "Small", "description": "1 core"},
                    {"name": "large", "displayName": 'Large "&" fast'},
                ],
                "ssh": {"host": "10.0.0.3", "port": 30022, "knownHosts": str(tmp_path / "known_hosts" / "remote")},
            },
        },
    }


class Stage:
    """One hub and its systems: direct, behind a tunnel, slow to connect, with another host key, unreachable."""

    def __init__(self, folder, base_url="", forks=True):
        self.folder = folder
        self.hub_api_url = f"http://127.0.0.1:9{base_url}/hub/api"
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self.lab = stage.Lab()
        self.cluster = stage.Cluster()
        self.direct = stage.Outpost(f"http://127.0.0.1:{self.lab.port}")
        self.remote = stage.Outpost(f"127.0.0.1:{self.lab.port}")
        self.sshd = stage.SSHServer(folder / "sshd", key)
        self.other_sshd = stage.SSHServer(folder / "other-sshd", key)
        self.relay = stage.Relay(self.sshd.port, 1.5)
        (folder / "auth").mkdir()
        systems = {
            "direct": self.system(self.direct),
            "remote": self.system(self.remote, self.sshd.port, self.sshd),
            "other": self.system(self.remote, self.other_sshd.port, self.other_sshd),
            "slow": self.system(self.remote, self.relay.port, self.sshd),
            "stranger": self.system(self.remote, self.sshd.port, self.other_sshd),
            "nobody": {**self.system(self.direct), "url": f"http://127.0.0.1:{stage.free_port()}/services"},
        }
        systems["remote"]["flavors"] = [{"name": "small"}, {"name": "large", "displayName": "Large"}]
        for name in systems:
            (folder / "auth" / name).write_text("jupyterhub:secret")
            if "ssh" in systems[name]:
                pinned = systems[name]["ssh"].pop("pinned")
                (folder / f"known_hosts-{name}").write_text(f"outpost-{name} {pinned.public_key()}\n")
                systems[name]["ssh"]["knownHosts"] = str(folder / f"known_hosts-{name}")
        settings = {"authDir": str(folder / "auth"), "sshKey": str(key), "systems": systems}
        self.hub = stage.Hub(folder, settings, self.cluster, base_url, forks=forks)

    def system(self, outpost, port=None, pinned=None):
        import getpass

        data = {"url": outpost.url, "hubApiUrl": self.hub_api_url}
        if port:
            data["ssh"] = {"host": "127.0.0.1", "port": port, "user": getpass.getuser(), "pinned": pinned}
        return data

    def renamed(self, name, new):
        """Returns the hub's settings with a system under another name, and writes its files."""
        settings = copy.deepcopy(self.hub.settings)
        system = settings["systems"][new] = {**settings["systems"].pop(name), "formerNames": [name]}
        for kind in ("auth/", "known_hosts-"):
            text = (self.folder / f"{kind}{name}").read_text()
            (self.folder / f"{kind}{new}").write_text(text.replace(f"outpost-{name} ", f"outpost-{new} "))
        system["ssh"]["knownHosts"] = str(self.folder / f"known_hosts-{new}")
        return settings

    def close(self):
        for part in (
            self.hub,
            self.relay,
            self.sshd,
            self.other_sshd,
            self.direct,
            self.remote,
            self.cluster,
            self.lab,
        ):
            part.close()


@pytest.fixture(scope="module")
def hub_stage(tmp_path_factory):
    s = Stage(tmp_path_factory.mktemp("hub"))
    yield s
    s.close()


@pytest.fixture
def stage_below_a_path(tmp_path):
    s = Stage(tmp_path, "/jupyter", forks=False)
    yield s
    s.close()
