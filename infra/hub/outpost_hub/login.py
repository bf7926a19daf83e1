"""Logins to registries that users bring along with a start, to pull an image of their own. They are stored nowhere.

JupyterHub stores the options of a start before any hook sees them, and its API returns them. So a login is taken out of
whatever is assigned to the options of a server, in memory and in the database.
"""

from dataclasses import dataclass, field

from jupyterhub import orm
from jupyterhub.apihandlers.users import UserServerAPIHandler
from sqlalchemy import event
from tornado import web

USERNAME, PASSWORD = "registry_username", "registry_password"
MAX_USERNAME, MAX_PASSWORD = 255, 8192  # bytes
DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class Login:
    """What the user has sent, of whatever types."""

    username: object
    password: object = field(repr=False)

    @property
    def fault(self):
        """What is wrong with it, "" if it can be used."""
        if not (self.username and self.password):
            return "A login to a registry needs a username and a password."
        for text, most in ((self.username, MAX_USERNAME), (self.password, MAX_PASSWORD)):
            if not (isinstance(text, str) and text.isprintable() and len(text.encode()) <= most):
                return "Username and password of a registry must be printable characters, and not too many."
        return "A username of a registry has no colon." if ":" in self.username else ""


class Options(dict):
    """Options of a start, and beside them the login that came with them."""

    login = None


def with_login(options, login):
    """Returns Options with a login, which may be None."""
    result = Options(options)
    result.login = login
    return result


def login_of(options):
    """Returns the login beside options, None if there is none."""
    return getattr(options, "login", None)


def taken_out(options):
    """Returns options without the keys of a login, as Options if they have some."""
    if not isinstance(options, dict) or not (USERNAME in options or PASSWORD in options):
        return options
    rest = {key: value for key, value in options.items() if key not in (USERNAME, PASSWORD)}
    return with_login(rest, Login(options.get(USERNAME), options.get(PASSWORD)))


def registry_of(image):
    """Returns host and port of the registry of an image, as its outpost does."""
    host, slash, _ = image.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost") or host == "index.docker.io":
        return DOCKER_HUB
    return host


def in_link(names):
    """Reports whether the names in a link have one of a login, which is then in logs and in the browser's history."""
    return any(name.removeprefix("opt-").startswith((USERNAME, PASSWORD)) for name in names)


class Servers(UserServerAPIHandler):
    """JupyterHub's, which keeps options for later starts too: it writes them to the log before it stores them."""

    def get_json_body(self):
        return self._checked(super().get_json_body())

    def get_server_json_body(self):  # of JupyterHub 6, which does not call the method above
        return self._checked(super().get_server_json_body())

    def _checked(self, body):
        """Returns a body. Raises HTTPError for one with a login that would be kept."""
        if self.request.method != "POST" and isinstance(body, dict):
            if any(login_of(taken_out(options)) for options in (body, body.get("user_options"))):
                raise web.HTTPError(400, "A login to a registry is for one start, and not kept. Send it with that.")
        return body


def _assigned(target, value, previous, initiator):
    # In memory too: JupyterHub takes the options of a start that names none from here.
    rest = taken_out(value)
    return dict(rest) if isinstance(rest, Options) else value


def keep_out_of_database():
    """Takes logins out of the options that JupyterHub stores, from now on."""
    if not event.contains(orm.Spawner.user_options, "set", _assigned):
        event.listen(orm.Spawner.user_options, "set", _assigned, retval=True)
