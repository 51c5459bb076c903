"""Rate limits by token buckets."""

import math
import threading
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import HTTPConnection

MAX_BUCKETS = 10_000
# Wrong keys of one address: so many at once, and then one every three seconds.
WRONG_KEYS_AT_ONCE = 20
WRONG_KEYS_PER_SECOND = 1 / 3


def client_network(connection: HTTPConnection) -> str:
    """Whom a limit counts: an IPv4 address, or the 64 bits of IPv6 that one client usually has for itself."""
    if connection.client is None:
        return ""
    try:
        address = ip_address(connection.client.host)
    except ValueError:  # a client in the same process, or a name from a proxy
        return connection.client.host
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)


class Buckets:
    """Token buckets by name: each gains `rate` tokens a second, up to `burst`. With a rate of 0 there is no limit."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> int:
        """Take a token; 0, or the seconds until the bucket has one."""
        if not self._rate:
            return 0
        with self._lock:
            left = self._left(name)
            if left < 1:
                return math.ceil((1 - left) / self._rate)
            self._buckets[name] = (left - 1, time.monotonic())
            self._buckets.move_to_end(name)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)  # the least recently used one is the fullest
        return 0

    def _left(self, name: str) -> float:
        tokens, at = self._buckets.get(name, (self._burst, 0.0))
        return min(self._burst, tokens + (time.monotonic() - at) * self._rate)
