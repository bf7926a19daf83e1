"""One long answer of an outpost in place of a poll for each server."""

import asyncio
import collections
import random
import time
import weakref

from traitlets.log import get_logger

from .catalog import WrongShape, parse_maintenance
from .client import request_to
from .curl import Curl
from .services import MAX_LINE, Services, TooMany, key

SILENT_SECONDS = 30  # without a line, after which polls are sent; the outpost sends one every 10 s
LOOK_SECONDS = 5  # between two looks at that
FIRST_SECONDS = 5  # that polls wait for the first snapshot, as after a restart of the hub
MAX_UNREAD = 32 * 1024 * 1024  # bytes of an answer; a snapshot of MAX_SERVICES has less
KNOWN_SECONDS = 60  # between two reports of the services that this hub has asked about
KNOWN_AT_ONCE = 1000  # services in one report
PAUSE_SECONDS = 60  # at most, before another attempt
LONG_PAUSE_SECONDS = 600  # before an outpost is asked again that has no watch, or not one that can be used


class Chunks:
    """Parts of an answer that have not been read yet, in a bounded part of the hub's memory."""

    def __init__(self):
        self.waiting, self.size = collections.deque(), 0
        self.some = asyncio.Event()

    def put(self, data):
        self.size += len(data)
        if self.size <= MAX_UNREAD:
            self.waiting.append(data)
        self.some.set()

    async def get(self):
        """Returns the next part. TooMany if more has arrived than is kept."""
        await self.some.wait()
        if self.size > MAX_UNREAD:
            raise TooMany("the outpost sends more than the hub can read")
        data = self.waiting.popleft()
        self.size -= len(data)
        if not self.waiting:
            self.some.clear()
        return data


