"""What was noticed about the readings that energy rests on, and what it changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from storage.corrections import CorrectionAction

FindingKind = Literal[
    "outlier", "jump", "rollover", "reset", "meter_change", "correction", "gap", "pending", "not_a_counter",
    "beyond_max_power", "single_reading",
]  # fmt: skip

# What people mostly do about a finding: readings that are wrong are excluded, what is right is confirmed.
_SUGGESTED: Mapping[FindingKind, CorrectionAction | None] = {
    "outlier": "exclude",
    "single_reading": "exclude",
    "beyond_max_power": "exclude",
    "jump": "confirm",
    "rollover": "confirm",
    "reset": "confirm",
    "meter_change": "confirm",
    "correction": "confirm",
    "gap": "confirm",
    "pending": "confirm",
    "not_a_counter": None,
}
# The end of a range is not included: a millisecond after a reading.
MILLISECOND = 1000


@dataclass(frozen=True)
class Suggestion:
    """A correction that somebody may want to post: the metric, the half-open range (µs) and the action."""

    metric: str
    start: int
    end: int
    action: CorrectionAction


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed, at a moment or from `at` until `until` (µs).

    `value` is the reading's, in the metric's unit of account. `effect` is the energy (kWh, or the counter's own unit)
    that it stands for, and `counted` says whether the total includes it. `detail` is a sentence for people. `since` is
    the reading before, of what happened between two readings.
    """

    metric: str
    kind: FindingKind
    at: int
    until: int
    value: float | None
    effect: float | None
    counted: bool
    detail: str
    since: int | None = None

    @property
    def correction(self) -> Suggestion | None:
        """The correction that settles it; None where only the device's metadata can."""
        action = _SUGGESTED[self.kind]
        return None if action is None else Suggestion(self.metric, self.at, self.until + MILLISECOND, action)
