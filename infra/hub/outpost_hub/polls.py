"""Polls of the servers of one system, from time to time."""

import asyncio
import random
import time

LOOK_SECONDS = 0.5  # between two looks at which polls are due


class Polls:
    """Polls servers at their intervals, all in one loop.

    Most polls of a system that is watched have nothing to do. JupyterHub would have a timer for each server and a task
    for each poll, which for 1,000 servers take more than 1 % of a processor.
    """

    def __init__(self):
        self.timers = set()
        self.tasks = set()  # of polls under way
        self.task = None

    def begin(self, spawner, seconds):
        """Polls a server about every `seconds`. Returns its Timer. Needs the event loop."""
        timer = Timer(self, spawner, seconds)
        self.timers.add(timer)
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._run())
        return timer

    async def _run(self):
        while self.timers:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for timer in [t for t in self.timers if t.due <= now]:
                timer.next(now)
                try:
                    if timer.spawner.runs_unseen():
                        continue
                except Exception:
                    timer.spawner.log.exception(f"{timer.spawner._log_name} - cannot tell whether it runs")
                poll = asyncio.get_running_loop().create_task(self._poll(timer.spawner))
                self.tasks.add(poll)
                poll.add_done_callback(self.tasks.discard)

    async def _poll(self, spawner):
        try:
            await spawner.poll_and_notify()
        except Exception:
            spawner.log.exception(f"{spawner._log_name} - cannot poll")


class Timer:
    """When a server is polled next. JupyterHub stops it."""

    def __init__(self, polls, spawner, seconds):
        self.polls, self.spawner, self.seconds = polls, spawner, seconds
        self.next(time.monotonic())

    def next(self, now):
        # After a restart of the hub, all servers would be polled at the same moments.
        self.due = now + self.seconds * random.uniform(0.75, 1.25)

    def stop(self):
        self.polls.timers.discard(self)
