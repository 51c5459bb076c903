"""Columns of files that are asked for again and again: of days that ranges begin and end in, the open day above all.

They are kept by the file's hash, under which nothing can ever change.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import pyarrow as pa


class ColumnCache:
    """Up to `max_bytes` of columns; the one that was not asked for longest gives way."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()

    def columns(self, sha256: str, names: Sequence[str], read: Callable[[list[str]], pa.Table]) -> pa.Table:
        """The columns of the file with that hash; `read` reads those that are not kept."""
        found = {}
        with self._lock:
            for name in names:
                if (sha256, name) in self._kept:
                    self._kept.move_to_end((sha256, name))
                    found[name] = self._kept[sha256, name]
        if missing := [name for name in names if name not in found]:
            table = read(missing)
            found |= {name: table[name] for name in missing}
            with self._lock:
                for name in missing:
                    self._keep((sha256, name), table[name])
        return pa.table({name: found[name] for name in names})

    def _keep(self, key: tuple[str, str], column: pa.ChunkedArray) -> None:
        if key in self._kept or column.nbytes > self._max_bytes:
            return
        self._kept[key] = column
        self._bytes += column.nbytes
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
