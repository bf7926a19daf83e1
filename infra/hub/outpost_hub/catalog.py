"""What an outpost says that one user may start there, and how full it is: its answer to `POST /catalog`."""

import json
from dataclasses import dataclass
from datetime import datetime, timezone

from .received import MAX_TEXT, safe_number, safe_text

VERSION = 1
MAX_NAME = 256  # characters of what a start sends
MAX_COUNT = 2**31 - 1
OTHER = "Other"  # what the value of a user's own is called in a form


class WrongShape(ValueError):
    """An answer is not a catalog."""


@dataclass(frozen=True)
class Use:
    """How many servers there are, and how many there may be; a limit is None if there is none."""

    used: int
    limit: int | None

    @property
    def full(self):
        return self.limit is not None and self.used >= self.limit


@dataclass(frozen=True)
class Flavor:
    name: str
    display_name: str
    description: str
    default: bool
    use: Use
    user: Use  # of the user alone
    denied: str | None  # why this user may not start it, None if they may
    until: datetime | None  # when a maintenance would stop it, None if none would


@dataclass(frozen=True)
class Choice:
    name: str
    display_name: str
    default: bool


@dataclass(frozen=True)
class Option:
    """One option of a profile: a list to choose from, a value of the user's own, or both."""

    name: str
    display_name: str
    choices: tuple[Choice, ...]
    unlisted: str | None  # label of the user's own value, None if there may be none
    hint: str  # what such a value must be like


@dataclass(frozen=True)
class Profile:
    name: str
    display_name: str
    description: str
    default: bool
    options: tuple[Option, ...]
    denied: str | None


@dataclass(frozen=True)
class Home:
    size: str  # a quantity of Kubernetes
    mount: str


@dataclass(frozen=True)
class Shared:
    name: str
    mount: str
    read_only: bool


@dataclass(frozen=True)
class Maintenance:
    begin: datetime
    end: datetime | None  # None if it is not known
    text: str
    active: bool  # by the outpost's clock
    evict: bool  # servers that run are stopped when it begins


@dataclass(frozen=True)
class Catalog:
    """All texts are plain text, of limited size. What an outpost does not say is not known: outposts differ."""

    outpost: str  # its version
    denied: str | None  # why this user may start nothing here; "" if they need not see it
    maintenance: Maintenance | None
    homes_known: bool
    home: Home | None  # None: nothing is kept, if homes_known
    shared: tuple[Shared, ...]
    hub: Use  # of all users of this hub, any flavor
    flavors: tuple[Flavor, ...] | None  # None: a start needs none, and any name is accepted
    profiles: tuple[Profile, ...] | None  # None: not known
    images: tuple[str, ...]  # globs of images of the user's own
    registries: tuple[str, ...]  # globs of hosts, to which a start may bring a login for such an image


def parse(body):
    """Returns the Catalog in the bytes of an answer. Raises WrongShape, which says what is wrong, for any other."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise WrongShape("it is not JSON") from e
    if not isinstance(data, dict):
        raise WrongShape("it is not an object")
    answer = _Object(data, "")
    if answer.of(int, "version", None) != VERSION:
        raise WrongShape(f"version is not {VERSION}")
    return Catalog(
        outpost=answer.text("outpost"),
        denied=answer.text("denied", None),
        maintenance=_maintenance(answer.object("maintenance")),
        homes_known="home" in data,
        home=_home(answer.object("home")),
        shared=tuple(Shared(o.name("name"), o.text("mount"), o.flag("readOnly")) for o in answer.objects("shared")),
        hub=_use(answer.object("hub")),
        flavors=_unless_null(data, "flavors", tuple(_flavor(o) for o in answer.objects("flavors"))),
        profiles=_unless_null(data, "profiles", tuple(_profile(o) for o in answer.objects("profiles"))),
        images=tuple(answer.texts("images")),
        registries=tuple(answer.texts("registries")),
    )


def parse_maintenance(data):
    """Returns the Maintenance in a part of an answer, which is decoded JSON. WrongShape if there is none."""
    return _maintenance(_Object({"maintenance": data}, "").object("maintenance"))


def _unless_null(data, key, value):
    return None if data.get(key) is None else value


class _Object:
    """Reads the values of one object of an answer. A key that is missing or null has the default."""

    def __init__(self, data, where):
        self.data, self.where = data, where

    def of(self, kind, key, default):
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise WrongShape(f"{self.where}{key} has a wrong type")
        return value

    def text(self, key, default=""):
        value = self.of(str, key, None)
        return default if value is None else safe_text(value, MAX_TEXT)

    def name(self, key):
        value = self.text(key)
        if not (0 < len(value) <= MAX_NAME and value.isprintable()):
            raise WrongShape(f"{self.where}{key} is not a name")
        return value

    def flag(self, key):
        return self.of(bool, key, False)

    def count(self, key, default):
        value = self.of(int, key, None)
        return default if value is None else safe_number(value, 0, MAX_COUNT)

    def use(self):
        return Use(self.count("used", 0), self.count("limit", None))

    def time(self, key):
        value = self.of(str, key, None)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
        except (ValueError, OverflowError) as e:
            raise WrongShape(f"{self.where}{key} is not a time") from e

    def object(self, key):
        """Returns an _Object, None if there is none."""
        value = self.of(dict, key, None)
        return None if value is None else _Object(value, f"{self.where}{key}.")

    def objects(self, key):
        for i, value in enumerate(self.of(list, key, ())):
            if not isinstance(value, dict):
                raise WrongShape(f"{self.where}{key}[{i}] is not an object")
            yield _Object(value, f"{self.where}{key}[{i}].")

    def texts(self, key):
        for i, value in enumerate(self.of(list, key, ())):
            if not isinstance(value, str):
                raise WrongShape(f"{self.where}{key}[{i}] is not a string")
            yield safe_text(value, MAX_TEXT)

    def named(self, key):
        """Yields name and _Object of each entry of a map."""
        for name, value in self.of(dict, key, {}).items():
            if not isinstance(value, dict) or not (0 < len(name) <= MAX_NAME and name.isprintable()):
                raise WrongShape(f"{self.where}{key} has an entry that is not an object")
            yield safe_text(name, MAX_TEXT), _Object(value, f"{self.where}{key}.{name}.")


def _maintenance(data):
    if data is None:
        return None
    begin = data.time("from")
    if begin is None:
        raise WrongShape("maintenance.from is missing")
    return Maintenance(begin, data.time("until"), data.text("text"), data.flag("active"), data.flag("evict"))


def _use(data):
    return data.use() if data else Use(0, None)


def _home(data):
    return None if data is None else Home(data.text("size"), data.text("mount"))


def _flavor(data):
    name = data.name("name")
    return Flavor(
        name, data.text("display_name") or name, data.text("description"), data.flag("default"), data.use(),
        _use(data.object("user")), data.text("denied", None), data.time("until"),
    )  # fmt: skip


def _profile(data):
    name = data.name("slug")
    return Profile(
        name, data.text("display_name") or name, data.text("description"), data.flag("default"),
        tuple(_option(n, o) for n, o in data.named("profile_options")), data.text("denied", None),
    )  # fmt: skip


def _option(name, data):
    unlisted = data.object("unlisted_choice")
    choices = (Choice(n, o.text("display_name") or n, o.flag("default")) for n, o in data.named("choices"))
    return Option(
        name, data.text("display_name") or name, tuple(choices),
        (unlisted.text("display_name") or OTHER) if unlisted else None,
        unlisted.text("validation_message") if unlisted else "",
    )  # fmt: skip
