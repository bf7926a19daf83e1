"""Defaults of this module for JupyterHub's own settings: whatever the operator says wins, wherever it is said."""

import os
from types import NoneType

from jupyterhub.app import JupyterHub
from traitlets.config.loader import Config, LazyConfigValue

from .names import JupyterHubHTTPClient, forget_addresses

INIT_SPAWNERS_SECONDS = 1
STOCK_TEMPLATES = os.path.join(JupyterHub.data_files_path.default_value, "templates")


def set_defaults(c):
    # After a restart, users are answered while running servers are looked at, which may take a minute for 1,000. All
    # other sections that JupyterHub reads come after this one.
    stock = JupyterHub.init_spawners_timeout.default_value
    if "init_spawners_timeout" not in c.Application:
        c.Application.init_spawners_timeout = Default(lambda own: INIT_SPAWNERS_SECONDS if own == stock else own)
    if JupyterHubHTTPClient:
        for of in (c.Application, c.JupyterHub):
            # What zero-to-jupyterhub takes from `hub.config` is a plain dict, which traitlets would merge with nothing.
            if not isinstance(of.get("JupyterHubHTTPClient"), (Config, NoneType)):
                of.JupyterHubHTTPClient = Config(of.JupyterHubHTTPClient)
        # The last section that the client reads.
        section, options = c.JupyterHub.JupyterHubHTTPClient, Default(forget_addresses)
        said = section.get("connector_options")
        section.connector_options = options if said is None else options.merge_into(said)


class Default(LazyConfigValue):
    """What a setting is, by what it would be without this module: traitlets has a word for more in a list or dict, but
    none for what somebody else has not said."""

    def __init__(self, choose):
        """`choose` is called with what the operator says, or a class of theirs, or else JupyterHub."""
        super().__init__()
        self.choose, self.before = choose, None

    def merge_into(self, other):
        if not isinstance(other, LazyConfigValue):
            return self.get_value(other)
        if other is not self:  # traitlets has put this one there before
            self.before = other  # adds to what it will be
        return self

    def get_value(self, initial):
        said = initial if self.before is None else self.before.get_value(initial)
        self._value = None  # what somebody else was told
        return self.choose(super().get_value(said))  # with what has been added to it since


class Appended(LazyConfigValue):
    """What this module adds to a list of the operator's, whatever form that has, and in whichever file."""

    def __init__(self, *added):
        super().__init__()
        self.extend(added)

    def get_value(self, initial):
        return super().get_value([*initial])  # traitlets would add nothing to a tuple


class Templates(LazyConfigValue):
    """A folder of templates that comes after each of the operator's, and before JupyterHub's own."""

    def __init__(self, folder):
        super().__init__()
        self.insert(0, folder)  # before that of JupyterHub, which its own list has alone

    def merge_into(self, other):
        (_, folder), *since = self._inserts
        if isinstance(other, LazyConfigValue):
            other._inserts.insert(0, (0, folder))  # as the first of all: what others put there later comes before it
        else:
            other = [*other]
            stock = (i for i, path in enumerate(other) if os.path.realpath(path) == os.path.realpath(STOCK_TEMPLATES))
            other.insert(next(stock, len(other)), folder)
        self._inserts = since
        return super().merge_into(other)
