"""Places for requests: how many may be under way at once, and in which order the others wait."""

import asyncio
import collections
import time


class Places:
    """At most `count` turns have a place at once; the others wait for one in the order in which they were made."""

    def __init__(self, count):
        self.count = count
        self.taken = 0
        self.waiting = collections.deque()

    def turn(self):
        """Returns a Turn, which has its place already if one is free. Whoever asks for it must leave it."""
        turn = Turn(self)
        self.waiting.append(turn)
        self._give()
        return turn

    def _give(self):
        while self.waiting and self.taken < self.count:
            self.taken += 1
            turn = self.waiting.popleft()
            turn.holds = True
            turn.waited = time.monotonic() - turn.begun
            turn.over.set()


class Turn:
    """One turn of Places: it waits, holds a place, or has been left."""

    def __init__(self, places):
        self.places = places
        self.holds = False
        self.over = asyncio.Event()  # the wait
        self.begun = time.monotonic()
        self.waited = 0  # seconds for the place

    def before(self):
        """Returns how many turns have or get a place before this one, which waits."""
        return self.places.taken + self.places.waiting.index(self)

    async def wait(self, seconds):
        """Waits for the place, at most `seconds`. Reports whether the wait is over; the turn may have been left."""
        # asyncio.wait_for would lose a cancellation at the moment at which the wait is over.
        over = asyncio.ensure_future(self.over.wait())
        try:
            await asyncio.wait({over}, timeout=seconds)
        finally:
            over.cancel()
        return self.over.is_set()

    def leave(self):
        """Gives the place back, or stops waiting for it. Calling it again is harmless."""
        if self.holds:
            self.holds = False
            self.places.taken -= 1
            self.places._give()
        elif not self.over.is_set():
            self.places.waiting.remove(self)
        self.over.set()
