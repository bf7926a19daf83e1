"""A forked process is as one that has been started."""

import json
import os
import signal
import subprocess

import forked
import pytest
import stage

PROBE = """
import atexit, json, os, signal, sys, threading

def last():
    threading.main_thread().join()
    print("last thread", flush=True)

handlers = {n.name: str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals() if isinstance(n, signal.Signals)}
files = {}
for number in os.listdir("/proc/self/fd"):
    try:
        files[number] = os.readlink(f"/proc/self/fd/{number}"), os.get_inheritable(int(number))
    except OSError:
        pass  # the listing's own
print(json.dumps({
    "name": __name__, "argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ), "path": sys.path,
    "flags": str(sys.flags), "streams": [str(s) for s in (sys.stdin, sys.stdout, sys.stderr)],
    "session": os.getsid(0) == os.getpgid(0) == os.getpid(), "handlers": handlers, "blocked": list(signal.pthread_sigmask(0, ())),
    "files": files, "threads": threading.active_count(), "umask": os.umask(0o22), "nice": os.nice(0),
    "loop": "asyncio" in sys.modules and sys.modules["asyncio"]._get_running_loop() is not None,
}), flush=True)
atexit.register(print, "at exit", flush=True)
threading.Thread(target=last).start()
if sys.argv[1] == "wait":
    signal.pause()
sys.exit(3)
"""


def end_of(make, folder, argument, number=None):
    """Returns what the probe says, and how it ends."""
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib" / "probe.py").write_text(PROBE)
    log = folder / "log"
    log.write_text("")
    env = {**os.environ, "PYTHONPATH": f"{folder / 'lib'}:{folder / 'other'}", "PROBE": "1"}
    process = make("probe", [argument, "b c"], folder, env, log)
    if number:
        stage.wait_for("the probe", lambda: "\n" in log.read_text())
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
    code = process.wait(60)
    assert process.poll() == code
    said, *rest = log.read_text().splitlines()
    return json.loads(said), rest, code


def test_as_started(tmp_path):
    said, rest, code = end_of(forked.Process, tmp_path, "end")
    assert (said, rest, code) == end_of(forked.start, tmp_path, "end")
    assert (rest, code, said["argv"][1:], said["session"]) == (["last thread", "at exit"], 3, ["end", "b c"], True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals(tmp_path, number):
    forked_end = end_of(forked.Process, tmp_path, "wait", number)
    started_end = end_of(forked.start, tmp_path, "wait", number)
    assert forked_end[2] == started_end[2] and forked_end[0] == started_end[0]
