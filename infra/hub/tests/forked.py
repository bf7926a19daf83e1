"""JupyterHub as a process that is forked from one which has imported its packages: that takes seconds of a processor,
two thirds of them for a grammar that the check of JSON schemas brings, and the tests start dozens of hubs."""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["jupyterhub.app", "kubernetes"])


class Process:
    """What tests use of subprocess.Popen, for `python -m jupyterhub ARGUMENT...` in a session of its own."""

    def __init__(self, argv, cwd, env, log):
        self._process = _context.Process(target=_run, args=([str(arg) for arg in argv], cwd, env, log), daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("jupyterhub", timeout)
        return self._process.exitcode

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()


def _run(argv, cwd, env, log):
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[:0] = env["PYTHONPATH"].split(":")
    sys.argv = ["jupyterhub", *argv]
    try:
        runpy.run_module("jupyterhub", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
