"""Reads the values of the Helm release inside the hub pod, under the names of zero-to-jupyterhub."""

from functools import cache
from pathlib import Path

import yaml

ROOT = Path("/usr/local/etc/jupyterhub")


@cache
def _values():
    return yaml.safe_load((ROOT / "secret" / "values.yaml").read_text())


def get_config(key, default=None):
    """The value at `key`, a path with dots; `default` where there is none or it is null."""
    value = _values()
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return default if value is None else value


def get_secret_value(key, default=None):
    """An entry of the chart's Secret."""
    path = ROOT / "secret" / key
    return path.read_text() if path.exists() else default


def get_name(key):
    """The name of one of the chart's objects."""
    return (ROOT / "config" / key).read_text()
