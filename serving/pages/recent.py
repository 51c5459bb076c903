"""Figures that many open pages ask for again and again: worked out once in a while, for all of them."""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import TTLCache
from fastapi import Request

Value = TypeVar("Value")
MAX_VALUES = 20_000


class Recent:
    """Keeps values for some seconds. Who asks while a value is worked out waits for it. Safe to share by threads."""

    def __init__(self, seconds: float) -> None:
        self._values: TTLCache[Hashable, Any] = TTLCache(MAX_VALUES, seconds)
        self._locks: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of the key, made anew if none is kept."""
        with self._lock:
            lock = self._locks[key]
        with lock:
            with self._lock:
                if key in self._values:
                    kept: Value = self._values[key]
                    return kept
            value = make()
            with self._lock:
                self._values[key] = value
                self._locks.pop(key, None)
            return value


def recent(request: Request, seconds: float = 20) -> Recent:
    """The app's values of that age."""
    kept: dict[float, Recent] = request.app.state.recent
    return kept.setdefault(seconds, Recent(seconds))
