"""Options of curl that tornado's client does not offer."""

MAX_ANSWER = 1024 * 1024  # bytes of an outpost's answer
CURLOPT_CA_CACHE_TIMEOUT = 321  # of curl 7.87 and newer; pycurl has no name for it


def prepare_curl(curl):
    """Sets options of curl that tornado's client does not offer.

    By default curl caches a CA file for a day, and so would not trust a rotated CA, and accepts answers of any size.
    """
    import pycurl  # here because only tornado's curl client needs it

    curl.setopt(pycurl.MAXFILESIZE, MAX_ANSWER)
    try:
        curl.setopt(CURLOPT_CA_CACHE_TIMEOUT, 0)
    except pycurl.error:
        pass  # older than 7.87: it caches nothing
