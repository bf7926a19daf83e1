"""The versions of JupyterHub and of the client that work together."""

import re

# Pairs of JupyterHub (major, minor) and jupyterhub-outpostspawner that this module is tested with.
TESTED_PAIRS = {((5, 5), (2, 2, 11)), ((6, 1), (2, 2, 13))}
GOOD_PAIRS = "JupyterHub 5.5.4 with jupyterhub-outpostspawner 2.2.11, or JupyterHub 6.1.1 with 2.2.13"
TESTED_BASE = "2.1.2"


def _numbers(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def check_pair(hub, client, base=TESTED_BASE):
    """Raises RuntimeError for versions that cannot work together. Returns a warning, or None."""
    pair = f"JupyterHub {hub} with jupyterhub-outpostspawner {client}"
    if _numbers(hub) < (5, 3):
        raise RuntimeError(f"{pair} does not work: this JupyterHub is too old. Use {GOOD_PAIRS}.")
    if _numbers(hub) < (6,) and _numbers(client) >= (2, 2, 12):
        raise RuntimeError(f"{pair} does not work: this client requires JupyterHub 6. Use {GOOD_PAIRS}.")
    if (_numbers(hub)[:2], _numbers(client)) not in TESTED_PAIRS:
        return f"{pair} has not been tested. Tested pairs: {GOOD_PAIRS}."
    if base != TESTED_BASE:
        return f"jupyterhub-forwardbasespawner {base} has not been tested. Tested version: {TESTED_BASE}."
    return None
