"""Which versions of JupyterHub and the client work together."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import outpost_hub
import pytest

GOOD = "JupyterHub 5.5.4 with jupyterhub-outpostspawner 2.2.11"


@pytest.mark.parametrize("hub, client", [("5.5.4", "2.2.11"), ("5.5.0", "2.2.11"), ("6.1.1", "2.2.13")])
def test_tested(hub, client):
    assert outpost_hub.versions.check_pair(hub, client) is None


@pytest.mark.parametrize(
    "hub, client", [("5.5.4", "2.2.13"), ("5.4.2", "2.2.12"), ("5.2.1", "2.2.11"), ("4.1.6", "2.2.13")]
)
def test_refused(hub, client):
    with pytest.raises(RuntimeError) as e:
        outpost_hub.versions.check_pair(hub, client)
    assert GOOD in str(e.value) and client in str(e.value) and hub in str(e.value)


@pytest.mark.parametrize(
    "hub, client, base",
    [
        ("5.5.4", "2.2.7", "2.1.2"),
        ("6.2.0", "2.2.13", "2.1.2"),
        ("6.1.1", "2.2.11", "2.1.2"),
        ("5.5.4", "2.2.11", "2.2.0"),
    ],
)
def test_untested_warns(hub, client, base):
    assert "not been tested" in outpost_hub.versions.check_pair(hub, client, base)


def test_this_pair():
    assert outpost_hub.versions.check_pair(version("jupyterhub"), version("jupyterhub-outpostspawner")) is None


@pytest.mark.skipif(version("jupyterhub") >= "6", reason="the newest client works with JupyterHub 6")
def test_newest_client_on_the_older_hub():
    """An unpinned `pip install jupyterhub-outpostspawner` installs a client that JupyterHub 5 cannot import."""
    paths = [os.environ["NEWEST_CLIENT"], str(Path(outpost_hub.__file__).parent.parent)]
    env = {**os.environ, "PYTHONPATH": ":".join(paths)}
    plain = subprocess.run([sys.executable, "-c", "import outpostspawner"], env=env, capture_output=True, text=True)
    assert "ServerSpawnFailureReason" in plain.stderr, "the client works now: the pair need not be refused"
    ours = subprocess.run([sys.executable, "-c", "import outpost_hub"], env=env, capture_output=True, text=True)
    assert ours.returncode != 0
    assert GOOD in ours.stderr and "ServerSpawnFailureReason" not in ours.stderr
