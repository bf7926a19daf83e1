"""The client, with limits on what it receives, shows and stores."""

import asyncio
import time
from datetime import datetime

import outpostspawner
from tornado import web

from .cluster import pod_status, remove_pod
from .errors import StartError, not_accepted
from .received import (
    MAX_EVENTS, MAX_HTML, MAX_KEPT, MAX_REASON, json_size, safe_answer, safe_event, safe_state, safe_text,
)  # fmt: skip
from .tunnels import CONNECT_SECONDS

START_SECONDS = 8  # for repeating a start that an outpost cannot accept; less than a request to a silent address takes
START_PAUSE = 2  # seconds between two such attempts

SUMMARY = "<details><summary>"  # the beginning of an event with a title, which gets the time


class Spawner(outpostspawner.OutpostSpawner):
    """The unmodified client, with limits on what it receives, shows and stores.

    c.OutpostSpawner configures it as it configures its parent.
    """

    outposts = None  # the Outposts of this hub, set by configure
    start_error = None  # the StartError of the current start, if it has failed
    kube_state = None  # what KubeSpawner kept of the server, if it has started it; no outpost knows it

    async def progress(self):
        if self._spawn_future is None:
            # The start has ended since the page asked. The client would fail the page's request, and JupyterHub no
            # longer has the reason.
            if self.start_error:
                yield safe_event({"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message})
            return
        # The client puts texts of outposts, servers and users into HTML without escaping them.
        last = None
        async for event in super().progress():
            shown = (event.get("message"), event.get("html_message"))
            # JupyterHub itself has shown "Server requested".
            if (shown == last or shown[0] == "Server requested") and not event.get("failed"):
                continue
            last = shown
            if event.get("failed") and self.start_error:
                event = {"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message}
            yield safe_event(event)

    def keep_event(self, event):
        """Adds an event to those of the current start. Reports whether it was not empty and there was room."""
        try:
            event = self.run_filter_events(event)
        except Exception as e:
            # Its message may repeat the event.
            self.log.warning(f"{self._log_name} - filter_events raised {type(e).__name__}")
            return False
        if not isinstance(event, dict) or not event:
            return False
        shown = safe_text(event.get("html_message") or event.get("message"), MAX_HTML)
        if shown.startswith(SUMMARY):
            now = datetime.now().isoformat(" ", "milliseconds")
            event = {**event, "html_message": f"{SUMMARY}{now}: {shown.removeprefix(SUMMARY)}"}
        event = safe_event(event)
        kept = json_size(self.events) + json_size(event) + 2
        if len(self.events) >= MAX_EVENTS or kept > MAX_KEPT:
            return False
        self.events.append(event)
        return True

    def get_state(self):
        return safe_state({**super().get_state(), **(self.kube_state or {})})

    def load_state(self, state):
        super().load_state(safe_state(state))
        kept = {key: state.get(key) for key in ("namespace", "pod_name", "kubespawner_version")}
        self.kube_state = kept if all(isinstance(value, str) for value in kept.values()) else None

    def clear_state(self):
        super().clear_state()
        self.kube_state = None

    async def poll(self):
        if self.kube_state is None:
            return await super().poll()
        try:
            return await asyncio.to_thread(pod_status, self.kube_state["namespace"], self.kube_state["pod_name"])
        except Exception as e:
            # A server whose state is unknown goes on: users would lose their work.
            self.log.warning(f"{self._log_name} - cannot see pod {self.kube_state['pod_name']}: {e}")
            return None

    async def stop(self, now=False, **kwargs):
        if self.kube_state is None:
            return await super().stop(now, **kwargs)
        await asyncio.to_thread(remove_pod, self.kube_state["namespace"], self.kube_state["pod_name"])

    async def fetch(self, req, action):
        try:
            return safe_answer(action, await super().fetch(req, action))
        except web.HTTPError as e:
            e.reason = safe_text(e.reason, MAX_REASON)
            raise

    async def _start(self):
        try:
            return await super()._start()
        except web.HTTPError as e:
            # The client's message contains addresses, and the outpost's text where HTML is expected.
            raise self.start_error or e from e

    async def send_request(self, req, action, raise_exception=True):
        # An outpost that restarts, or its Ingress, is unavailable for seconds, and a start must not fail for that. If
        # an attempt has arrived after all, the outpost recognises its start ID and does not start a second server.
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                return await super().send_request(req, action, raise_exception)
            except web.HTTPError as e:
                if action != "start" or not not_accepted(e) or time.monotonic() > give_up:
                    raise
                self.log.warning(f"{self._log_name} - the outpost did not accept the start; retrying")
            await asyncio.sleep(START_PAUSE)

    async def subprocess_cmd(self, cmd, timeout=3):
        # The client allows ssh one to three seconds, not enough on a busy hub.
        return await super().subprocess_cmd(cmd, timeout=max(timeout, CONNECT_SECONDS))

    async def run_ssh_forward(self, create_svc=True):
        try:
            return await super().run_ssh_forward(create_svc)
        except web.HTTPError as e:
            system = self.outposts.of(self)
            self.log.warning(f"{self._log_name} - no tunnel to {system.name}: {e.log_message}")
            self.start_error = StartError(
                f"The server runs on {system.display_name}, but the hub cannot open a tunnel to it. Try again later."
            )
            raise self.start_error from e