class Watch:
    """Watches the servers of one system, as long as it has any.

    It answers "runs" from what the outpost has said. An end is never taken from it: the spawner polls at once, and the
    answer to that poll counts, with its exit code and log.
    """

    def __init__(self, system, client):
        """Needs the event loop. `client` is called for the Client of the system at the moment."""
        self.system, self.client = system, client
        self.services = Services(self._announced)
        self.last = None  # time of the last line of the present answer
        self.refusal = b""  # what came in place of it, or its beginning
        self.heard = None  # time of the last line after a complete snapshot
        self.first = asyncio.Event()  # the first attempt has got its snapshot, or has failed
        self.spawners = weakref.WeakValueDictionary()  # by key
        self.asked = set()  # keys, since the last report
        self.reported = time.monotonic()
        self.task = None
        self.polls = {}  # tasks, by key
        self.owed = set()  # keys of servers of which a line has come since their latest poll

    def follow(self, spawner):
        """Watches a server from now on, until it is forgotten."""
        self.spawners[key(spawner.name, spawner.start_id)] = spawner
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._run())

    def forget(self, spawner):
        self.spawners.pop(key(spawner.name, spawner.start_id), None)

    async def runs(self, spawner):
        """Reports whether the outpost says that a server runs. If not, it must be asked."""
        self.follow(spawner)
        if not self.first.is_set():
            try:
                await asyncio.wait_for(self.first.wait(), FIRST_SECONDS)
            except asyncio.TimeoutError:
                self.first.set()
        return self.knows(spawner)

    def knows(self, spawner):
        """Reports whether the outpost has said that a server runs, and is still heard."""
        self.follow(spawner)
        asked = key(spawner.name, spawner.start_id)
        if self.heard is None or time.monotonic() - self.heard > SILENT_SECONDS or asked not in self.services.running:
            return False
        self.asked.add(asked)
        return True

    async def _run(self):
        failures = 0
        while self.spawners:
            begun = time.monotonic()
            try:
                await self._answer()
                return
            except Exception as e:
                failures = 0 if time.monotonic() - begun > PAUSE_SECONDS else failures + 1
                pause = min(2**failures, PAUSE_SECONDS)
                # What is in front of an outpost may answer 404 for a moment.
                if isinstance(e, TooMany) or getattr(e, "code", 0) in (404, 405) and b'"detail"' in self.refusal:
                    pause = LONG_PAUSE_SECONDS
                get_logger().info(f"{self.system.name} - not watched, servers are polled: {e}")
            self.first.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1))

    async def _answer(self):
        """Reads one answer until it ends or there is no server anymore. Raises whatever has ended it."""
        self.services.begin()
        status, chunks, self.refusal = [], Chunks(), b""
        self.last = time.monotonic()

        def header(line):
            if line.startswith("HTTP/"):
                status[:] = line.split()[1:2]

        def chunk(data):
            if status == ["200"]:
                chunks.put(data)
            elif not self.refusal:
                self.refusal = data[:MAX_LINE]

        # A client of its own: a place is not taken from requests, and options of the request stay with it.
        http = Curl(force_instance=True, max_clients=1, max_body_size=2**62)
        request = request_to(
            self.system, "watch", connect_timeout=10, request_timeout=0, follow_redirects=False,
            decompress_response=False, header_callback=header, streaming_callback=chunk,
        )  # fmt: skip
        answer, reader = http.fetch(request), asyncio.ensure_future(self._read(chunks))
        try:
            while self.spawners:
                await asyncio.wait({answer, reader}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if reader.done():
                    reader.result()
                if answer.done():
                    answer.result()
                    raise ConnectionError("the outpost has ended the watch")
                if time.monotonic() - self.last > SILENT_SECONDS:
                    raise ConnectionError("the outpost is silent")
                if time.monotonic() - self.reported > KNOWN_SECONDS:
                    await self._report()
        finally:
            reader.cancel()
            http.give_up(request)
            http.close()

    async def _read(self, chunks):
        """Reads what arrives, for at most half of the hub's time. Raises ValueError for what is not a watch's."""
        while True:
            data = await chunks.get()  # of curl, at most 16 KiB
            begun = time.monotonic()
            for service in self.services.take(data):
                self._poll(service)
            if b"\n" in data:
                self.last = time.monotonic()
                if self.services.complete:  # until then, what it has known may be of long ago
                    self.heard = self.last
                    self.first.set()
            await asyncio.sleep(time.monotonic() - begun)

    def _announced(self, maintenance):
        try:
            self.system.catalogs.announced(parse_maintenance(maintenance))
        except WrongShape:
            pass  # of a later outpost; the watch is about services

    def _poll(self, service):
        """Lets JupyterHub look at a server now, as it does from time to time."""
        if service in self.spawners:
            self.owed.add(service)
            if service not in self.polls:
                self.polls[service] = asyncio.get_running_loop().create_task(self._poll_now(service))
                self.polls[service].add_done_callback(lambda _: self.polls.pop(service))

    async def _poll_now(self, service):
        while service in self.owed:
            spawner = self.spawners.get(service)
            if spawner is not None and spawner.look is not None and not spawner.look.done():
                await asyncio.wait({spawner.look})  # it may have asked before the line came
                continue
            self.owed.discard(service)
            if spawner is None:
                continue
            if spawner.ready or spawner.early_end or spawner._waiting_for_response:
                try:
                    await spawner.poll_and_notify()
                except Exception:
                    spawner.log.exception(f"{spawner._log_name} - cannot poll")

    async def _report(self):
        """Tells the outpost which services this hub still knows, as polls do."""
        self.reported = time.monotonic()
        asked, self.asked = sorted(self.asked), set()
        for i in range(0, len(asked), KNOWN_AT_ONCE):
            known = asked[i : i + KNOWN_AT_ONCE]
            try:
                question = {"services": [service.rsplit("/", 1) for service in known]}
                request = request_to(self.system, "watch/known", question, request_timeout=10, connect_timeout=10)
                client = self.client()
                await client.fetch(request, "other", client.turn("other"))
            except Exception as e:  # the watch goes on, and they are told the next time
                self.asked.update(known)
                get_logger().warning(f"{self.system.name} - cannot tell which servers are known: {e}")
