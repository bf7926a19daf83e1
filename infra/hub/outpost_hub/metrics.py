"""Metrics of this side of the outposts, on the hub's own /hub/metrics."""

import time

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from tornado.httpclient import HTTPClientError

KINDS = ("start", "stop", "poll", "catalog", "other")
RESULTS = ("ok", "not_found", "refused", "failed", "unreachable", "given_up")
PHASES = ("waiting", "pod", "tunnel", "server")
STATES = {"spawn": "starting", "stop": "stopping", "check": "checking"}  # of JupyterHub's `pending`; else "running"
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

REQUESTS = Counter("outpost_hub_requests", "Requests to outposts.", ["system", "kind", "result"])
WAITED = Histogram(
    "outpost_hub_request_wait_seconds", "Time for which requests waited for a place.", ["system", "kind"],
    buckets=SECONDS,
)  # fmt: skip
PHASE = Histogram(
    "outpost_hub_start_seconds",
    "Time of starts: waiting for a place, for the pod, for the tunnel, and for the server's first answer.",
    ["system", "phase"], buckets=SECONDS,
)  # fmt: skip


def result_of(error):
    """Returns the label of a request's error, "ok" for None."""
    if error is None:
        return "ok"
    if not isinstance(error, HTTPClientError):
        return "given_up"  # by the hub
    if error.code == 599:  # tornado's, for all that is no answer
        return "unreachable"
    if error.code == 404:
        return "not_found"
    return "refused" if error.code < 500 else "failed"


class Systems:
    """Collects what systems are like at the moment, when somebody asks."""

    def __init__(self):
        self.systems = ()

    def show(self, systems):
        """Shows systems from now on, in place of earlier ones. What has not happened yet is shown as 0."""
        self.systems = tuple(systems)
        for system in self.systems:
            for kind in KINDS:
                WAITED.labels(system.name, kind)
                for result in RESULTS:
                    REQUESTS.labels(system.name, kind, result)
            for phase in PHASES:
                PHASE.labels(system.name, phase)

    def collect(self):
        by_kind = ["system", "kind"]
        places = GaugeMetricFamily("outpost_hub_places", "Requests that may be under way.", labels=by_kind)
        used = GaugeMetricFamily("outpost_hub_places_used", "Requests under way.", labels=by_kind)
        waiting = GaugeMetricFamily("outpost_hub_requests_waiting", "Requests without a place.", labels=by_kind)
        age = GaugeMetricFamily("outpost_hub_watch_age_seconds", "Time since a watch was heard.", labels=["system"])
        servers = GaugeMetricFamily("outpost_hub_servers", "Servers.", labels=["system", "state"])
        for system in self.systems:
            for kind, of_kind in system.places().items():
                places.add_metric([system.name, kind], of_kind.count)
                used.add_metric([system.name, kind], of_kind.taken)
                waiting.add_metric([system.name, kind], len(of_kind.waiting))
            heard, spawners = system.watched()
            if heard is not None:
                age.add_metric([system.name], time.monotonic() - heard)
            states = dict.fromkeys((*STATES.values(), "running"), 0)
            for spawner in spawners:
                if spawner.pending or spawner.ready:
                    states[STATES.get(spawner.pending, "running")] += 1
            for state, count in states.items():
                servers.add_metric([system.name, state], count)
        return places, used, waiting, age, servers


SYSTEMS = Systems()
REGISTRY.register(SYSTEMS)
