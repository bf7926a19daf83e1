"""Requests to the outpost of one system."""

import asyncio
import json

from tornado.httpclient import HTTPRequest

from .curl import Curl, trust_anew
from .metrics import REQUESTS, WAITED, result_of
from .places import Places

WAIT_SECONDS = 3  # between two looks at how many requests are before one that waits

MAX_STARTS = 500  # under way at once, for a hub without a limit of its own
STOPS = 64
POLLS = 16
CATALOGS = 8
OTHERS = 4


def request_to(system, path, question=None, **options):
    """Returns a request of this hub's own, for a path beside that of services: with a question a POST of it as JSON.

    `options` are those of tornado's HTTPRequest. Raises StartError if there is no password for the system.
    """
    headers = {"Authorization": system.authorization()}
    if question is not None:
        headers["Content-Type"] = "application/json"
        options |= {"method": "POST", "body": json.dumps(question)}
    url = f"{system.url.rpartition('/')[0]}/{path}"
    return HTTPRequest(url, headers=headers, prepare_curl_callback=trust_anew, **system.trust(), **options)


class Client:
    """The HTTP client of one system. Starts, stops, polls, catalogs and all other requests have places of their own."""

    def __init__(self, system, starts, defaults=None):
        """Needs the event loop. `starts` is how many may be under way at once at `system`, 0 for MAX_STARTS."""
        self.system = system  # its name
        self.places = {
            "start": Places(starts or MAX_STARTS),
            "stop": Places(STOPS),
            "poll": Places(POLLS),
            "catalog": Places(CATALOGS),
            "other": Places(OTHERS),
        }
        count = sum(places.count for places in self.places.values())
        self.http = Curl(force_instance=True, max_clients=count, defaults=defaults)

    def turn(self, kind):
        return self.places[kind].turn()

    async def fetch(self, request, kind, turn, waits=None):
        """Sends a request of a kind when its turn has come, and returns the response.

        While it waits, `waits` is told how many are before it. Raises TurnLeft if the turn is left meanwhile, and the
        errors of tornado's client.
        """
        error = None
        try:
            while not turn.over.is_set():
                if waits:
                    waits(turn.before())
                await turn.wait(WAIT_SECONDS)
            if not turn.holds:
                raise TurnLeft("it has been stopped before its turn came")
            WAITED.labels(self.system, kind).observe(turn.waited)
            return await self.http.fetch(request)
        except BaseException as e:
            error = e
            if isinstance(e, asyncio.CancelledError):
                self.http.give_up(request)
            raise
        finally:
            REQUESTS.labels(self.system, kind, result_of(error)).inc()
            turn.leave()


class TurnLeft(Exception):
    """A request has not been sent, because nobody needs it anymore."""
