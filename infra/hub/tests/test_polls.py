"""The polls of a system's servers, in one loop."""

import asyncio
from types import SimpleNamespace

import outpost_hub.polls
import pytest
from outpost_hub.polls import Polls


class Server:
    """A spawner that counts its polls."""

    _log_name = "maria:lab"

    def __init__(self, unseen=False, error=None):
        self.unseen, self.error, self.polls, self.asked, self.logged = unseen, error, 0, 0, []
        self.log = SimpleNamespace(exception=self.logged.append)

    def runs_unseen(self):
        self.asked += 1
        if self.error == "asked":
            raise RuntimeError
        return self.unseen

    async def poll_and_notify(self):
        self.polls += 1
        if self.error == "polled":
            raise RuntimeError


@pytest.fixture
def clock(monkeypatch):
    """A clock that every look sets forward by a second."""
    now = SimpleNamespace(seconds=0, pause=asyncio.sleep)

    async def sleep(_):
        now.seconds += 1
        await now.pause(0)

    monkeypatch.setattr(outpost_hub.polls.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(outpost_hub.polls.asyncio, "sleep", sleep)
    return now


def test_polls(clock):
    """Each server has its interval; one of which everything is known is not polled; a fault is that of one server."""

    async def main():
        polls = Polls()
        often, rare, unseen = Server(), Server(), Server(unseen=True)
        wrong = [Server(error="asked"), Server(error="polled")]
        timers = [polls.begin(s, 40 if s is rare else 10) for s in (often, rare, unseen, *wrong)]
        while clock.seconds < 1000:
            await clock.pause(0)
        assert 80 <= often.polls <= 134 and 20 <= rare.polls <= 34
        assert unseen.polls == 0 and 80 <= unseen.asked <= 134
        for server in wrong:
            # The last poll may not have been made yet, of which it is known already that nothing is known.
            assert server.polls > 80 and len(server.logged) - server.polls in (0, 1)
        timers[0].stop()
        timers[0].stop()
        await clock.pause(0)  # for a poll that had begun
        done = often.polls
        while clock.seconds < 1100:
            await clock.pause(0)
        assert often.polls == done
        for timer in timers:
            timer.stop()
        await polls.task
        await clock.pause(0)
        assert not polls.timers and not polls.tasks
        polls.begin(often, 10)  # once more
        while often.polls == done:
            await clock.pause(0)
        polls.task.cancel()

    asyncio.run(main())


def test_servers_are_not_polled_at_the_same_moment(clock):
    async def main():
        polls = Polls()
        timers = [polls.begin(Server(), 100) for _ in range(1000)]
        assert 75 <= min(t.due for t in timers) < 80 and 120 < max(t.due for t in timers) <= 125
        polls.task.cancel()

    asyncio.run(main())
