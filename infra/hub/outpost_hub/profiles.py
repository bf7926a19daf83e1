"""Profiles that a hub's data lists by hand, of a Python outpost, which says none.

They are what a form shows of KubeSpawner's profile_list, by the names there. What a profile or a choice sets, and whom
it is for, is known to the outpost alone.
"""

import re

from .catalog import OTHER, Choice, Option, Profile
from .offer import RESERVED, UNLISTED

NAME = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")  # of what a start sends: each is a string that any outpost takes
NAME_WORDS = "a name of printable ASCII characters, at most 256"
PROFILE_KEYS = ("slug", "display_name", "description", "default", "profile_options")
OPTION_KEYS = ("display_name", "choices", "unlisted_choice")
CHOICE_KEYS = ("display_name", "default")
UNLISTED_KEYS = ("enabled", "display_name", "validation_message")


def read_profiles(where, data, faults):
    """Returns the Profiles in a part of the data, in its order."""
    found = tuple(_profile(f"{where}[{i}]", p, faults) for i, p in enumerate(faults.list(where, data)))
    if len({profile.name for profile in found}) != len(found):
        faults.add(where, "a slug is listed twice")
    return found


def _named(where, data, faults):
    """Yields place, name and value of each entry of a map, which may be missing."""
    for name, value in faults.map(where, {} if data is None else data, data).items():
        yield f"{where}.{name}", faults.match(where, name, NAME, NAME_WORDS), value


def _profile(where, data, faults):
    data = faults.map(where, data, PROFILE_KEYS)
    name = faults.match(f"{where}.slug", data.get("slug"), NAME, NAME_WORDS)
    options = list(_named(f"{where}.profile_options", data.get("profile_options"), faults))
    offered = tuple(_option(at, n, o, faults) for at, n, o in options)
    for option in offered:
        other = option.name + UNLISTED
        if any(other == o.name for o in offered):
            words = f"is what a start calls a value of the user's own for {option.name}"
            faults.add(f"{where}.profile_options.{other}", f"{words}; rename one of them at the outpost")
    return Profile(
        name, faults.text(f"{where}.display_name", data.get("display_name"), name),
        faults.text(f"{where}.description", data.get("description"), ""),
        faults.flag(f"{where}.default", data.get("default"), False),
        offered, None,
    )  # fmt: skip


def _option(where, name, data, faults):
    if name in RESERVED:
        faults.add(where, "is an option of every start; give it another name at the outpost")
    data = faults.map(where, data, OPTION_KEYS)
    choices = tuple(_choice(at, n, c, faults) for at, n, c in _named(f"{where}.choices", data.get("choices"), faults))
    unlisted, hint = _unlisted(f"{where}.unlisted_choice", data.get("unlisted_choice"), faults)
    if not choices and unlisted is None:
        faults.add(where, "has neither choices nor an unlisted_choice")
    display_name = faults.text(f"{where}.display_name", data.get("display_name"), name)
    return Option(name, display_name, choices, unlisted, hint)


def _choice(where, name, data, faults):
    data = faults.map(where, data, CHOICE_KEYS)
    display_name = faults.text(f"{where}.display_name", data.get("display_name"), name)
    return Choice(name, display_name, faults.flag(f"{where}.default", data.get("default"), False))


def _unlisted(where, data, faults):
    """Returns the label of a value of the user's own, None if there may be none, and what such a value must be like."""
    if data is None:
        return None, ""
    data = faults.map(where, data, UNLISTED_KEYS)
    if data.get("enabled") is not True:
        faults.add(f"{where}.enabled", "must be true; leave unlisted_choice out where there is none")
    hint = faults.text(f"{where}.validation_message", data.get("validation_message"), "")
    return faults.text(f"{where}.display_name", data.get("display_name"), OTHER), hint
