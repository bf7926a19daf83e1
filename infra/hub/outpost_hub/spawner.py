"""The client, with limits on what it receives, shows and stores."""

import asyncio
import json
import time
import uuid
from datetime import datetime
from urllib.parse import urlsplit

import outpostspawner
from jupyterhub.utils import make_ssl_context, url_path_join
from tornado import web
from tornado.httpclient import HTTPClientError
from traitlets import default, validate

from .answer import FirstAnswer
from .cluster import in_thread, pod_status, remove_pod
from .errors import (
    TELL_ADMINS, AnotherHubs, StartError, answered, is_gone, maybe_refused, not_accepted, without_query,
)  # fmt: skip
from .identity import identity
from .login import in_link, taken_out
from .metrics import PHASE
from .names import forget_addresses_now
from .received import (
    MAX_EVENTS, MAX_HTML, MAX_KEPT, MAX_REASON, MAX_TEXT,
    json_size, safe_answer, safe_event, safe_state, safe_text,
)  # fmt: skip
from .tunnels import CONNECT_SECONDS

START_SECONDS = 8  # for repeating a start that an outpost cannot accept; less than a request to a silent address takes
POLL_SECONDS = 10  # for the answer to a poll, which JupyterHub also sends before it stops a server
START_PAUSE = 2  # seconds between two such attempts

MARGIN_SECONDS = 1  # of start_timeout, which are left to hand a start back

SUMMARY = "<details><summary>"  # the beginning of an event with a title, which gets the time


