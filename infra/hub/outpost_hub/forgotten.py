"""Services of servers that this hub does not have: its database was lost, or is older, or a stop was not complete."""

import asyncio
import re
import time

import sqlalchemy as sa
from jupyterhub import orm
from kubernetes.client import ApiException
from traitlets.log import get_logger

from .claims import ports_of
from .cluster import cluster_error, connected, delete_service, in_thread, list_services, own_namespace
from .owner import TUNNELS, is_another, own, owner_of
from .running import begin_in_background, configured, running_hub

LOOK_SECONDS = 600  # between two looks
FORGOTTEN_SECONDS = 3600  # for which a Service is of no server, before it is removed


class Forgotten:
    """Removes such Services, each of which holds a port of the tunnels.

    Where another hub uses the same tunnels, by mistake, it removes those alone that say that this hub has made them:
    Services of earlier versions say nothing.

    This process has found each of them to be of no server for FORGOTTEN_SECONDS: a hub that has just been given a wrong
    database removes none. One that is removed too many is made again when the hub starts with the right one.
    """

    def __init__(self, tunnels, prefix):
        self.tunnels = tunnels  # the TunnelsSettings
        self.name = re.compile(rf"{re.escape(prefix)}-[0-9]+(-.*)?")  # of all Services that this hub makes
        self.since = {}  # time when a Service was first found, by its UID
        self.task = None

    def begin_with_hub(self):
        """Looks from now on."""
        self.task = begin_in_background(self._run)

    async def _run(self):
        said = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            app = running_hub()
            if app is not None:
                said = await self._look_and_say(app, said)

    async def _look_and_say(self, app, said):
        """Looks, and logs what keeps Services. Returns it, "" for nothing; `said` is what the look before has found."""
        try:
            others = await self._look(app)
            why = f"{', '.join(map(str, others))} use these tunnels too. Give each hub its own" if others else ""
        except sa.exc.SQLAlchemyError as e:
            app.db.rollback()
            why = f"the hub's database: {e}"
        except Exception as e:
            why = cluster_error(e)
        if why and why != said:
            get_logger().warning(f"outposts - Services of servers that this hub does not have stay for now: {why}")
        return why

    async def _look(self, app):
        """Returns the other hubs that have Services of these tunnels."""
        namespace, label = _namespace(app), f"{TUNNELS}={self.tunnels.name}"
        there, others = await in_thread(self._list, namespace, label)
        known, unknown = _known(app), {}
        for service in there:
            meta = service["metadata"]
            if self._may_go(meta) and meta["name"] not in known and _is_mine(service, namespace, others):
                unknown[meta["uid"]] = service
        now, refused = time.monotonic(), None
        self.since = {uid: self.since.get(uid, now) for uid in unknown}
        for uid, service in unknown.items():
            if now - self.since[uid] >= FORGOTTEN_SECONDS:
                try:
                    await self._remove(app, namespace, service)
                except ApiException as e:
                    refused = e  # it must not keep the others, at this look and at each that follows
        if refused:
            raise refused
        return others

    def _list(self, namespace, label):
        """Returns all Services of the tunnels, and the other hubs that have made some."""
        there = list_services(connected(), namespace, label)
        owners = sorted({_owner(service) for service in there})
        return there, [owner for owner in owners if is_another(connected(), namespace, owner)]

    def _may_go(self, meta):
        """Reports whether a Service has a name as this hub gives, and is not being deleted yet."""
        return self.name.fullmatch(meta["name"]) and not meta.get("deletionTimestamp")

    async def _remove(self, app, namespace, service):
        name, uid = service["metadata"]["name"], service["metadata"]["uid"]
        if name in _known(app):
            return  # it has been started meanwhile
        # One that is started from now on waits for the end of this, or it might take this Service over.
        removal = asyncio.ensure_future(in_thread(lambda: delete_service(connected(), namespace, name, uid)))
        self.tunnels.removals[name] = removal
        try:
            await removal
        finally:
            del self.tunnels.removals[name]
        for port in ports_of([service]):
            self.tunnels.hold(port)
        get_logger().warning(f"outposts - removed Service {name}: this hub has had no such server for some time")


def _owner(service):
    return owner_of(service["metadata"].get("annotations"))


def _is_mine(service, namespace, others):
    """Reports whether a Service is this hub's, which alone uses these tunnels if there are no `others`.

    One that names a hub but not its namespace is of an earlier version: hubs of other namespaces may have made it, if
    those have Services here.
    """
    owner, mine = _owner(service), own()
    if owner.name and owner == mine._replace(namespace=""):
        return mine.namespace in ("", namespace) and mine.name not in [other.name for other in others]
    return not others or owner == mine


def _known(app):
    """Returns the names of the Services of servers that run, start or stop."""
    rows = app.db.execute(sa.select(orm.Spawner.user_id, orm.Spawner.name).where(orm.Spawner.server_id.is_not(None)))
    return {app.users[user_id].spawners[name].svc_name for user_id, name in rows}


def _namespace(app):
    """Returns the namespace that spawners have, by the configuration of their class."""
    return configured(app.spawner_class, app.config, "namespace") or own_namespace()
