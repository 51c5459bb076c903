"""What a range of a device holds in InfluxDB: its series, its fields, and which of them are metrics."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storage.devices import METRIC, order_metrics
from storage.telemetry.line_protocol import OUT_OF_BAND, RECEIVED_AT, TAGS

Tags = tuple[str | None, ...]  # the values of TAGS, as they are stored

_metric = re.compile(METRIC)


def is_metric(name: str) -> bool:
    """Whether a field is a metric: its name is one of a metric, and not one of the platform's own fields."""
    return name != RECEIVED_AT and _metric.fullmatch(name) is not None


@dataclass(frozen=True)
class Survey:
    """The first value of each series and field in the range: rows with `_time`, `_field` and the tags."""

    rows: list[dict[str, Any]]

    @cached_property
    def first(self) -> dict[str, int]:
        """Every field with the time of its first value."""
        return {row["_field"]: row["_time"] for row in self.rows}

    @cached_property
    def series(self) -> list[Tags]:
        return list(dict.fromkeys(tuple(row.get(tag) for tag in TAGS) for row in self.rows))

    @cached_property
    def metrics(self) -> list[str]:
        return order_metrics(set(filter(is_metric, self.first)))

    @cached_property
    def flagged(self) -> list[str]:
        """Metrics that are out of band anywhere in the range."""
        return [name for name in self.metrics if name + OUT_OF_BAND in self.first]

    def present(self, fields: Iterable[str]) -> list[str]:
        """Those of the fields that the range has."""
        return [name for name in fields if name in self.first]

    @property
    def is_plain(self) -> bool:
        """Whether there is one series, and a `received_at` for every reading (older platforms wrote none)."""
        return len(self.first) == len(self.rows) > 0 and self.first.get(RECEIVED_AT) == min(self.first.values())
