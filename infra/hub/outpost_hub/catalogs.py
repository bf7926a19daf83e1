"""The catalogs of one outpost: what it is asked, and what it has answered last."""

import asyncio
import collections
import time
from dataclasses import dataclass, replace

from tornado.httpclient import HTTPClientError
from traitlets.log import get_logger

from .catalog import Catalog, WrongShape, parse
from .client import request_to
from .errors import TELL_ADMINS, StartError

ASK_SECONDS = 1  # for which a form or a start waits; all systems are asked side by side
REQUEST_SECONDS = 5  # for the answer: one that comes too late for a form is there for the next one
NONE_SECONDS = 60  # before an outpost is asked again that has no catalog
NO_CONNECTION = (502, 504, 599)  # answers of a proxy, such as the tunnels, or of nobody
MAX_CATALOG = 256 * 1024  # bytes of an answer
MAX_KEPT = 4 * 1024 * 1024  # bytes of the last answers of one system
MAX_ANSWERS = 1000  # kept of one system, each for one user with their groups


@dataclass(frozen=True)
class Answer:
    """What is known of a system for one user.

    `catalog` is None if nothing is known. If `fault` is not "", it says why the outpost has not answered now, and the
    catalog is that of `time`.
    """

    catalog: Catalog | None = None
    time: float = 0  # seconds since the epoch
    fault: str = ""
    away: float | None = None  # the time since which the outpost has not been reached
    waits: bool = False  # for an outpost that dials out, which was seen last at `away`, None for never


class Kept:
    """The last good answers, in a bounded part of the hub's memory. Those that were not needed for longest go first."""

    def __init__(self, answers=MAX_ANSWERS, size=MAX_KEPT):
        self.most, self.room = answers, size
        self.answers = collections.OrderedDict()  # (time, bytes) by key

    def put(self, key, body, now):
        self.drop(key)
        self.answers[key] = (now, body)
        self.room -= len(body)
        while self.room < 0 or len(self.answers) > self.most:
            self.drop(next(iter(self.answers)))

    def drop(self, key):
        if key in self.answers:
            self.room += len(self.answers.pop(key)[1])

    def get(self, key):
        """Returns time and bytes of an answer, None if there is none."""
        if key in self.answers:
            self.answers.move_to_end(key)
        return self.answers.get(key)


class _Body:
    """The body of an answer as it arrives, in at most MAX_CATALOG bytes."""

    def __init__(self):
        self.parts, self.size = [], 0
        self.too_large = asyncio.Event()

    def take(self, data):
        self.size += len(data)
        if self.size > MAX_CATALOG:
            self.parts.clear()
            self.too_large.set()
        else:
            self.parts.append(data)


