"""What went wrong with a start, in words for its user."""

import html
import json
import re
from http.client import responses

from tornado import web

from .received import MAX_REASON, MAX_TEXT, safe_text

TELL_ADMINS = "Tell the administrators of the hub."
# curl's errors for a request that never arrived: unknown host, connection refused, TLS handshake failed.
NOT_SENT = (6, 7, 35)


class StartError(web.HTTPError):
    """A failed start, with a message for the user in the attributes that JupyterHub shows."""

    def __init__(self, message, status=502):
        # The client reads the reason, so it must not be None.
        super().__init__(status, message, reason=responses[status])
        self.jupyterhub_message = message
        self.jupyterhub_html_message = html.escape(message)


class WrongHostKey(ConnectionError):
    """An ssh server has shown a host key other than the known one."""


class UnknownSystem(ConnectionError):
    """The tunnels do not know a system yet: they read their file at another moment than the hub."""


class AnotherHubs(ConnectionError):
    """Another hub has a Service of the name that one of this hub's servers needs."""

    def __init__(self, service, owner):
        super().__init__(
            f"Service {service} is of another hub, {owner}: give each hub that has Services in this namespace its own "
            "namePrefix"
        )


def client_error(error):
    """Returns the status code, 0 for none, and the reason of a failed request to an outpost.

    The client's error is "<action> request to <URL> failed: <code>" with the outpost's text as its reason.
    """
    found = re.search(r" failed(?:: (\d+))?$", getattr(error, "log_message", None) or "")
    code = int(found[1]) if found and found[1] else 0
    return code, str(getattr(error, "reason", "") or "").strip()


def without_query(url):
    return url.partition("?")[0]


def answered(error):
    """Returns what an outpost says about a failed request, or why there is no answer."""
    if not error.response:
        return safe_text(str(error), MAX_REASON)
    text = (error.response.body or b"").decode("utf-8", "replace")
    if error.code == 419:
        try:
            answer = json.loads(text)
            args = answer["args"]
            text = f"{answer['module']}{answer['class']}: {' - '.join(map(str, args)) or 'Unknown error'}"
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
    return safe_text(text, MAX_REASON)


def is_gone(error):
    """Reports whether an outpost says that a service is gone. What is in front of one may answer 404 too."""
    return error.code == 404 and bool(error.response) and b"Item not found" in (error.response.body or b"")


def maybe_refused(error):
    """Reports whether an outpost may have refused a start for what it asks for, as in a maintenance."""
    code, reason = client_error(error)
    return code == 503 or code == 419 and reason.startswith("Exception: ")


def not_accepted(error):
    """Reports whether the outpost has not begun the start: it could not be reached, or was not ready."""
    code, _ = client_error(error)
    return code in (502, 503) or getattr(error.__context__, "errno", None) in NOT_SENT


def unavailable(reason):
    """Returns the message of an outpost that cannot start servers, "" if it has sent none."""
    try:
        (sentence,) = json.loads(reason)["args"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return safe_text(sentence, MAX_TEXT)


def user_message(system, error):
    """Returns what to tell the user about a failed request to an outpost."""
    if isinstance(error, StartError):
        return error.jupyterhub_message
    code, reason = client_error(error)
    if code == 419:
        return f"{system.display_name}: {safe_text(reason, MAX_TEXT) or 'the server could not be started.'}"
    if code == 401:
        return f"{system.display_name} does not accept the hub's password. {TELL_ADMINS}"
    if code == 503 and (sentence := unavailable(reason)):
        return f"{system.display_name} cannot start servers at the moment: {sentence}"
    if code in (0, 502, 503, 504, 599):
        detail = " The hub does not trust its certificate." if re.search("certificate|SSL", reason) else ""
        advice = "Try again later, or choose another system."
        return f"{system.display_name} cannot be reached at the moment.{detail} {advice}"
    return f"{system.display_name} answered with unexpected status {code}. {TELL_ADMINS}"
