"""How much one client may ask: a bucket of tokens each, and no body beyond a size."""

import math
import threading
import time
from collections import OrderedDict

MAX_BUCKETS = 10_000


class Buckets:
    """Token buckets by name: `rate` tokens a second flow into each, up to `burst`. A rate of 0 limits nothing."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> int:
        """Take a token; 0, or the seconds until there is one."""
        if not self._rate:
            return 0
        with self._lock:
            left = self._left(name)
            if left < 1:
                return math.ceil((1 - left) / self._rate)
            self._buckets[name] = (left - 1, time.monotonic())
            self._buckets.move_to_end(name)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)  # the one that was used longest ago is the fullest
        return 0

    def empty(self, name: str) -> bool:
        with self._lock:
            return bool(self._rate) and self._left(name) < 1

    def _left(self, name: str) -> float:
        tokens, at = self._buckets.get(name, (self._burst, 0.0))
        return min(self._burst, tokens + (time.monotonic() - at) * self._rate)


class Limits:
    """Requests by key or address, and wrong keys by address."""

    def __init__(self, requests_per_second: float) -> None:
        self.requests = Buckets(requests_per_second, 10 * requests_per_second)
        self.failures = Buckets(1 / 3 if requests_per_second else 0, 20)
