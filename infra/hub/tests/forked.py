"""JupyterHub as a process that is forked from one which has imported its packages: the import takes 1.5 s of a
processor, the rest of a start 0.6 s, and the tests start dozens of hubs.

A forked hub shares with the others those packages, as they are after their import, and the seed of hashes; and it is no
child of the tests. All else is its own, as if it had been started: nothing has been opened, no thread and no event loop
begun before the fork; it has its arguments, environment, folder, session, streams and signals, reads its own
configuration, imports the module, and ends as Python ends. test_forked.py compares the two.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading

PACKAGES = ("jupyterhub.app", "kubernetes")


class Forker:
    """The process that forks others. It answers one question at a time, each a line of JSON."""

    def __init__(self):
        self.lock = threading.Lock()
        self.process = self.lines = None

    def ask(self, **question):
        with self.lock:
            if self.process is None:
                self._start()
            self.lines.write(json.dumps(question) + "\n")
            self.lines.flush()
            return int(self.lines.readline())

    def _start(self):
        near, far = socket.socketpair()
        with near, far:
            # In a session of its own: an interrupt from the keyboard is for the tests, which then end their hubs.
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(far.fileno())], pass_fds=[far.fileno()], start_new_session=True
            )
            self.lines = near.makefile("rw")
        atexit.register(self._end)

    def _end(self):
        self.lines.close()
        self.process.wait()  # so that the time which it and its hubs have taken is counted


forker = Forker()


def start(module, argv, cwd, env, log):
    """Starts `python -m MODULE ARGUMENT...` in a session of its own."""
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", module, *argv],
            cwd=cwd, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


class Process:
    """What tests use of what `start` returns, but forked."""

    def __init__(self, module, argv, cwd, env, log):
        self.args = [module, *(str(arg) for arg in argv)]
        self.returncode = None
        self.pid = forker.ask(args=self.args, cwd=str(cwd), env=env, log=str(log))
        self._end = os.pidfd_open(self.pid)

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            end = select.poll()
            end.register(self._end, select.POLLIN)
            if not end.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout)
            os.close(self._end)
            self.returncode = forker.ask(ended=self.pid)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _serve(channel):
    for name in PACKAGES:
        importlib.import_module(name)
    assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1, "a fork would lose threads"
    gc.collect()
    gc.freeze()  # a collection in a fork would write to all that it shares
    lines = channel.makefile("rw")
    while line := lines.readline():
        question = json.loads(line)
        if "ended" in question:
            _, status = os.waitpid(question["ended"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                lines.close()
                channel.close()
                _become(**question)
                return
        lines.write(f"{answer}\n")
        lines.flush()


def _become(args, cwd, env, log):
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    sys.path[:1] = [cwd, *env["PYTHONPATH"].split(":")]  # in place of the folder of this file
    sys.argv[:] = args
    runpy.run_module(args[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
