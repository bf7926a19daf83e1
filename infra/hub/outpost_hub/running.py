"""The JupyterHub of this process, which calls nothing when it has begun."""

import asyncio

from jupyterhub.app import JupyterHub


def running_hub():
    """Returns JupyterHub if it has begun, with its database and its routes, else None."""
    app = JupyterHub.instance() if JupyterHub.initialized() else None
    return app if getattr(app, "tornado_application", None) else None


def begin_in_background(work):
    """Begins a coroutine function and returns its task, None without a loop: then the configuration is only read."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop.create_task(work())
