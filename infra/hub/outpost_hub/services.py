"""The services of a hub, as the lines of a watch tell them."""

import json

MAX_LINE = 64 * 1024  # bytes
MAX_SERVICES = 100_000  # of this hub on one system; a name and its start ID take about 200 bytes
MAX_KEY = 300  # characters of a name and a start ID


def key(name, start_id):
    return f"{name}/{start_id}"


class TooMany(ValueError):
    """A system has more services than this hub keeps."""


class Services:
    """Knows which services run. It knows nothing else of them: for all others, the outpost is asked.

    The lines are those of `GET /watch`: a snapshot that ends with "synced", then changes. What it has known holds until
    the next snapshot is complete.
    """

    def __init__(self, announced=lambda maintenance: None):
        """`announced` is called with what a line says of maintenance, decoded, None for none."""
        self.announced = announced
        self.running = set()  # keys
        self.begin()

    def begin(self):
        """Prepares for the first line of an answer."""
        self.rest = b""
        self.snapshot = set()  # None once it is complete

    @property
    def complete(self):
        return self.snapshot is None

    def take(self, chunk):
        """Reads a part of an answer. Yields keys of services that may run no longer; ValueError for a wrong line."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for line in lines:
            if len(line) > MAX_LINE:
                raise ValueError("a line is too long")
            yield from self._line(line)
        if len(self.rest) > MAX_LINE:
            raise ValueError("a line is too long")

    def _line(self, line):
        try:
            message = json.loads(line)
        except RecursionError as e:
            raise ValueError("a line is too deep") from e
        if not isinstance(message, dict):
            raise ValueError("a line is not an object")
        if "service" in message:
            found = self._key(message["service"])
            if message["service"].get("status", 0) is not None:
                return self._ended(found)
            runs = self.running if self.complete else self.snapshot
            runs.add(found)
            if len(runs) > MAX_SERVICES:
                raise TooMany(f"there are more than {MAX_SERVICES} services")
        elif "gone" in message:
            return self._ended(self._key(message["gone"]))
        elif "unknown" in message:
            found = self._key(message["unknown"])
            if not self.complete and found in self.running:
                self.snapshot.add(found)
        elif "maintenance" in message:
            self.announced(message["maintenance"])
        elif "resync" in message:
            self.snapshot = set()
        elif "synced" in message and not self.complete:
            ended = self.running - self.snapshot
            self.running, self.snapshot = self.snapshot, None
            return ended
        return ()

    def _ended(self, found):
        self.running.discard(found)
        if not self.complete:
            self.snapshot.discard(found)
        return (found,)

    def _key(self, service):
        if isinstance(service, dict):
            name, start_id = service.get("name"), service.get("start_id")
            if isinstance(name, str) and isinstance(start_id, str) and len(name) + len(start_id) < MAX_KEY:
                return key(name, start_id)
        raise ValueError("a service has no name and start_id")
