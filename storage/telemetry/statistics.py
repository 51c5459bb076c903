"""Count, minimum, maximum and sum of metrics: of readings, and of several ranges together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from storage.devices import order_metrics


@dataclass(frozen=True)
class MetricStatistics:
    """Statistics of one metric over a range, in the metric's unit. There is at least one value."""

    count: int
    min: float
    max: float
    sum: float

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self | None:
        """Statistics of a float64 column; None if every value is null."""
        values = column.drop_null().to_numpy()  # numpy needs a fifth of the time that pyarrow does
        if not len(values):
            return None
        return cls(len(values), float(values.min()), float(values.max()), float(values.sum()))

    @property
    def mean(self) -> float:
        """To twelve digits: those beyond depend on the order in which values were added."""
        return float(f"{self.sum / self.count:.12g}")

    def __add__(self, other: Self) -> Self:
        """Statistics of both ranges together."""
        return type(self)(
            self.count + other.count, min(self.min, other.min), max(self.max, other.max), self.sum + other.sum
        )


@dataclass(frozen=True)
class Statistics:
    """How many readings of a device lie in a range, and the statistics of each metric that they have."""

    readings: int
    metrics: dict[str, MetricStatistics]


def add_metrics(parts: Iterable[Mapping[str, MetricStatistics]]) -> dict[str, MetricStatistics]:
    """Statistics of every metric over all parts, in the order of `order_metrics`."""
    total: dict[str, MetricStatistics] = {}
    for part in parts:
        for name, statistics in part.items():
            total[name] = total[name] + statistics if name in total else statistics
    return {name: total[name] for name in order_metrics(set(total)) if name in total}


def add_statistics(parts: Iterable[Statistics]) -> Statistics:
    """Statistics of all parts together."""
    parts = list(parts)
    return Statistics(sum(part.readings for part in parts), add_metrics(part.metrics for part in parts))
