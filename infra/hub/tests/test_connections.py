"""Connections and names that the hub keeps, where a way is lost without a word or somebody else does not answer."""

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import stage
from outpost_hub import claims, client, cluster, curl, tunnels
from outpost_hub.answer import FirstAnswer
from test_cluster import client as client_of_cluster
from test_cluster import lose
from tornado.httpclient import HTTPRequest


@pytest.fixture
def outpost():
    """An outpost, and the connections that it has accepted."""
    fake, fake.accepted = stage.Outpost("127.0.0.1:1"), []

    class Handler(fake.http.RequestHandlerClass):
        def setup(self):
            super().setup()
            fake.accepted.append(self.connection)

    fake.http.RequestHandlerClass = Handler
    yield fake
    fake.close()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_request_on_a_lost_connection(outpost, monkeypatch, method):
    """It goes through on another one."""
    monkeypatch.setattr(curl, "LOST_SECONDS", 1)

    async def ask():
        of = client.Client("far", 0)
        path = "/services/lab/1"
        body = '{"name": "lab", "user_options": {"start_id": "1"}}' if method == "POST" else None
        outpost.running.add(path)

        async def send():
            url = f"http://127.0.0.1:{outpost.port}" + ("/services" if method == "POST" else path)
            request = HTTPRequest(url, method=method, body=body, request_timeout=30)
            return (await of.fetch(request, "start", of.turn("start"))).code

        await send()
        outpost.running.add(path)
        assert len(outpost.accepted) == 1
        lose(outpost.accepted[0])
        assert await send() == 200 and len(outpost.accepted) == 2

    asyncio.run(ask())


def test_names_while_the_cluster_does_not_answer(monkeypatch):
    """Its calls take no thread from those that look names up."""
    monkeypatch.setattr(cluster, "CALL_SECONDS", stage.PATIENCE)

    async def main(api, silent):
        monkeypatch.setattr(claims, "connected", lambda: api)
        of = claims.Claims("remote", None)
        calls = [asyncio.ensure_future(of.remove(f"lab-{i}", "jupyter")) for i in range(cluster.CALLS)]
        await asyncio.sleep(0)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        await FirstAnswer(f"http://localhost:{server.sockets[0].getsockname()[1]}/").wait(20)
        assert not any(call.done() for call in calls)
        silent.close()
        await asyncio.gather(*calls, return_exceptions=True)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        asyncio.run(main(client_of_cluster(monkeypatch, silent.getsockname()[1]), silent))


class Command:
    """A spawner whose ssh is another command."""

    def __init__(self, *command):
        self.command = command

    async def get_forward_cmd(self, extra_args):
        return "user", "node", self.command


def test_ssh_of_a_start_that_is_cancelled(tmp_path):
    """It ends too."""
    said = tmp_path / "pid"

    async def main():
        ssh = asyncio.create_task(tunnels.Tunnels("far")._ssh(Command("sh", "-c", f"echo $$ > {said}; exec sleep 3600")))
        while not (said.exists() and said.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        ssh.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ssh
        while Path(f"/proc/{int(said.read_text())}/status").exists():
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), stage.PATIENCE))


@pytest.mark.parametrize("turns", range(6))
def test_start_that_is_cancelled_as_ssh_ends(monkeypatch, turns):
    async def main():
        end = asyncio.get_running_loop().create_future()

        async def communicate():
            return await end

        async def begin(*command, **streams):
            return SimpleNamespace(communicate=communicate, returncode=0, kill=lambda: None)

        async def start():
            await tunnels.Tunnels("far")._ssh(Command("ssh"))
            await asyncio.Event().wait()  # for the rest of the start

        monkeypatch.setattr(asyncio, "create_subprocess_exec", begin)
        task = asyncio.create_task(start())
        for _ in range(5):
            await asyncio.sleep(0)
        end.set_result((b"", b""))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=stage.PATIENCE)
        assert task.cancelled()

    asyncio.run(main())


def test_ssh_without_an_end(monkeypatch):
    monkeypatch.setattr(tunnels, "CONNECT_SECONDS", 0.2)
    code, said = asyncio.run(tunnels.Tunnels("far")._ssh(Command("sh", "-c", "exec sleep 3600")))
    assert (code, said) == (-1, "no answer within 0.2 s")
