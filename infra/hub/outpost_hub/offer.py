"""What a system offers one user: what its outpost says, within what this hub's settings allow."""

import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase

from .catalog import Use
from .catalogs import Answer
from .errors import StartError
from .login import PASSWORD, USERNAME, registry_of
from .settings import FLAVOR_NAME

UNLISTED = "--unlisted-choice"  # after an option's name, in the name of a value of the user's own
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([KMGTP])i?")  # of Kubernetes, as sizes of homes are written
OWN_IMAGE = "image"
PLAIN = {"system", "flavor"}  # a start with no other options can be sent before the outpost has said what it offers
# Options of every start, whatever a profile calls its own.
RESERVED = ("system", "flavor", "profile", "start_id", USERNAME, PASSWORD)


@dataclass(frozen=True)
class Refusal:
    """Why a start is refused. `words` are strings and times, to be shown one after the other."""

    words: tuple
    status: int  # of HTTP

    def error(self):
        return StartError(plain(self.words), self.status)


@dataclass(frozen=True)
class OfferedFlavor:
    """A flavor as this user sees it. `use` has the numbers in words, "" if there are none."""

    name: str
    display_name: str
    description: str = ""
    used: int | None = None  # None if it is not known
    limit: int | None = None  # None if there is none
    use: str = ""
    default: bool = False
    refusal: Refusal | None = None


def clock(when):
    """Returns a time in words, with the day if it is not today. Servers and users have other time zones: it is UTC."""
    day = "" if when.date() == datetime.now(timezone.utc).date() else f"{when:%Y-%m-%d} "
    return f"{day}{when:%H:%M} UTC"


def plain(words):
    return "".join(word if isinstance(word, str) else clock(word) for word in words)


def options_of(profile):
    """Returns the options of a profile that a start can set, () for None."""
    return tuple(option for option in profile.options if option.name not in RESERVED) if profile else ()


def moment(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc)


