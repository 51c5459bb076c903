"""A cache of file columns that are read often in part: above all those of the open day."""

import threading
from collections.abc import Callable, Sequence

import pyarrow as pa
from cachetools import LRUCache


class ColumnCache:
    """Keeps up to `max_bytes` of columns; the least recently used ones are dropped first. Safe to share by threads.

    Columns are keyed by the file's hash, so they never go stale.
    """

    def __init__(self, max_bytes: int) -> None:
        self._columns: LRUCache[tuple[str, str], pa.ChunkedArray] = LRUCache(max_bytes, getsizeof=lambda c: c.nbytes)
        self._lock = threading.Lock()

    def columns(self, sha256: str, names: Sequence[str], read: Callable[[list[str]], pa.Table]) -> pa.Table:
        """The columns of the file with this hash; `read` is called for those that are not cached."""
        with self._lock:
            columns = {name: self._columns[sha256, name] for name in names if (sha256, name) in self._columns}
        if missing := [name for name in names if name not in columns]:
            table = read(missing)
            columns |= {name: table[name] for name in missing}
            with self._lock:
                for name in missing:
                    if columns[name].nbytes <= self._columns.maxsize:
                        self._columns[sha256, name] = columns[name]
        return pa.table({name: columns[name] for name in names})
