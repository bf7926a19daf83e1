"""What the bootstrap installs into the stock image: everything the client requires, and only files with recorded hashes."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HUB = Path(__file__).parent.parent
LISTED = set(re.findall(r"(?m)^([a-z0-9-]+)==", (HUB / "bootstrap.txt").read_text()))
IMAGE = HUB.parent.parent / "images" / "hub" / "common.in"
LEFT_OUT = "rfc3987-syntax"  # of what JupyterHub requires, and so not installed here; the stock image has it


def required(*packages):
    """Returns the packages and everything that they require, as installed here."""
    found, left = set(), [(canonicalize_name(name), {""}) for name in packages]
    while left:
        name, extras = left.pop()
        if name in found or name == LEFT_OUT:
            continue
        found.add(name)
        for requirement in map(Requirement, distribution(name).requires or []):
            if not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                left.append((canonicalize_name(requirement.name), requirement.extras or {""}))
    return found


@pytest.mark.skipif(version("jupyterhub") >= "6", reason="the stock image has JupyterHub 5.5")
def test_the_list_is_complete():
    """pip refuses a required package without a hash, and the hub would not start."""
    image = re.findall(r"(?m)^([a-z][a-z0-9-]+)", IMAGE.read_text())
    stock = required("jupyterhub", *(name for name in image if name != "jupyterhub-forwardbasespawner"))
    assert required("jupyterhub-outpostspawner") - stock <= LISTED


@pytest.mark.parametrize("recorded", [True, False])
def test_only_recorded_files(tmp_path, recorded):
    name = "outposts_probe-1.0"
    wheel = tmp_path / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("outposts_probe.py", "")
        archive.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: outposts-probe\nVersion: 1.0\n")
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes() if recorded else b"another file").hexdigest()
    python = Path(sys._base_executable).parent  # as in the image, not in a virtual environment
    env = {
        "PATH": f"{python}:{os.environ['PATH']}", "HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path),
        "PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_CONFIG_FILE": os.devnull,
    }  # fmt: skip
    command = [
        "sh", "-c", (HUB / "bootstrap.sh").read_text(), "bootstrap", tmp_path / "dest",
        f"outposts-probe==1.0 --hash=sha256:{'0' * 64} --hash=sha256:{digest}",
    ]  # fmt: skip
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert bool(list(tmp_path.glob("dest/**/outposts_probe.py"))) == recorded, said
    # This Python lacks the client, so the last step fails.
    step = "importing the client" if recorded else "installing outposts-probe==1.0 from the Python package index"
    assert f"bootstrap: {step} did not work" in said
