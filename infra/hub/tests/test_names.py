"""A server's name, whose address is another one after the next start."""

import os
import subprocess
import sys

import stage

# In a mount namespace of its own, in which the names that this machine knows are those of a file.
MOVES = """
import asyncio, subprocess, sys

from outpost_hub import names
from jupyterhub.app import JupyterHub
from jupyterhub.utils import wait_for_http_server
from traitlets.config import Config

hosts, forgets = sys.argv[1], sys.argv[2] == "forgets"
subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    writer.close()


async def start(address, port):
    server = await asyncio.start_server(serve, address, port)
    with open(hosts, "w") as file:
        file.write(address + " server.example\\n")
    return server, server.sockets[0].getsockname()[1]


async def main():
    config = Config()
    if forgets:
        names.forget_addresses(config)
    app = JupyterHub(config=config)
    app.init_pycurl()
    if names.JupyterHubHTTPClient:
        names.JupyterHubHTTPClient.instance(config=config)
    first, port = await start("127.0.0.2", 0)
    url = f"http://server.example:{port}/"
    if forgets:
        names.forget_addresses_now()
    await wait_for_http_server(url, timeout=5)
    first.close()
    await start("127.0.0.3", port)
    await wait_for_http_server(url, timeout=5)


asyncio.run(main())
"""


def move(hosts, word):
    """Runs it, and returns how it ended."""
    hosts.write_text("")
    command = ["unshare", "--mount", "--map-root-user", sys.executable, "-c", MOVES, hosts, word]
    env = {**os.environ, "PYTHONPATH": str(stage.HERE.parent)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_jupyterhub_finds_a_server_at_its_next_address(tmp_path):
    ended = move(tmp_path / "hosts", "forgets")
    assert ended.returncode == 0, ended.stderr


def test_what_jupyterhub_does_by_itself(tmp_path):
    """Fails when JupyterHub does it by itself: then nothing is to be done about it."""
    ended = move(tmp_path / "hosts", "keeps")
    assert "didn't respond in 5 seconds" in ended.stderr
