"""Stops that an outpost has not taken. JupyterHub forgets a server whatever comes of its stop, and sends no other."""

import asyncio
import random
from urllib.parse import quote

import sqlalchemy as sa
from tornado.httpclient import HTTPClientError, HTTPRequest
from traitlets.log import get_logger

from .errors import StartError, is_gone
from .running import begin_in_background, running_hub

LOOK_SECONDS = 0.5  # between two looks at whether JupyterHub has begun
FIRST_PAUSE = 5  # seconds before a stop is sent again
PAUSE_SECONDS = 60  # at most, after more attempts

# In JupyterHub's database: a hub may end before an outpost is back, and users and servers are removed from its tables.
STOPS = sa.Table(
    "outposts_owed_stops",
    sa.MetaData(),
    sa.Column("system", sa.Unicode(255), primary_key=True),  # its name then
    sa.Column("name", sa.Unicode(255), primary_key=True),
    sa.Column("start_id", sa.Unicode(255), primary_key=True),
)


class OwedStops:
    """Sends stops again, over restarts of the hub too, until their outposts have answered.

    All of them are of starts of this hub that it has given up. What it has not begun, or still knows, is never among
    them: a start has an ID of its own.
    """

    def __init__(self, find, of):
        """`find` returns the System of a name, also of a former one; None if there is none.

        `of` returns that of a spawner, and raises StartError if there is none.
        """
        self.find, self.of = find, of
        self.app = None  # JupyterHub, when it has begun
        self.tasks = {}  # by name of a system
        self.beginning = None

    def begin_with_hub(self):
        """Goes on with what an earlier hub has left, when this one has its database."""
        self.beginning = begin_in_background(self._begin)

    async def _begin(self):
        while not self._begun():
            await asyncio.sleep(LOOK_SECONDS)

    def _begun(self):
        """Reports whether JupyterHub has begun, which is used from then on."""
        if self.app is None and (app := running_hub()):
            self.app = app
            self._load()
        return self.app is not None

    def _load(self):
        """Makes the table, and sends what is in it."""
        try:
            STOPS.create(self.app.db.connection(), checkfirst=True)
            systems = self.app.db.execute(sa.select(STOPS.c.system).distinct()).scalars().all()
            self.app.db.commit()
        except sa.exc.SQLAlchemyError:
            self.app.db.rollback()
            get_logger().exception("outposts - the hub's database does not say which stops are owed")
            return
        for system in systems:
            self._send_soon(system)

    def add(self, spawner):
        """Notes that the server's outpost has not taken its stop."""
        try:
            system = self.of(spawner).name
        except StartError:
            system = (spawner.user_options or {}).get("system")  # it may come back
        stop = {"system": system, "name": spawner.name, "start_id": spawner.start_id}
        if not isinstance(system, str) or not self._begun():
            spawner.log.error(f"{spawner._log_name} - it may run on; its stop is not sent again")
            return
        try:
            if not self.app.db.execute(_one(sa.select(STOPS), stop)).first():
                self.app.db.execute(STOPS.insert().values(**stop))
                self.app.db.commit()
        except sa.exc.SQLAlchemyError:
            self.app.db.rollback()
            spawner.log.exception(f"{spawner._log_name} - it may run on; its stop cannot be noted")
            return
        spawner.log.warning(f"{spawner._log_name} - {stop['system']} has not taken its stop, which is sent again")
        self._send_soon(stop["system"])

    def _send_soon(self, system):
        if system not in self.tasks or self.tasks[system].done():
            self.tasks[system] = asyncio.get_running_loop().create_task(self._send(system))

    async def _send(self, system):
        pause, said = FIRST_PAUSE, ""
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, PAUSE_SECONDS)
            try:
                owed = self.app.db.execute(sa.select(STOPS).where(STOPS.c.system == system)).mappings().all()
                if not owed:
                    return
                await self._send_all(owed)
                continue
            except sa.exc.SQLAlchemyError as e:
                self.app.db.rollback()
                why = f"the hub's database: {e}"
            except Exception as e:
                why = f"{type(e).__name__}: {e}"
            if why != said:
                get_logger().warning(f"{system} - does not take all stops yet: {why}")
            said = why

    async def _send_all(self, owed):
        """Sends stops, and deletes those that are taken. Raises HTTPClientError or StartError if one is not."""
        kept = None
        for stop in owed:
            system = self.find(stop["system"])
            if system is None:
                return  # it may come back
            try:
                await self._stop(system, stop)
            except HTTPClientError as e:
                if e.code == 401 or e.code > 500:
                    raise  # nor would it take the others
                kept = e
                continue
            self.app.db.execute(_one(STOPS.delete(), stop))
            self.app.db.commit()
            get_logger().info(f"outposts - {system.name} has taken the stop of {stop['name']!r}, {stop['start_id']}")
        if kept:
            raise kept

    async def _stop(self, system, stop):
        """Sends a stop, which is taken too if its service is gone. Raises HTTPClientError, and StartError."""
        client = system.client_of_hub(self.app.tornado_settings)
        request = HTTPRequest(
            f"{system.url}/{quote(stop['name'], safe='')}/{quote(stop['start_id'], safe='')}", method="DELETE",
            headers={"Authorization": system.authorization(), "execution-type": "async"}, **system.request_options(),
        )  # fmt: skip
        try:
            await client.fetch(request, "stop", client.turn("stop"))
        except HTTPClientError as e:
            if not is_gone(e):
                raise


def _one(statement, stop):
    return statement.where(*(STOPS.c[key] == stop[key] for key in ("system", "name", "start_id")))
