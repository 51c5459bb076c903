"""What `static/chart.js` draws: series over time, with spans and lines over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import Response

from serving.http.formats import json_answer

Interval = Literal["15m", "hour", "day", "month"]
Style = Literal["line", "bars", "points"]
SpanKind = Literal["alert", "anomaly", "maintenance"]


@dataclass(frozen=True)
class Series:
    """Values at the chart's times; null breaks the line. `low` and `high` draw a band around it."""

    label: str
    values: Sequence[float | None]
    unit: str = ""
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    style: Style = "line"
    band: str = ""


@dataclass(frozen=True)
class Span:
    """A time (seconds since 1970) that is marked in the chart; a moment has the same start and end."""

    start: float
    end: float
    kind: SpanKind
    label: str


@dataclass(frozen=True)
class Line:
    """A value that is marked across the chart, such as a threshold."""

    value: float
    label: str


@dataclass(frozen=True)
class ChartData:
    """A chart; times are in seconds since 1970, ascending, within `start` and `end`.

    `interval`: each value is of an interval of this length, and its time is the interval's middle. `zone`: whose days
    or months these are; without it times are in the reader's zone.
    """

    start: float
    end: float
    time: Sequence[float]
    series: Sequence[Series]
    spans: Sequence[Span] = ()
    lines: Sequence[Line] = ()
    interval: Interval | None = None
    zone: str | None = None

    def answer(self) -> Response:
        """The chart as JSON."""
        return json_answer(self)
