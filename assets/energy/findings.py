"""What was noticed about the readings that energy rests on, and what it changes."""

from dataclasses import dataclass
from typing import Literal

FindingKind = Literal[
    "outlier", "jump", "rollover", "reset", "meter_change", "correction", "gap", "pending", "not_a_counter",
    "beyond_max_power", "single_reading",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed, at a moment or from `at` until `until` (µs).

    `value` is the reading's, in the metric's unit of account. `effect` is the energy (kWh, or the counter's own unit)
    that it stands for, and `counted` says whether the total includes it. `detail` is a sentence for people.
    """

    metric: str
    kind: FindingKind
    at: int
    until: int
    value: float | None
    effect: float | None
    counted: bool
    detail: str
