"""`GET /hub/api/outposts`: the systems and how full they are, for portals."""

import asyncio
import json

from jupyterhub.apihandlers import APIHandler
from tornado import web

from .offer import moment, plain

ROUTE = r"/api/outposts"
# JupyterHub lets custom scopes begin with "custom:" only.
SCOPE = "custom:outposts:list"
SCOPES = {SCOPE: {"description": "List outposts, what they offer, and how full they are."}}


class ListOutposts(APIHandler):
    """Answers with an object for each system. Numbers are those of this hub, whoever asks."""

    outposts = None  # the Outposts of this hub, set by configure

    async def get(self):
        if not self.has_scope(SCOPE):
            raise web.HTTPError(403, f"This requires scope {SCOPE}.")
        self.outposts.refresh()
        systems = [system for _, system in sorted(self.outposts.systems.items())]
        offers = await asyncio.gather(*(system.offer_to_hub(self) for system in systems))
        self.set_header("Cache-Control", "no-cache")
        self.write(json.dumps([_shown(offer) for offer in offers]))


def _shown(offer):
    planned = offer.catalog.maintenance if offer.catalog else None
    return {
        "name": offer.system.name,
        "display_name": offer.system.display_name,
        "description": offer.system.description,
        "state": offer.state,
        "notes": [plain(note) for note in offer.notes()],
        "version": offer.catalog.outpost if offer.catalog else None,
        "as_of": _time(moment(offer.answer.time)) if offer.catalog else None,
        "away_since": _time(moment(offer.answer.away)) if offer.answer.away is not None else None,
        "maintenance": planned
        and {
            "from": _time(planned.begin), "until": _time(planned.end), "text": planned.text, "active": planned.active,
            "evict": planned.evict,
        },
        "used": offer.use.used if offer.catalog else None,
        "limit": offer.use.limit,
        "flavors": [
            {
                "name": flavor.name, "display_name": flavor.display_name, "description": flavor.description,
                "used": flavor.used, "limit": flavor.limit,
            }
            for flavor in offer.flavors.values()
        ],
    }  # fmt: skip


def _time(when):
    return when and f"{when:%Y-%m-%dT%H:%M:%SZ}"
