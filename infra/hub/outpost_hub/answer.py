"""The first answer of a server that has been started."""

import asyncio
import re
import socket
import time
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.05  # between two looks at one server
LOOKS_PER_SECOND = 200  # of the hub at all servers; a look takes it 0.1 to 0.3 ms
LATENESS = 1 / 40  # of the time that a server has taken: after 2 s, the pauses become longer
RESOLVED_SECONDS = 1  # for which an address of a name is used
CONNECT_SECONDS = 0.25  # for a connection, at first
CONNECT_SHARE = 1 / 4  # of the time that a server has taken, for a connection then
MAX_SECONDS = 20  # for one look, as JupyterHub's own


class FirstAnswer:
    """Waits until a server answers.

    JupyterHub waits too, but its pauses grow to 5 s. Whoever waits here first spares users that time.
    """

    waiting = 0  # servers that this hub waits for

    def __init__(self, url, ssl_context=None):
        """`ssl_context` is that of the hub for its servers, None without internal_ssl."""
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.ssl = {"ssl": ssl_context, "server_hostname": self.host} if ssl_context else {}
        self.request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        self.addresses = []
        self.resolved = 0
        self.fault = "no answer"

    async def wait(self, seconds, before=lambda: None):
        """Waits for an answer that JupyterHub would accept: with any status below 500.

        If the first look finds none, `before` is called. Raises ConnectionError after `seconds`.
        """
        begun = time.monotonic()
        waited = looks = 0
        FirstAnswer.waiting += 1
        try:
            # A server may need a while for its first answer, but not for a connection: what is sent to a Service that
            # kube-proxy does not know yet is lost without a refusal, and the kernel sends it again after 1 s only.
            while not await self._look(
                min(max(waited, 1), MAX_SECONDS, seconds - waited), max(CONNECT_SECONDS, waited * CONNECT_SHARE)
            ):
                if looks == 0:
                    before()
                looks += 1
                waited = time.monotonic() - begun
                pause = max(PAUSE_SECONDS, waited * LATENESS, FirstAnswer.waiting / LOOKS_PER_SECOND)
                if waited + pause >= seconds:
                    raise ConnectionError(self.fault)
                await asyncio.sleep(pause)
                waited += pause
        finally:
            FirstAnswer.waiting -= 1

    async def _look(self, seconds, connect_seconds):
        """Reports whether the server answers now. If not, `fault` says why."""
        # asyncio.wait_for would lose a cancellation at the moment of an answer, and the looks would go on.
        ask = asyncio.ensure_future(self._ask(connect_seconds))
        try:
            await asyncio.wait({ask}, timeout=seconds)
            if ask.cancelled():
                self._turn()
                self.fault = "no answer"
            elif ask.done():
                return ask.result()
            elif seconds >= 1:  # else the wait is over
                self.fault = "no answer"
        except (OSError, ValueError) as e:
            self._turn()
            self.fault = str(e)
        finally:
            ask.cancel()
        return False

    def _turn(self):
        """Has the next look take the next address."""
        self.addresses = self.addresses[1:] + self.addresses[:1]

    async def _ask(self, connect_seconds):
        """Cancels itself if there is no connection after `connect_seconds`."""
        loop = asyncio.get_running_loop()
        if not self.addresses or time.monotonic() > self.resolved + RESOLVED_SECONDS:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            self.addresses, self.resolved = [address[0] for *_, address in found], time.monotonic()
        limit = loop.call_later(connect_seconds, asyncio.current_task().cancel)
        try:
            reader, writer = await asyncio.open_connection(self.addresses[0], self.port, **self.ssl)
        finally:
            limit.cancel()
        try:
            writer.write(self.request)
            line = await reader.readline()
        finally:
            writer.transport.abort()
        status = re.match(rb"HTTP/1\.[01] (\d{3})\b", line)
        self.fault = f"status {int(status[1])}" if status else "the connection was closed"
        return bool(status) and int(status[1]) < 500
