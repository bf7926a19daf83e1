"""The tunnels to one system: its ssh connection, and a forwarded port for each server."""

import asyncio
import contextlib
import re
import tempfile
import time
import weakref

from tornado import web

from .errors import WrongHostKey

CONNECT_SECONDS = 15  # for one attempt to open an ssh connection
RECONNECT_SECONDS = 600  # for reconnecting running servers after a restart of the hub
CHECK_SECONDS = 5  # between two checks of a system's connection
RENEW_AT_ONCE = 8  # tunnels of one system renewed in parallel
MAX_SSH_OUTPUT = 1500  # characters in the log; the warning about a changed host key has 900


class Tunnels:
    """The tunnels to the servers of one system, which share one ssh connection."""

    def __init__(self, system):
        self.system = system  # its name
        self.servers = weakref.WeakSet()  # spawners of running servers whose tunnel this process has made
        self.lock = asyncio.Lock()
        self.check = None

    async def reopen(self, spawner):
        """Renews the tunnel of a server that ran before the hub was restarted, and retries for RECONNECT_SECONDS."""
        give_up = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                await self.renew(spawner)
                return
            except (ConnectionError, web.HTTPError) as e:
                spawner.log.warning(f"{spawner._log_name} - no tunnel to {self.system} yet, retrying: {e}")
            if time.monotonic() > give_up:
                return
            await asyncio.sleep(CHECK_SECONDS)

    async def renew(self, spawner):
        """Opens the system's connection unless it is open, and forwards the server's port through it."""
        await self.connect(spawner)
        await spawner.run_ssh_forward()
        await self.keep(spawner)

    async def keep(self, spawner):
        """Renews the tunnel of a running server whenever the connection is lost."""
        spawner.outpost_connection = await self.connection(spawner)
        self.servers.add(spawner)
        if self.check is None or self.check.done():
            self.check = asyncio.get_running_loop().create_task(self._check())

    async def _check(self):
        """Renews tunnels whose connection has been lost: a new connection has no forwarded ports."""
        while self.servers:
            await asyncio.sleep(CHECK_SECONDS)
            kept = [s for s in self.servers if s.port_forward_info and not s._stop_pending]
            if not kept:
                continue
            try:
                connection = await self.connect(kept[0])  # all of them share it
            except ConnectionError as e:
                kept[0].log.warning(f"{self.system} - {len(kept)} servers have no tunnel, retrying: {e}")
                continue
            except Exception:
                kept[0].log.exception(f"{self.system} - cannot check the connection")
                continue
            turns = asyncio.Semaphore(RENEW_AT_ONCE)
            await asyncio.gather(
                *(self._renew_forward(s, connection, turns) for s in kept if s.outpost_connection != connection)
            )

    async def _renew_forward(self, spawner, connection, turns):
        async with turns:
            if spawner not in self.servers:
                return
            spawner.log.warning(f"{spawner._log_name} - lost the connection to {self.system}, renewing the tunnel")
            try:
                await spawner.run_ssh_forward()
                if spawner in self.servers:
                    spawner.outpost_connection = connection
                else:  # stopped meanwhile: undo what was forwarded after the stop
                    await spawner.run_ssh_forward_remove()
            except web.HTTPError as e:
                spawner.log.warning(f"{spawner._log_name} - no tunnel, retrying: {e}")
            except Exception:
                spawner.log.exception(f"{spawner._log_name} - cannot renew the tunnel")

    async def _ssh(self, spawner, *args):
        """Runs ssh with the system's options and without a shell. Returns its exit code and what it wrote to stderr."""
        user, node, command = await spawner.get_forward_cmd(extra_args=list(args))
        process = await asyncio.create_subprocess_exec(
            *command,
            f"{user}@{node}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        # asyncio.wait_for would lose a cancellation at the moment of its end.
        talk = asyncio.ensure_future(process.communicate())
        try:
            await asyncio.wait({talk}, timeout=CONNECT_SECONDS)
            if talk.done():
                return process.returncode, talk.result()[1].decode(errors="replace").strip()
        finally:
            if talk.cancel():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await process.wait()
        return -1, f"no answer within {CONNECT_SECONDS} s"

    async def connection(self, spawner):
        """Returns the process ID of the system's ssh connection, None if there is none."""
        code, output = await self._ssh(spawner, "-n", "-O", "check")
        found = re.search(r"pid=(\d+)", output)
        return int(found[1]) if code == 0 and found else None

    async def connect(self, spawner):
        """Opens the system's shared ssh connection unless it is open, and returns its process ID.

        Raises ConnectionError, which is WrongHostKey if the host key is not the known one.
        """
        async with self.lock:
            connection = await self.connection(spawner)
            if connection:
                return connection
            # With -f, the process that stays would keep a pipe open: its output goes to a file.
            with tempfile.NamedTemporaryFile("r") as log:
                code, output = await self._ssh(spawner, "-f", "-N", "-n", "-E", log.name)
                connection = await self.connection(spawner)
                if not connection:
                    output = log.read().strip() or output
                    error = WrongHostKey if "Host key verification failed" in output else ConnectionError
                    raise error(f"ssh exited with code {code}: {output[-MAX_SSH_OUTPUT:]}")
            return connection
