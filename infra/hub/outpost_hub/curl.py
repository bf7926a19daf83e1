"""tornado's curl client, with what it does not offer."""

import os
import socket

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient

MAX_ANSWER = 1024 * 1024  # bytes of an outpost's answer
KEPT_CONNECTIONS = 16  # open without a request, to one system
LOST_SECONDS = 10  # in which what is sent must have arrived; else the connection is lost
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


def _notice_loss(number, purpose):
    """Lets a connection end that the network has dropped without a word, so that curl asks on another one.

    A request on it would wait until its timeout, which is that of a start.
    """
    with socket.socket(fileno=os.dup(number)) as connection:
        # No probes: with this option, a single one that is lost would end a start that waits for its answer.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000)
    return pycurl.SOCKOPT_OK


class Curl(CurlAsyncHTTPClient):
    """A client whose requests can be given up, which finds an outpost at its address of now.

    tornado's goes on with requests until their timeout, and keeps the address of a name for a minute.
    """

    def initialize(self, **kwargs):
        super().initialize(**kwargs)
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)

    def _curl_setup_request(self, curl, *args):
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
        curl.setopt(pycurl.SOCKOPTFUNCTION, _notice_loss)
        super()._curl_setup_request(curl, *args)

    def give_up(self, request):
        """Ends a request and closes its connection."""
        for curl in self._curls:
            info = getattr(curl, "info", None)
            if info and info["request"].request is request:
                info["callback"] = lambda response: None  # nobody waits for it
                self._finish(curl, pycurl.E_ABORTED_BY_CALLBACK, "given up")
                return
