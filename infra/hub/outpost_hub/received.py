"""Texts and numbers from servers and outposts, as they are shown and stored."""

import bisect
import html
import json
import math
import re

SERVICE_ADDRESS = re.compile(r"(https?://)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?:([0-9]{1,5})")

# Sizes in bytes. "As JSON" is how the hub's database and API write a value: ASCII, a character takes up to 12 bytes.
MAX_TEXT = 4000  # of one text, as JSON
MAX_HTML = 8000  # of one text as HTML, as JSON: escaping makes a text longer
MAX_KEPT = 128 * 1024  # of all events of one start, and of all log lines of one server, as JSON
MAX_REASON = 16 * 1024  # of the reason that an outpost gives for an error, as JSON
MAX_EVENTS = 500  # of one start, and log lines of one server

EVENT_TAGS = re.compile(r"&lt;(/?(?:details|summary|pre|br)/?)&gt;")  # tags that keep their meaning; the rest is text


def json_size(value):
    return len(json.dumps(value))


def safe_text(value, size):
    """Returns the longest beginning of a string that takes at most `size` bytes as JSON; "" for any other type."""
    if not isinstance(value, str):
        return ""
    # JSON can contain lone surrogates, which cannot be encoded as UTF-8.
    text = value[:size].encode("utf-8", "replace").decode()
    if json_size(text) <= size:
        return text
    return text[: bisect.bisect_right(range(len(text) + 1), size, key=lambda n: json_size(text[:n])) - 1]


def safe_number(value, low, high):
    """Returns a finite number, limited to `low` and `high`; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(max(value, low), high)


def safe_html(text):
    """Returns `text` as HTML in which only EVENT_TAGS have a meaning, cut to MAX_HTML."""
    safe = EVENT_TAGS.sub(r"<\1>", html.escape(html.unescape(text), quote=False))
    short = safe_text(safe, MAX_HTML)
    # The end of a cut text may be part of a tag or of an entity.
    return safe if short == safe else re.sub(r"<[^>]*$|&[^;\s]{0,8}$", "", short)


def safe_event(event):
    """Returns an event that can be shown and stored: texts of limited size, safe HTML, finite numbers."""
    if not isinstance(event, dict):
        return {}
    message = safe_text(event.get("message"), MAX_TEXT)
    safe = {"message": message, "html_message": safe_html(safe_text(event.get("html_message"), MAX_HTML) or message)}
    progress = safe_number(event.get("progress"), 0, 100)
    if progress is not None:
        safe["progress"] = progress
    if event.get("failed"):
        safe["failed"] = True
    return safe


def newest(items, count=MAX_EVENTS, size=MAX_KEPT):
    """Returns the last of `items` that fit into `count` and `size`, in their order."""
    kept = []
    for item in reversed(items):
        size -= json_size(item) + 2
        if size < 0 or len(kept) == count:
            break
        kept.append(item)
    return kept[::-1]


def safe_logs(logs):
    lines = logs[-MAX_EVENTS:] if isinstance(logs, list) else []
    return newest([safe_text(line, MAX_TEXT) for line in lines])


def safe_exit_code(code):
    code = safe_number(code, -(2**31), 2**31 - 1)
    return None if code is None else int(code)


def safe_address(address):
    """Returns a server's address as an outpost gives it, [http[s]://]host:port; "" for any other value."""
    found = SERVICE_ADDRESS.fullmatch(address) if isinstance(address, str) else None
    return address if found and 0 < int(found[3]) < 65536 else ""


def safe_state(state):
    """Returns a spawner's state with values from servers and outposts limited in size, and with finite numbers.

    It applies before a state is stored and after one is read: a row may be older than this module.
    """
    safe = dict(state)
    if "events" in state:
        events = state["events"] if isinstance(state["events"], list) else []
        safe["events"] = newest([safe_event(e) for e in events[-MAX_EVENTS:] if isinstance(e, dict)])
    if "logs" in state:
        safe["logs"] = safe_logs(state["logs"])
    if "exitCode" in state:
        safe["exitCode"] = safe_exit_code(state["exitCode"])
    if "port_forward_info" in state:
        info = state["port_forward_info"]
        address = safe_address(info.get("service")) if isinstance(info, dict) else ""
        safe["port_forward_info"] = {"service": address} if address else {}
    if "custom_port" in state:
        safe["custom_port"] = int(safe_number(state["custom_port"], 0, 65535) or 0)
    return safe


def safe_answer(action, answer):
    """Returns the parts that the client uses of an outpost's answer to the action "start", "poll" or "stop"."""
    if answer is None and action == "stop":
        return None
    answer = answer if isinstance(answer, dict) else {}
    if action == "start":
        return {"service": safe_address(answer.get("service"))}
    return {"status": safe_exit_code(answer.get("status")), "logs": safe_logs(answer.get("logs"))}
