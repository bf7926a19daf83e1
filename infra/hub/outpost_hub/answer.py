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
        self.addresses = []  # of its name, in the order in which looks take them
        self.resolved = 0
        self.lookup = None  # the task of a lookup that no look has had the answer of
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
            if self.lookup:
                self.lookup.cancel()  # one that is over too, or asyncio would complain that nobody has seen its error

    async def _look(self, seconds, connect_seconds):
        """Reports whether the server answers now. If not, `fault` says why."""
        # asyncio.wait_for would lose a cancellation at the moment of an answer, and the looks would go on.
        ask = asyncio.ensure_future(self._ask(connect_seconds))
        try:
            await asyncio.wait({ask}, timeout=seconds)
            if ask.cancelled():
                self.fault = "no answer"
            elif ask.done():
                return ask.result()
            elif seconds >= 1:  # else the wait is over
                self.fault = "no answer"
        except (OSError, ValueError) as e:
            self.fault = str(e)
        finally:
            ask.cancel()
        return False

    async def _ask(self, connect_seconds):
        """Cancels itself if there is no connection after `connect_seconds`."""
        address = await self._address()
        try:
            line = await self._first_line(await self._connected(address, connect_seconds))
        except BaseException:
            self.addresses = self.addresses[1:] + self.addresses[:1]  # the next look takes the next one
            raise
        status = re.match(rb"HTTP/1\.[01] (\d{3})\b", line)
        self.fault = f"status {int(status[1])}" if status else "the connection was closed"
        return bool(status) and int(status[1]) < 500

    async def _first_line(self, connection):
        reader, writer = await asyncio.open_connection(sock=connection, **self.ssl)
        try:
            writer.write(self.request)
            return await reader.readline()
        finally:
            writer.transport.abort()

    async def _address(self):
        """Returns the address that is to be asked next."""
        if not self.addresses or time.monotonic() > self.resolved + RESOLVED_SECONDS:
            loop = asyncio.get_running_loop()
            # A look that ends leaves its lookup to the next one: the hub's threads for lookups are only a few.
            self.lookup = self.lookup or asyncio.ensure_future(
                loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            )
            await asyncio.wait({self.lookup})
            lookup, self.lookup = self.lookup, None
            # Those that have been asked follow the others, in the order of their turns.
            turns = {address: turn for turn, address in enumerate(self.addresses)}
            found = dict.fromkeys(address[0] for *_, address in lookup.result())
            self.addresses = sorted(found, key=lambda address: turns.get(address, -1))
            self.resolved = time.monotonic()
        return self.addresses[0]

    async def _connected(self, address, seconds):
        """Returns a socket that is connected. Cancels the task that waits for that after `seconds`."""
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        connection.setblocking(False)
        limit = loop.call_later(seconds, asyncio.current_task().cancel)
        try:
            await loop.sock_connect(connection, (address, self.port))
        except BaseException:
            connection.close()
            raise
        finally:
            limit.cancel()
        return connection