class Catalogs:
    """Asks one outpost what its users may start."""

    def __init__(self, system):
        self.system = system
        self.kept = Kept()
        self.tasks = {}  # requests under way, by key
        self.none_until = 0  # the outpost has no catalog, until it is asked again
        self.no_flavors = False  # by its last answer, starts need none
        self.fault, self.away, self.waits = "", None, False  # as in Answer
        self.maintenance = ()  # the Maintenance that was announced last, or None; empty if nothing was said
        self.had = {}  # by name of a flavor of the data: the key of the question to which it was offered last
        self.lacking = []  # names of those that nobody is offered, as logged last
        self.seen = set()  # names of those that somebody has had

    async def of(self, key, question, client):
        """Returns the Answer to a question, after at most ASK_SECONDS.

        `question`, a coroutine function, is called for the body of the request, and `client` for a Client, if it is to
        be asked. Whatever has the same key is the same question.
        """
        if time.monotonic() < self.none_until:
            return Answer()
        if key not in self.tasks:
            self.tasks[key] = asyncio.ensure_future(self._ask(key, question, client))
            self.tasks[key].add_done_callback(lambda _: self.tasks.pop(key))
        task = self.tasks[key]
        await asyncio.wait({task}, timeout=ASK_SECONDS)
        if task.done():
            return task.result()
        if not self.fault:
            await self._note_wait()
        return self._last(key, self.fault or f"{self.system.display_name} has not answered in time.")

    async def _ask(self, key, question, client):
        try:
            body = await self._fetch(await question(), client())
            catalog = parse(body)
        except HTTPClientError as e:
            if e.code in (404, 405):
                self.none_until = time.monotonic() + NONE_SECONDS
                self._set_fault("")
                return Answer()
            reason, fault = f"status {e.code}", f"{self.system.display_name} does not say what it offers at the moment."
            if e.code == 599:
                reason, fault = str(e), f"{self.system.display_name} cannot be reached at the moment."
            elif e.code == 401:
                fault = f"{self.system.display_name} does not accept the hub's password. {TELL_ADMINS}"
            if e.code not in NO_CONNECTION or not await self._note_wait():
                self._set_fault(fault, reason, away=e.code == 599)
        except WrongShape as e:
            self._set_fault(f"This hub cannot read what {self.system.display_name} offers. {TELL_ADMINS}", str(e))
        except StartError as e:
            self._set_fault(e.jupyterhub_message, "no password")
        except Exception as e:
            # A form or a start must not fail for it, whatever it is.
            fault = f"{self.system.display_name} cannot be reached at the moment."
            self._set_fault(fault, f"{type(e).__name__}: {e}", away=True)
        else:
            self._set_fault("")
            self.no_flavors = catalog.flavors is None
            now = time.time()
            self.kept.put(key, body, now)
            if catalog.denied is None:  # else it says nothing of it
                self.announced(catalog.maintenance)
                self._note_lacking(key, catalog)
            return Answer(catalog, now)
        return self._last(key, self.fault)

    def announced(self, maintenance):
        """Notes what the outpost announces, a Maintenance or None, for answers that it does not give any more."""
        self.maintenance = (maintenance,)

    def _note_lacking(self, key, catalog):
        """Logs, once at each change, which flavors of the data nobody who has asked is offered.

        The catalog of one user does not tell what the outpost has: groups, and rules for users, keep flavors from some.
        """
        by_hand = self.system.flavors
        offered = by_hand if catalog.flavors is None else {flavor.name for flavor in catalog.flavors}
        for name in by_hand:
            if name in offered:
                self.had[name] = key
                self.seen.add(name)
            elif self.had.get(name) == key:
                del self.had[name]
        gone = {name: f"{name} (withdrawn)" for name in self.seen}
        lacking = [gone.get(name, name) for name in by_hand if name not in self.had]
        if lacking == self.lacking:
            return
        self.lacking = lacking
        if lacking:
            names = ", ".join(lacking)
            get_logger().warning(
                f"{self.system.name} - its outpost offers these `flavors` of the hub's data to nobody who has asked, "
                f"so that they are not shown: {names}"
            )
        elif by_hand:
            get_logger().info(f"{self.system.name} - its outpost offers all `flavors` of the hub's data")

    def _last(self, key, fault):
        kept = self.kept.get(key)
        if kept is None:
            return Answer(fault=fault, away=self.away, waits=self.waits)
        at, body = kept
        catalog = parse(body)
        if self.maintenance and catalog.denied is None:
            catalog = replace(catalog, maintenance=self.maintenance[0])
        return Answer(catalog, at, fault, self.away, self.waits)

    def _set_fault(self, fault, reason="", away=False):
        if fault and fault != self.fault:
            get_logger().warning(f"{self.system.name} - no catalog: {reason}")
        self.fault, self.waits = fault, False
        self.away = (self.away or time.time()) if away else None

    async def _note_wait(self):
        """Notes that an outpost which dials out is not connected. Reports whether that is so."""
        if not self.system.dials_out or not await self.system.tunnels.waits():
            return False
        self._set_fault(f"{self.system.display_name} is not connected to this hub.", "the outpost is waited for")
        self.away, self.waits = self.system.tunnels.last_seen or None, True
        return True

    async def _fetch(self, question, client):
        """Returns the bytes of an answer. Raises WrongShape for one that is too large."""
        body = _Body()
        request = request_to(
            self.system, "catalog", question, connect_timeout=REQUEST_SECONDS, request_timeout=REQUEST_SECONDS,
            follow_redirects=False, decompress_response=False, streaming_callback=body.take,
        )  # fmt: skip
        answer = asyncio.ensure_future(client.fetch(request, "catalog", client.turn("catalog")))
        too_large = asyncio.ensure_future(body.too_large.wait())
        try:
            await asyncio.wait({answer, too_large}, return_when=asyncio.FIRST_COMPLETED)
            if body.size > MAX_CATALOG:
                raise WrongShape(f"it has more than {MAX_CATALOG} bytes")
            await answer
        finally:
            answer.cancel()  # gives the request up, if it is still under way
            too_large.cancel()
        return b"".join(body.parts)
