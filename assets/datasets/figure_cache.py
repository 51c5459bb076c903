"""What the catalogue keeps of day files, read once: a year of days has megabytes of JSON."""

import threading
from collections.abc import Sequence
from typing import Any

from cachetools import LRUCache
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session

from assets.datasets.columns import DERIVED
from assets.energy.kept import KeptDay
from storage import day_figures
from storage.catalogue import Dataset
from storage.day_figures import DayFile, statistics_of_hours
from storage.telemetry import Statistics

# About 10 KB each.
MAX_DAYS = 5000


class DayFigures:
    """Figures of a day file, each worked out of the catalogue's JSON once."""

    def __init__(self, dataset: Dataset) -> None:
        self.metrics = dataset.metrics
        # Files derive the power factor, so it is not a reading's.
        measured = {name: of for name, of in dataset.statistics.items() if name not in DERIVED}
        self.statistics = Statistics(dataset.rows, measured)
        self.energy = None if dataset.energy is None else KeptDay(dataset.energy)
        self._hourly: dict[str, Any] | None = None

    def of_hours(self, dataset: Dataset, first: int, end: int) -> Statistics | None:
        """Statistics from the hour `first` of the UTC day up to `end` (0 to 24), if the catalogue has them."""
        if self._hourly is None:
            self._hourly = dataset.hourly
        found = statistics_of_hours(self._hourly, first, end)
        return found and Statistics(found.readings, {n: of for n, of in found.metrics.items() if n not in DERIVED})


class FigureCache:
    """Keeps the figures of up to 5,000 day files; the least recently used are dropped first. Safe to share by threads.

    They are keyed by the version of the catalogue's row, so they never go stale.
    """

    def __init__(self, max_days: int = MAX_DAYS) -> None:
        self._days: LRUCache[tuple[int | None, str], DayFigures] = LRUCache(max_days)
        self._lock = threading.Lock()

    def of(self, session: Session, files: Sequence[DayFile]) -> list[tuple[DayFile, DayFigures]]:
        """Files with their figures. Rows whose figures are not kept are read anew; one that is gone is left out."""
        with self._lock:
            known = [self._days.get((file.dataset.id, file.version)) for file in files]
        missing = [file.dataset for file, figures in zip(files, known, strict=True) if figures is None]
        versions = day_figures.load_figures(session, [row.id for row in missing if row.id]) if missing else {}
        new: dict[int | None, DayFigures] = {row.id: DayFigures(row) for row in missing if row.id in versions}
        with self._lock:
            for id_, version in versions.items():
                self._days[id_, version] = new[id_]
        found = []
        for file, figures in zip(files, known, strict=True):
            if figures is not None:
                set_committed_value(file.dataset, "metrics", figures.metrics)
            if (of_file := figures or new.get(file.dataset.id)) is not None:
                found.append((file, of_file))
        return found
