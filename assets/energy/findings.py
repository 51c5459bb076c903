"""What was noticed about the readings that energy rests on, and what it changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from storage.corrections import CorrectionAction

# Of more findings of one kind about one metric the first and the last are told, and how many lie between them.
MAX_ALIKE = 20
# Digits after the point of kWh: whole milliwatt-hours.
DIGITS = 6

FindingKind = Literal[
    "outlier", "jump", "rollover", "reset", "meter_change", "correction", "gap", "pending", "not_a_counter",
    "beyond_max_power", "beyond_range", "single_reading", "step_ended", "unit", "role",
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
    "beyond_range": "exclude",
    "not_a_counter": None,
    "step_ended": None,
    "unit": None,
    "role": None,
}
# The end of a range is not included: a millisecond after a reading.
MILLISECOND = 1000


@dataclass(frozen=True)
class SuggestedCorrection:
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
    the reading before, of what happened between two readings. `alike` is of how many findings this one tells.
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
    alike: int = 1

    @property
    def correction(self) -> SuggestedCorrection | None:
        """The correction that settles it; None where only the device's metadata can."""
        action = _SUGGESTED[self.kind]
        return (
            None
            if action is None or self.alike > 1
            else SuggestedCorrection(self.metric, self.at, self.until + MILLISECOND, action)
        )


def summarised(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings in order of time, with effects in whole mWh; those of which there are very many in three."""
    told: list[Finding] = []
    by_kind = sorted(findings, key=lambda finding: (finding.metric, finding.kind, finding.at))
    for _, group in groupby(by_kind, key=lambda finding: (finding.metric, finding.kind)):
        alike = list(group)
        told += alike if len(alike) <= MAX_ALIKE else (alike[0], _between(alike[1:-1]), alike[-1])
    exact = (f if f.effect is None else replace(f, effect=round(f.effect, DIGITS)) for f in told)
    return tuple(sorted(exact, key=lambda finding: finding.at))


def _between(alike: Sequence[Finding]) -> Finding:
    first, last = alike[0], alike[-1]
    effects = [finding.effect for finding in alike if finding.effect is not None]
    # Outliers go up and down, so that a sum of theirs would say nothing.
    effect = sum(effects) if effects and first.counted else None
    detail = f"{len(alike)} more of this kind; the next one: {first.detail}"
    return replace(first, until=last.until, value=None, effect=effect, detail=detail, alike=len(alike))
