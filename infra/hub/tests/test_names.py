"""Names whose address is another one from some moment on: of a server, by its next start, and of an outpost."""

import json
import os
import subprocess
import sys

import forked
import pytest
import stage

# The client of a JupyterHub, configured by this module or not.
CLIENT = """
from outpost_hub import defaults, names
from jupyterhub.app import JupyterHub
from jupyterhub.utils import wait_for_http_server
from traitlets.config import Config


def configure(forgets):
    config = Config()
    if forgets:
        defaults.set_defaults(config)
    app = JupyterHub(config=config)
    app.init_pycurl()
    if names.JupyterHubHTTPClient:
        names.JupyterHubHTTPClient.instance(parent=app)
    if forgets:
        names.forget_addresses_now()
"""

# In a mount namespace of its own, in which the names that this machine knows are those of a file.
MOVES = CLIENT + """
import asyncio, subprocess, sys

hosts, forgets = sys.argv[1], sys.argv[2] == "forgets"
SECONDS = 30 if forgets else 5  # a name that is kept is kept for 60
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
    configure(forgets)
    first, port = await start("127.0.0.2", 0)
    url = f"http://server.example:{port}/"
    await wait_for_http_server(url, timeout=SECONDS)
    first.close()
    await start("127.0.0.3", port)
    await wait_for_http_server(url, timeout=SECONDS)


asyncio.run(main())
"""


OUTPOST = MOVES[: MOVES.index("async def main()")] + """
from outpost_hub.client import Client
from tornado.httpclient import HTTPRequest


async def main():
    client = Client("far", 0)
    first, port = await start("127.0.0.2", 0)
    for address in ("127.0.0.2", "127.0.0.3"):
        turn = client.turn("poll")
        await client.fetch(HTTPRequest(f"http://server.example:{port}/", request_timeout=SECONDS), "poll", turn)
        first.close()
        if address == "127.0.0.2":
            await start("127.0.0.3", port)


asyncio.run(main())
"""


def run(*command):
    env = {**os.environ, "PYTHONPATH": f"{stage.HERE.parent}:{stage.HERE}"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=stage.PATIENCE)


def move(hosts, word, program=MOVES):
    """Runs it, and returns how it ended."""
    hosts.write_text("")
    return run("unshare", "--mount", "--map-root-user", sys.executable, "-c", program, hosts, word)


def test_jupyterhub_finds_a_server_at_its_next_address(tmp_path):
    ended = move(tmp_path / "hosts", "forgets")
    assert ended.returncode == 0, ended.stderr


def test_outpost_is_found_at_its_next_address(tmp_path):
    ended = move(tmp_path / "hosts", "forgets", OUTPOST)
    assert ended.returncode == 0, ended.stderr


def test_what_jupyterhub_does_by_itself(tmp_path):
    """Fails when JupyterHub does it by itself: then nothing is to be done about it."""
    ended = move(tmp_path / "hosts", "keeps")
    assert "didn't respond in 5 seconds" in ended.stderr


# A connection that is lost without a word, in a process that JupyterHub's client may be configured in.
LOSES = CLIENT + """
import asyncio, sys

import stage
from test_cluster import lose

forgets = sys.argv[1] == "forgets"
SECONDS = 30 if forgets else 5


async def main():
    configure(forgets)
    lab, accepted = stage.Lab(), []

    class Handler(lab.http.RequestHandlerClass):
        wbufsize = -1  # an answer arrives at once, and its connection is kept by the next request

        def setup(self):
            super().setup()
            accepted.append(self.connection)

    lab.http.RequestHandlerClass = Handler
    url = f"http://127.0.0.1:{lab.port}/"
    await wait_for_http_server(url, timeout=SECONDS)
    if not forgets:
        lose(accepted[0])
    await asyncio.wait_for(wait_for_http_server(url, timeout=SECONDS), SECONDS)
    assert len(accepted) == 2


asyncio.run(main())
"""


def test_jupyterhub_keeps_no_connection_to_a_server():
    ended = run(sys.executable, "-c", LOSES, "forgets")
    assert ended.returncode == 0, ended.stderr


def test_connection_that_jupyterhub_keeps_by_itself():
    """Fails when JupyterHub notices by itself that a connection is lost: then nothing is to be done about it."""
    assert "TimeoutError" in run(sys.executable, "-c", LOSES, "keeps").stderr


def test_restarted_hub_keeps_no_connection_to_a_server(tmp_path):
    """It asks the servers that run before it starts any."""
    w = stage.Watched(tmp_path)
    kept = set()

    class Handler(w.lab.http.RequestHandlerClass):
        wbufsize = -1

        def setup(self):
            super().setup()
            kept.add(self)

        def finish(self):
            super().finish()
            kept.discard(self)

    try:
        w.hub.run("lab")
        w.lab.http.RequestHandlerClass = Handler
        w.hub.stop()
        looks = len(w.lab.looks)
        w.hub.start()
        stage.wait_for("a look", lambda: len(w.lab.looks) > looks)
        stage.wait_for("the end of its connection", lambda: not kept, 30)
    finally:
        w.close()


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A hub for which `server.example` has the address that is in the file `hosts`."""
    hosts = tmp_path / "hosts"
    hosts.write_text("")

    def start(module, argv, cwd, env, log):
        command = ["unshare", "--mount", "--map-root-user", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
        with log.open("a") as file:
            return subprocess.Popen(
                [*command, sys.executable, "-m", module, *argv],
                cwd=cwd, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    monkeypatch.setattr(forked, "Process", start)
    (tmp_path / "values.json").write_text(json.dumps({"config": {"Spawner": {"http_timeout": 30}}}))
    f = stage.Watched(tmp_path)
    yield f
    f.close()


def test_server_that_is_started_again(far, tmp_path):
    """At another address, within the time for which JupyterHub's client would ask the one before."""
    port = stage.free_port()
    far.outpost.service = f"http://server.example:{port}"
    for address in ("127.0.0.2", "127.0.0.3"):
        (tmp_path / "hosts").write_text(f"{address} server.example\n")
        lab = stage.Lab(address, port)
        lab.http.RequestHandlerClass.protocol_version = "HTTP/1.0"  # its end closes connections
        far.hub.run("lab")
        far.hub.stop_server("lab")
        lab.close()