class Spawner(outpostspawner.OutpostSpawner):
    """The unmodified client, with limits on what it receives, shows and stores.

    c.OutpostSpawner configures it as it configures its parent.
    """

    outposts = None  # the Outposts of this hub, set by configure
    start_error = None  # the StartError of the current start, if it has failed
    next_start_id = None  # of the current start, from before the outpost hears of it
    start_turn = None  # of the latest start
    pod_runs = None  # time since which the outpost has said so
    starts_before = None  # the number that its user has been told
    kube_state = None  # what KubeSpawner kept of the server, if it has started it; no outpost knows it
    look = None  # the task of the latest poll_and_notify
    interrupted = False  # its start was under way when the hub before this one ended
    notice = ""  # what the outpost has told the user of this server
    own_image = ""  # of the user, that the current start names
    login = None  # the Login to its registry, until the start is sent
    offered = None, None  # options of a form or link, and the Offer they are from, until their start begins at once
    unasked = None  # options of the current start, if the outpost was not asked about them before
    stop_taken = False  # by the outpost, the latest
    early_end = None  # a future for the exit status, while a start waits for the server's first answer

    # JupyterHub's own, 60 and 30 s, are less than an image takes that is pulled.
    @default("start_timeout")
    def _default_start_timeout(self):
        return 600

    @default("http_timeout")
    def _default_http_timeout(self):
        return 120

    @validate("user_options")
    def _without_login(self, proposal):
        return taken_out(proposal.value)

    def options_from_query(self, query_data):
        if in_link(query_data):
            raise StartError("A login to a registry cannot be in a link, which others can read. Use the form.", 400)
        return self.run_options_from_form(query_data)

    async def progress(self):
        if self._spawn_future is None:
            # The start has ended since the page asked. The client would fail the page's request, and JupyterHub no
            # longer has the reason.
            if self.start_error:
                yield safe_event({"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message})
            return
        # The client puts texts of outposts, servers and users into HTML without escaping them.
        last = None
        async for event in self._events():
            shown = (event.get("message"), event.get("html_message"))
            # JupyterHub itself has shown "Server requested".
            if (shown == last or shown[0] == "Server requested") and not event.get("failed"):
                continue
            last = shown
            if event.get("failed") and self.start_error:
                event = {"failed": True, "progress": 100, "message": self.start_error.jupyterhub_message}
            yield safe_event(event)

    async def _events(self):
        """Yields the events of the current start, until it has ended.

        The client counts in a list that is another one by the time at which the start is sent.
        """
        start, events, seen = self._spawn_future, self.events, 0
        while True:
            ended = start.done()  # before the look at what it has reported
            while seen < len(events) or events is not self.events:
                if seen == len(events):
                    events, seen = self.events, 0
                    continue
                event = events[seen]
                seen += 1
                yield event
                ended = ended or event.get("failed") is True
            if ended:
                return
            await asyncio.sleep(self.yield_wait_seconds)

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

    def keep_notice(self, event):
        """Keeps what the outpost tells the user of this server. The page of a start shows it too."""
        self.notice = safe_text(event.get("message"), MAX_TEXT)
        # A start that is under way has more in its state than get_state returns.
        state = {key: value for key, value in (self.orm_spawner.state or {}).items() if key != "notice"}
        self.orm_spawner.state = {**state, **self._notice_state()}
        self.user.db.commit()
        if self.notice and self.pending == "spawn":
            self.keep_event(event)

    def _notice_state(self):
        return {"notice": self.notice} if self.notice else {}

    def get_state(self):
        return safe_state({**super().get_state(), **(self.kube_state or {}), **self._notice_state()})

    def load_state(self, state):
        # Where a state has no events, as that of KubeSpawner, the client has one list for all spawners.
        super().load_state({"events": [], **safe_state(state)})
        kept = {key: state.get(key) for key in ("namespace", "pod_name", "kubespawner_version")}
        self.kube_state = kept if all(isinstance(value, str) for value in kept.values()) else None
        self.interrupted = state.get("starting") is True
        self.notice = safe_text(state.get("notice"), MAX_TEXT)

    def store_state(self):
        """Stores the state now. JupyterHub stores it at the end of a start only."""
        self.orm_spawner.state = self.get_state()
        self.user.db.commit()

    def clear_state(self):
        super().clear_state()
        self.events = []  # a page of the next start, which may ask before that begins, would show those of this one
        self.interrupted = False
        self.kube_state = self.start_turn = self.starts_before = None
        self.notice = ""

    async def poll(self):
        forget_addresses_now()  # JupyterHub polls the servers that run when it begins, and then asks them
        if self.kube_state is None:
            # JupyterHub asks also before anything has been started, and once more after it has learnt of an end. The
            # client would cancel the start whose options are being refused.
            return await super().poll() if self.start_id else 0
        try:
            return await in_thread(pod_status, self.kube_state["namespace"], self.kube_state["pod_name"])
        except Exception as e:
            # A server whose state is unknown goes on: users would lose their work.
            self.log.warning(f"{self._log_name} - cannot see pod {self.kube_state['pod_name']}: {e}")
            return None

    async def _poll(self):
        if self.interrupted:
            self._fail_interrupted()
            return 1
        if self._stop_pending and self.start_turn is not None:
            return None  # JupyterHub asks before it stops a server; a stop is sent at once, whatever the outpost knows
        if not self.collect_logs_polling and await self.outposts.of(self).watch(self).runs(self):
            return None
        return await super()._poll()

    async def poll_and_notify(self):
        # One at a time, for all who ask. The client stops what it finds ended, which takes a while; a second look would
        # meanwhile tell JupyterHub of the end, and a server that is started then would be the one that is stopped.
        if self.look is None or self.look.done():
            self.look = asyncio.ensure_future(self._early_poll() if self.early_end else super().poll_and_notify())
        return await asyncio.shield(self.look)

    async def _early_poll(self):
        """Lets the start fail if its server has ended. The client would cancel it, and its user would not see why."""
        status = await self._poll()
        if status is not None and self.early_end and not self.early_end.done():
            self.early_end.set_result(status)
        return status

    def _fail_interrupted(self):
        """Shows why a start has failed that an earlier hub began: its answer, with the server's address, is lost."""
        self.start_error = StartError("The hub was restarted while this server was starting. Start it again.", 503)
        self._spawn_future = asyncio.get_running_loop().create_future()
        self._spawn_future.set_exception(self.start_error)
        self._spawn_future.exception()  # or asyncio would complain that nobody has looked at it

    async def _stop(self, **kwargs):
        if not self.start_id:
            return
        self.stop_taken = False
        try:
            await super()._stop(**kwargs)
        finally:
            if not self.stop_taken:
                self.outposts.owed.add(self)

    def start_polling(self):
        super().start_polling()
        # The client's timer has the interval that is configured. A server of KubeSpawner keeps it: it has no system.
        if self._poll_callback and self.kube_state is None:
            self._poll_callback.stop()
            self._poll_callback = self.outposts.of(self).polls.begin(self, self._poll_callback.callback_time / 1000)

    def runs_unseen(self):
        """Reports whether the server is known to run and has what it needs, so that a poll would do nothing."""
        if self.kube_state is not None or self.collect_logs_polling:
            return False
        system = self.outposts.of(self)
        has_tunnel = not self.port_forward_info or self in system.tunnels.servers
        return has_tunnel and system.watch(self).knows(self)

    async def run_auth_state_hook(self, auth_state):
        await super().run_auth_state_hook(auth_state)
        # JupyterHub writes the spawner's row next, before it asks what to start. From there on, a hub that is restarted
        # finds the server. What is changed later, it would write once more.
        self.next_start_id = uuid.uuid4().hex
        self.orm_spawner.state = {
            **self.get_state(), "start_id": self.next_start_id, "events": [], "starting": True,
        }  # fmt: skip

    async def start(self):
        begun = time.monotonic()
        self.start_id = self.next_start_id
        url = await self._in_time(super().start())
        forget_addresses_now()
        # From here on, a hub that is restarted goes on with the start.
        parts = urlsplit(url)
        self.server.proto, self.server.ip, self.server.port = parts.scheme, parts.hostname, parts.port
        self.store_state()
        now = time.monotonic()
        if self.port_forward_info:
            self._observe("tunnel", now - self.pod_runs)
        left = self.start_timeout - MARGIN_SECONDS - (now - begun)
        answer = asyncio.ensure_future(self._first_answer(url, left))
        self.early_end = asyncio.get_running_loop().create_future()
        self.start_polling()
        try:
            await asyncio.wait({answer, self.early_end}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
                self._observe("server", time.monotonic() - now)
            else:
                self.start_error = StartError(
                    f"The server on {self.outposts.of(self).display_name} has ended before it answered, "
                    f"with exit status {self.early_end.result()}."
                )
                raise self.start_error
        finally:
            answer.cancel()
            self.early_end = None
        return url

    async def _in_time(self, start):
        """Waits for the client's part of a start. JupyterHub would end it soon after, and tell its user nothing."""
        # asyncio.wait_for would lose a cancellation at the moment of an answer.
        start = asyncio.ensure_future(start)
        try:
            await asyncio.wait({start}, timeout=self.start_timeout - MARGIN_SECONDS)
            if start.done():
                return start.result()
        finally:
            if start.cancel():
                await asyncio.gather(start, return_exceptions=True)
        self.start_error = StartError(
            f"The server has not started on {self.outposts.of(self).display_name} within {self.start_timeout} "
            f"seconds. Try again: what takes long the first time, such as an image, may be there then. {TELL_ADMINS}"
        )
        raise self.start_error

    async def _first_answer(self, url, seconds):
        """Waits for the server's first answer for http_timeout, or for `seconds`, after which JupyterHub waits."""
        settings = self.user.settings
        context = make_ssl_context(
            settings.get("internal_ssl_key"), settings.get("internal_ssl_cert"), settings.get("internal_ssl_ca")
        )
        answer = FirstAnswer(url_path_join(url, self.server.base_url, "api"), context)
        name = self.outposts.of(self).display_name
        event = {"progress": 90, "message": f"The server runs on {name}. Waiting for its first answer."}
        try:
            await answer.wait(min(self.http_timeout, seconds), lambda: self.keep_event(event))
        except ConnectionError as e:
            self.log.warning(f"{self._log_name} - the server does not answer at {url}: {e}")
            if seconds > self.http_timeout:
                self.start_error = StartError(
                    f"The server runs on {name}, but has not answered within {self.http_timeout} seconds. "
                    f"Try again, or choose another flavor. {TELL_ADMINS}"
                )
                raise self.start_error from e

    async def stop(self, now=False, **kwargs):
        if self.start_turn and not self.start_turn.holds:
            self.start_turn.leave()
        if self.kube_state is None:
            return await super().stop(now, **kwargs)
        await remove_pod(self.kube_state["namespace"], self.kube_state["pod_name"])

    async def fetch(self, req, action):
        """Sends a request in a place of its kind and system, and returns what the client uses of the answer.

        The client has ten places for all requests of a hub, and a start holds one until its server runs. Errors are the
        client's: its own code reads them.
        """
        client = self.outposts.of(self).client(self)
        if action == "poll":
            req.request_timeout = min(req.request_timeout, POLL_SECONDS)
        turn = client.turn(action)
        if action == "start":
            self.start_turn = turn
        try:
            response = await client.fetch(req, action, turn, self._waits if action == "start" else None)
        except HTTPClientError as e:
            if e.code == 404 and action == "stop":
                self.stop_taken = is_gone(e)
                return None
            code, reason = e.code, answered(e)
            if action == "poll" and code == 404 and not is_gone(e):
                code = 502  # the client ends a server of which it reads 404
            if code != 404:
                self.log.error(f"{self._log_name} - {req.method} {without_query(req.url)}: {e.code}: {reason}")
            message = f"{action} request to {without_query(req.url)} failed: {code}"
            raise web.HTTPError(419, message, reason=reason) from e
        except Exception as e:
            message = f"{action} request to {without_query(req.url)} failed"
            raise web.HTTPError(419, message, reason=safe_text(str(e), MAX_REASON)) from e
        if action == "stop":
            self.stop_taken = True
        if action == "start":
            self.pod_runs = time.monotonic()
            self._observe("waiting", turn.waited)
            self._observe("pod", self.pod_runs - turn.begun - turn.waited)
        try:
            answer = json.loads(response.body.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            answer = None
        return safe_answer(action, answer)

    def _observe(self, phase, seconds):
        PHASE.labels(self.outposts.of(self).name, phase).observe(seconds)

    def _waits(self, before):
        """Tells the user of a start that waits for a place how many are before it."""
        if before != self.starts_before:
            self.starts_before = before
            starts = "1 start is" if before == 1 else f"{before} starts are"
            message = f"{starts} before yours on {self.outposts.of(self).display_name}."
            self.keep_event({"progress": 20, "message": message})

    async def _start(self):
        self.outposts.of(self).watch(self).follow(self)
        try:
            return await super()._start()
        except web.HTTPError as e:
            # The client's message contains addresses, and the outpost's text where HTML is expected.
            raise self.start_error or e from e

    async def run_failed_spawn_request_hook(self, exception):
        if isinstance(exception, StartError):
            self.start_error = exception  # the client would wait for two seconds, for events that say less
        else:
            await super().run_failed_spawn_request_hook(exception)

    async def _identity(self):
        # The client sends it, with the access token, only if auth state has flavors of the user.
        return await identity(self, self.outposts.of(self).send_auth_state)

    def _told(self):
        """Returns what only the request of a start tells the outpost."""
        login = self.login
        return {"registry": {"username": login.username, "password": login.password}} if login else {}

    async def send_request(self, req, action, raise_exception=True):
        # An outpost that restarts, or its Ingress, is unavailable for seconds, and a start must not fail for that. If
        # an attempt has arrived after all, the outpost recognises its start ID and does not start a second server.
        if action == "start":
            told, self.login = self._told(), None
            req.body = json.dumps({**json.loads(req.body), "authentication": await self._identity(), **told})
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                return await super().send_request(req, action, raise_exception)
            except web.HTTPError as e:
                if action != "start":
                    raise
                if self.unasked is not None and maybe_refused(e) and await self.outposts.ask_after_refusal(self):
                    options = await self.get_custom_user_options()
                    req.body = json.dumps({**json.loads(req.body), "user_options": options})
                    continue
                if not not_accepted(e) or time.monotonic() > give_up:
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
            message = (
                f"The server runs on {system.display_name}, but the hub cannot open a tunnel to it. Try again later."
            )
            if isinstance(e.__context__, AnotherHubs):
                message = f"The server runs on {system.display_name}, but another hub uses its address. {TELL_ADMINS}"
            self.start_error = StartError(message)
            raise self.start_error from e
