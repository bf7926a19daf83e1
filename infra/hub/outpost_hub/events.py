"""What servers report while they start, and what outposts have to say to users of servers that run."""

import asyncio
import json
from hmac import compare_digest

from jupyterhub.apihandlers import APIHandler
from jupyterhub.utils import compare_token
from tornado import web

from .received import safe_event

EVENT_ROUTES = (r"/api/users/progress/events/([^/]+)", r"/api/users/progress/events/([^/]+)/([^/]+)")

MAX_BODY = 256 * 1024  # bytes of an event, as it is sent


class Events(APIHandler):
    """Receives the events of a start. They come from the server or its outpost, which both have the server's token.

    No other credentials are accepted: permission to open a server is not permission to report for it.
    """

    _accept_cookie_auth = False

    async def post(self, user_name, server_name=""):
        self.set_header("Cache-Control", "no-cache")
        spawner = self.own_spawner(user_name, server_name or "")
        event = self.event()
        self.set_status(204)
        if spawner.pending == "stop" or spawner.already_stopped:
            return
        if event.get("notice") is True:
            spawner.keep_notice(event)
        elif event.get("failed"):
            await self.end(spawner, safe_event(event))
        elif not spawner.keep_event(event):
            raise web.HTTPError(400, "The event is empty, or this start has reported too many.")

    def own_spawner(self, user_name, server_name):
        """Returns the spawner whose token the request carries.

        All other requests get the same answer, so that it does not reveal which users and servers exist.
        """
        token = self.get_auth_token()
        user = self.find_user(user_name) if token and self.current_user else None
        if user is not None and server_name in user.spawners:
            spawner = user.spawners[server_name]
            if _is_token_of(spawner, token):
                return spawner
        raise web.HTTPError(403, "Only the server itself can report its events.")

    def event(self):
        """Returns the body as a dict. Neither the log nor an answer repeats any part of it."""
        if len(self.request.body) > MAX_BODY:
            raise web.HTTPError(413, f"An event must have at most {MAX_BODY} bytes.")
        try:
            event = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise web.HTTPError(400, "An event must be a JSON object.")
        return event

    async def end(self, spawner, event):
        """Stops a server, or cancels its start, that has reported its failure."""
        if spawner.pending and any(e.get("failed") for e in spawner.events):
            return  # this start is being cancelled
        spawner.last_event = event
        if spawner.pending:
            spawner.events.append(event)
            # The progress page looks for events at this interval, and a start takes a moment to be cancelled.
            await asyncio.sleep(spawner.yield_wait_seconds)
            if spawner._spawn_future:
                spawner._spawn_future.cancel()
            await asyncio.sleep(spawner.yield_wait_seconds)
        elif await spawner.poll_and_notify() is not None:
            return  # it had ended already, and the hub has been notified
        if spawner.active and not spawner.pending:
            await self.stop_single_user(spawner.user, spawner.name)


def _is_token_of(spawner, token):
    """Reports whether a token is that of a server.

    JupyterHub keeps no more of it over a restart than a hash, which is the secret of the server's OAuth client.
    """
    if spawner.api_token:
        return compare_digest(spawner.api_token.encode(), token.encode())
    client = spawner.orm_spawner.oauth_client
    if client is None or not client.secret or not compare_token(client.secret, token):
        return False
    spawner.api_token = token
    return True