class Offer:
    """A system and what one user may start there at the moment. Without a catalog, that is what the settings say."""

    def __init__(self, system, answer=Answer()):
        self.system, self.answer, self.catalog = system, answer, answer.catalog
        self.flavors = {flavor.name: flavor for flavor in self._flavors()}
        self.listed = bool(system.flavors) or self._says("flavors") is not None  # no other flavor is accepted
        said = self._says("profiles")
        self.profiles = {profile.name: profile for profile in (system.profiles if said is None else said)}
        self.knows_profiles = said is not None or bool(system.profiles)
        self.images, self.registries = self._says("images") or (), self._says("registries") or ()
        self.home, self.shared = self._says("home"), self._says("shared") or ()
        self.use = self._says("hub") or Use(0, None)  # of all users of this hub
        self.flavor = self._default_flavor()
        self.refusal = self._refusal()

    def _says(self, key):
        return getattr(self.catalog, key) if self.catalog else None

    @property
    def unheard(self):
        """Reports whether the outpost was asked and has not answered, and nothing is known from before."""
        return self.catalog is None and bool(self.answer.fault)

    @property
    def hidden(self):
        """Reports whether this user need not see the system."""
        return self._says("denied") == ""

    # Flavors.

    def _flavors(self):
        by_hand, said = self.system.flavors, self._says("flavors")
        if said is None:
            return [OfferedFlavor(f.name, f.display_name, f.description) for f in by_hand.values()]
        said = {flavor.name: flavor for flavor in said if FLAVOR_NAME.fullmatch(flavor.name)}
        # Both lists are limits: what the hub's operator has left out is not offered, whatever the outpost has.
        return [self._flavor(said[name], by_hand.get(name)) for name in by_hand or said if name in said]

    def _flavor(self, said, by_hand):
        name, description = said.display_name, said.description
        if by_hand:
            name = by_hand.display_name if by_hand.display_name != by_hand.name else name
            description = by_hand.description or description
        use, user = said.use, said.user
        numbers = []
        if use.limit is not None:
            numbers.append(f"{use.used} of {use.limit} in use")
        if user.limit is not None:
            numbers.append(f"you {user.used} of {user.limit}")
        if said.until is not None:
            numbers.append(f"ends at {clock(said.until)}")
        refusal = None
        if said.denied is not None:
            refusal = Refusal((said.denied or f"You may not start flavor {said.name}.",), 403)
        elif not self.answer.fault and (use.full or user.full):  # of long ago, they say nothing about now
            reason = f"You have {user.used} of {user.limit} servers" if user.full else "All of its places are in use"
            refusal = Refusal((f"Flavor {said.name} is full on {self.system.display_name}. {reason}.",), 429)
        return OfferedFlavor(
            said.name, name, description, use.used, use.limit, ", ".join(numbers), said.default, refusal
        )  # fmt: skip

    def _default_flavor(self):
        free = [flavor for flavor in self.flavors.values() if flavor.refusal is None]
        for wanted in (
            lambda flavor: flavor.name == self.system.flavor, lambda flavor: flavor.default, lambda flavor: True,
        ):  # fmt: skip
            for flavor in free:
                if wanted(flavor):
                    return flavor.name
        return None if self.listed else self.system.flavor

    # The system as a whole.

    @property
    def state(self):
        """One word: unknown, away (it has not answered), denied, maintenance, full, or available."""
        if self.answer.fault:
            return "away"
        if self.catalog is None:
            return "unknown"
        return {None: "available", 403: "denied", 503: "maintenance", 429: "full"}[
            self.refusal.status if self.refusal else None
        ]

    @property
    def maintained(self):
        """Reports whether there is a maintenance, now or later."""
        return self._says("maintenance") is not None

    def _refusal(self):
        name = self.system.display_name
        if self.catalog is None:
            return None
        if self.catalog.denied is not None:
            return Refusal((self.catalog.denied or f"You may not start servers on {name}.",), 403)
        if self._maintained():
            return Refusal((f"{name} is in maintenance", *self._maintenance()), 503)
        if self._is_full():
            use = self.use
            return Refusal((f"{name} is full: this hub has {use.used} of {use.limit} servers there.",), 429)
        if self.listed and self.flavor is None:
            refusals = [flavor.refusal for flavor in self.flavors.values()]
            if not refusals:
                return Refusal((f"{name} offers you no flavor.",), 403)
            if len(refusals) > 1 and all(refusal.status == 429 for refusal in refusals):
                return Refusal((f"{name} is full.",), 429)
            return next((refusal for refusal in refusals if refusal.status == 429), refusals[0])
        if self.profiles and all(profile.denied is not None for profile in self.profiles.values()):
            return self._denied(next(iter(self.profiles.values())))
        return None

    def _is_full(self):
        """Reports whether this hub may have no more servers there. An answer of long ago says nothing about now."""
        return self.use.full and not self.answer.fault

    @staticmethod
    def _denied(profile):
        return Refusal((profile.denied or f"You may not start profile {profile.name}.",), 403)

    def _maintained(self):
        planned = self.catalog.maintenance
        if planned is None:
            return False
        # An outpost that answers knows best; one that does not may have come to the beginning or the end of its plan.
        if not self.answer.fault:
            return planned.active
        now = time.time()
        begun = planned.active or planned.begin.timestamp() <= now
        return begun and (planned.end is None or planned.end.timestamp() > now)

    def _maintenance(self):
        planned = self.catalog.maintenance
        until = (" until ", planned.end) if planned.end else ()
        return (*until, f": {planned.text}" if planned.text else ".")

    def notes(self):
        """Returns what to say of the system, most important first: lists of strings and times."""
        notes, away = [], self.answer.away
        if self.answer.waits:
            notes.append(("Waiting for the outpost", *((", last seen ", moment(away)) if away else ()), "."))
        elif away is not None:
            notes.append(("Not reachable since ", moment(away), "."))
        elif self.answer.fault:
            notes.append((self.answer.fault,))
        if self.refusal:
            notes.append(self.refusal.words)
        elif self.catalog and self.catalog.maintenance and not self.catalog.maintenance.active:
            planned = self.catalog.maintenance
            notes.append(("Maintenance from ", planned.begin, *self._maintenance()))
            if planned.evict:
                notes.append(("Servers are stopped when it begins.",))
        if self.use.limit is not None and not self.refusal:
            notes.append((f"{self.use.used} of {self.use.limit} servers in use.",))
        if self.catalog and self.answer.fault:
            notes.append(("What it offered at ", moment(self.answer.time), " is shown."))
        if self.catalog and not notes:
            notes.append(("Available.",))
        return notes

    def keeps(self):
        """Returns what becomes of files there, "" if it is not known."""
        if self.catalog is None or not self.catalog.homes_known or self.catalog.denied is not None:
            return ""
        if self.home is None:
            return "Nothing is kept here: files are gone when the server ends."
        found = QUANTITY.fullmatch(self.home.size)
        size = f"{found[1]} {found[2]}B" if found else self.home.size
        return f"Home: {size}, kept." if size else "Home: kept."

    # A start.

    def profile(self, options):
        """Returns the profile that options name, else the one that a start without takes; None if there is none."""
        named = options.get("profile")
        if isinstance(named, str) and named:
            return self.profiles.get(named)
        free = [profile for profile in self.profiles.values() if profile.denied is None]
        return next((profile for profile in free if profile.default), free[0] if free else None)

    def option_names(self, options):
        """Returns the names of options that a start may set beside those that every start may."""
        names = ["profile"] if self.profiles else []
        profile = self.profile(options)
        for option in options_of(profile):
            names.append(option.name)
            if option.unlisted is not None:
                names.append(option.name + UNLISTED)
        return (*names, OWN_IMAGE) if self.takes_image(profile) else tuple(names)

    def start(self, options):
        """Returns the options of a start with the flavor filled in. StartError if they are refused.

        Each of them is a string already. The outpost decides again.
        """
        if self.refusal and (self.refusal.status != 429 or self._is_full()):
            raise self.refusal.error()
        options = dict(options)
        flavor = options.get("flavor") or self.flavor
        if flavor:
            if self.listed and flavor not in self.flavors:
                available = f"Available flavors: {', '.join(self.flavors)}."
                raise StartError(f"{self.system.display_name} has no flavor {flavor[:63]!r}. {available}", 400)
            if not FLAVOR_NAME.fullmatch(flavor):
                raise StartError("Invalid flavor name.", 400)
            if self.listed and self.flavors[flavor].refusal:
                raise self.flavors[flavor].refusal.error()
            options["flavor"] = flavor
        elif self.refusal:
            raise self.refusal.error()
        self._check_profile(options)
        self._check_image(options)
        return options

    def _check_profile(self, options):
        profile = self.profile(options)
        named = options.get("profile")
        if profile is None:
            if named and self.profiles:
                available = f"Available profiles: {', '.join(self.profiles)}."
                raise StartError(f"{self.system.display_name} has no profile {named[:63]!r}. {available}", 400)
            return
        if profile.denied is not None:
            raise self._denied(profile).error()
        for option in options_of(profile):
            choice, own = options.get(option.name), options.get(option.name + UNLISTED)
            choices = [c.name for c in option.choices]
            if choice and not own and choice not in choices:
                available = f"Available choices: {', '.join(choices)}."
                raise StartError(f"Option {option.name} has no choice {choice[:63]!r}. {available}", 400)

    def takes_image(self, profile):
        """Reports whether a start may name an image of the user's own, as `image`, with a profile or None."""
        return bool(self.images) and not any(option.name == OWN_IMAGE for option in options_of(profile))

    def own_image(self, options):
        """Returns the image of the user's own that options name, "" for none."""
        return options.get(OWN_IMAGE, "") if self.takes_image(self.profile(options)) else ""

    def takes_login(self, profile):
        """Reports whether a start may bring a login for the registry of such an image."""
        return bool(self.registries) and self.takes_image(profile)

    def check_login(self, options, login):
        """Refuses a login that the outpost would not take; None is none."""
        if login is None:
            return
        image, name = self.own_image(options), self.system.display_name
        if not image:
            raise StartError(f"{name} takes a login to a registry only with an image of your own.", 400)
        if login.fault:
            raise StartError(login.fault, 400)
        registry = registry_of(image)
        if not any(fnmatchcase(registry, pattern) for pattern in self.registries):
            allowed = ", ".join(self.registries) or "none"
            raise StartError(f"{name} takes no login to {registry[:63]!r}. Allowed registries: {allowed}.", 400)

    def _check_image(self, options):
        image = self.own_image(options)
        if image and not any(fnmatchcase(image, pattern) for pattern in self.images):
            allowed = ", ".join(self.images)
            raise StartError(f"{self.system.display_name} does not allow this image. Allowed images: {allowed}.", 400)
