"""Readings from the file of a day."""

from collections.abc import Sequence

import pyarrow as pa

from assets.datasets import files
from assets.datasets.column_cache import ColumnCache
from assets.datasets.columns import DERIVED
from assets.datasets.files import raw_file
from assets.datasets.read_plan import Segment
from assets.datasets.rows import having_any, with_metrics
from storage.catalogue import Dataset
from storage.devices import order_metrics
from storage.objects import ObjectStore
from storage.telemetry import CONTEXT

FILE_CONTEXT = ("device_type", "location")  # the columns of CONTEXT that files have


class FileReadings:
    """Reads the files that a read plan names. `cache` keeps columns of files that are read in part."""

    def __init__(self, objects: ObjectStore, cache: ColumnCache | None) -> None:
        self._objects = objects
        self._cache = cache

    def read(
        self, segment: Segment, metrics: Sequence[str] | None, *, context: bool = False, keep: bool = False
    ) -> pa.Table:
        """The readings of a segment that come from its file, without corrections.

        `keep` caches the columns of a whole file too.
        """
        assert segment.file is not None  # noqa: S101 - the callers have checked it
        file = raw_file(segment.file)
        wanted = order_metrics(set(file.metrics) - DERIVED) if metrics is None else list(metrics)
        file_context = FILE_CONTEXT if context else ()
        rows = self._columns(
            file,
            ["timestamp", *file_context, *(n for n in wanted if n in file.metrics)],
            cached=keep or not segment.is_of_file,
        )
        if not segment.has_whole_file:
            edges = rows["timestamp"].cast(pa.int64()).to_numpy().searchsorted([segment.start, segment.file_end])
            rows = rows.slice(edges[0], edges[1] - edges[0])
        rows = rows.rename_columns(["time", *rows.column_names[1:]])
        if context:
            for field in CONTEXT:
                if field.name not in FILE_CONTEXT:
                    rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
        rows = with_metrics(rows, wanted, CONTEXT.names if context else ())
        return rows if metrics is None else having_any(rows, wanted)

    def _columns(self, file: Dataset, names: list[str], *, cached: bool) -> pa.Table:
        """Columns of a file, through the cache where it is likely to be read again."""

        def read(columns: list[str]) -> pa.Table:
            return files.read(self._objects, [file], columns)

        if self._cache is None or not cached:
            return read(names)
        return self._cache.columns(file.sha256, names, read)
