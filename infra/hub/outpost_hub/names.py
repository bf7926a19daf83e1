"""The names of servers' Services, whose addresses are others at each start."""

import pycurl
from tornado.httpclient import AsyncHTTPClient

try:
    from jupyterhub.httpclient import JupyterHubHTTPClient
except ImportError:
    JupyterHubHTTPClient = None  # JupyterHub 5 asks servers by tornado's client


def forget_addresses(options):
    """Returns the options of JupyterHub 6's client, with which it keeps neither addresses nor connections, unless they
    say what it does."""
    if not isinstance(options, dict):
        return options
    names = {} if {"use_dns_cache", "ttl_dns_cache"} & set(options) else {"use_dns_cache": False}
    connections = {} if {"force_close", "keepalive_timeout"} & set(options) else {"force_close": True}
    return {**options, **names, **connections}


def forget_addresses_now():
    """Lets the client of a running JupyterHub 5 keep neither.

    curl keeps an address for a minute. Where a server is started again within that, JupyterHub would ask the address
    that its Service had, from which nobody answers, until then. On a connection that the network has dropped without a
    word, it would wait for 20 s, and JupyterHub 6 for five minutes.
    """
    if JupyterHubHTTPClient is None:
        AsyncHTTPClient().defaults.setdefault("prepare_curl_callback", _forget)


def _forget(curl):
    curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
    curl.setopt(pycurl.FORBID_REUSE, 1)
