"""Checks the data, so that one message lists every fault of it, and the names in it."""

import re
from pathlib import Path

from .received import MAX_TEXT

# Patterns of names: plain characters only, because the client puts some of them into a shell command.
SYSTEM_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
PREFIX = re.compile(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?")
SERVER_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?")
FLAVOR_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
SSH_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
SSH_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")
URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")


class Faults:
    """Collects the faults of the data, so that one message lists all of them.

    Each method checks one value and returns it, or a value of the same type if it is invalid.
    """

    def __init__(self):
        self.found = []

    def add(self, where, what):
        self.found.append(f"  {where}: {what}")

    def raise_any(self):
        if self.found:
            raise ValueError("custom.outposts is invalid:\n" + "\n".join(self.found))

    def map(self, where, data, names):
        if not isinstance(data, dict):
            self.add(where, "must be a map")
            return {}
        for name in data:
            if name not in names:
                self.add(f"{where}.{name}", f"unknown key; expected one of: {', '.join(names)}")
        return data

    def match(self, where, value, pattern, what):
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        self.add(where, f"{value!r} is not {what}")
        return ""

    def text(self, where, value, default):
        if value is None or value == "":
            return default
        if isinstance(value, str) and len(value) <= MAX_TEXT:
            return value
        self.add(where, f"must be a string of at most {MAX_TEXT} characters")
        return ""

    def flag(self, where, value, default):
        if value is None:
            return default
        if not isinstance(value, bool):
            self.add(where, "must be true or false")
        return value is True

    def list(self, where, value):
        if value is None or isinstance(value, list):
            return value or []
        self.add(where, "must be a list")
        return []

    def path(self, where, value):
        return self.match(where, value, PATH, "an absolute path of plain characters")

    def file(self, where, value):
        path = self.path(where, value)
        if path and not Path(path).is_file():
            self.add(where, f"file {path} does not exist")
        return path

    def url(self, where, value):
        url = self.match(where, value, URL, "an http(s) URL of plain characters")
        port = URL.fullmatch(url)[1] if url else None
        if port:
            self.port(where, int(port[1:]))
        return url.rstrip("/")

    def count(self, where, value, most):
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most:
            return value
        self.add(where, f"{value!r} is not a number from 1 to {most}")
        return 0

    def port(self, where, value):
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
            return value
        self.add(where, f"{value!r} is not a port, 1 to 65535")
        return 0
