"""The JupyterHub of this process, which calls nothing when it has begun, and what its spawners are told."""

import asyncio

from jupyterhub.app import JupyterHub
from traitlets.config import Config


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


def configured(spawner_class, config, name):
    """Returns a setting of spawners where there is none of them."""
    # Of one that is of no user: traitlets knows all sections and forms in which an operator may say it, or a class of
    # theirs. What else they say may need a user.
    spawner = spawner_class.__new__(spawner_class)
    said = {section: config.get(section) for section in spawner_class.section_names()}
    spawner.config = Config({at: {name: of[name]} for at, of in said.items() if isinstance(of, dict) and name in of})
    return getattr(spawner, name)
