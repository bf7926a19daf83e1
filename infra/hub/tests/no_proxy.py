"""A proxy for a hub that is asked itself."""

import json
import os
from pathlib import Path

from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    """Keeps routes in a dictionary, and their targets in a file: requests are sent to the hub itself."""

    routes = {}
    should_start = False

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}
        self.write()

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)
        self.write()

    async def get_all_routes(self):
        return self.routes

    def write(self):
        file = Path(os.environ["HUB_FOLDER"], "routes.json")
        new = file.with_suffix(".new")
        new.write_text(json.dumps({spec: route["target"] for spec, route in self.routes.items()}))
        new.replace(file)
