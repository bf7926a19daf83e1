"""tornado's curl client, with what it does not offer."""

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient

MAX_ANSWER = 1024 * 1024  # bytes of an outpost's answer
KEPT_CONNECTIONS = 16  # open without a request, to one system
CURLOPT_CA_CACHE_TIMEOUT = 321  # of curl 7.87 and newer; pycurl has no name for it


def prepare_curl(curl):
    """Sets options for each request.

    By default curl caches a CA file for a day, and so would not trust a rotated CA, and accepts answers of any size.
    """
    curl.setopt(pycurl.MAXFILESIZE, MAX_ANSWER)
    trust_anew(curl)


def trust_anew(curl):
    try:
        curl.setopt(CURLOPT_CA_CACHE_TIMEOUT, 0)
    except pycurl.error:
        pass  # older than 7.87: it caches nothing


class Curl(CurlAsyncHTTPClient):
    """A client whose requests can be given up. tornado's goes on with them until their timeout."""

    def initialize(self, **kwargs):
        super().initialize(**kwargs)
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)

    def give_up(self, request):
        """Ends a request and closes its connection."""
        for curl in self._curls:
            info = getattr(curl, "info", None)
            if info and info["request"].request is request:
                info["callback"] = lambda response: None  # nobody waits for it
                self._finish(curl, pycurl.E_ABORTED_BY_CALLBACK, "given up")
                return
