"""The names of servers' Services, whose addresses are others at each start."""

import pycurl
from tornado.httpclient import AsyncHTTPClient

try:
    from jupyterhub.httpclient import JupyterHubHTTPClient
except ImportError:
    JupyterHubHTTPClient = None  # JupyterHub 5 asks servers by tornado's client


def forget_addresses(options):
    """Returns the options of JupyterHub 6's client, with which it looks a name up for each connection, unless they say
    what it does."""
    if not isinstance(options, dict) or {"use_dns_cache", "ttl_dns_cache"} & set(options):
        return options
    return {**options, "use_dns_cache": False}


def forget_addresses_now():
    """Lets the client of a running JupyterHub 5 look a name up for each connection.

    curl keeps an address for a minute. Where a server is started again within that, JupyterHub would ask the address
    that its Service had, from which nobody answers, until then.
    """
    if JupyterHubHTTPClient is None:
        AsyncHTTPClient().defaults.setdefault("prepare_curl_callback", _forget)


def _forget(curl):
    curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
