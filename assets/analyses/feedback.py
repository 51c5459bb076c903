"""What people said of a device's anomalies: the threshold learns from it, and it shows how good the detector is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.label import Label
from storage.arrays import Floats, Mask

# The factors by which feedback can move the threshold's distance from the usual score.
MIN_FACTOR, MAX_FACTOR = 0.7, 3.0
MARGIN = 0.02  # of a judged event's strength: an equal one is on the same side of the threshold
NOTHING_SAID = (
    "nobody has said of any event whether it was a fault, and the readings have no labels; send feedback about events"
)
NO_FAULT = "no event, and no period without one, was said to be a fault"
NO_EVENT = "with the threshold that the others teach, no event that somebody judged would be reported"


@dataclass(frozen=True)
class Judged:
    """Labels with the strength that each has in an analysis: above 1, the budget's threshold reports it."""

    labels: tuple[Label, ...]
    strengths: Floats

    @property
    def is_fault(self) -> Mask:
        return np.array([label.verdict == "fault" for label in self.labels], bool)


def rows_within(index: pd.DatetimeIndex, labels: Sequence[Label], verdict: str) -> Mask:
    """The rows in periods with that verdict."""
    within = np.zeros(len(index), bool)
    for label in labels:
        if label.verdict == verdict:
            within[_rows(index, label)] = True
    return within


def pair_strengths(strengths: Floats) -> Floats:
    """What each row reaches together with the next."""
    together: Floats = np.minimum(strengths, np.r_[strengths[1:], strengths[-1:]])
    return together


def judged(
    labels: Sequence[Label], index: pd.DatetimeIndex, strengths: Floats, frozen: Sequence[slice], model: str
) -> Judged:
    """The labels whose strength is known: from these rows, or from the event that was judged, if of the same model.

    Of several labels of one period, given for the same event of several analyses, the first counts: the newest.
    """
    known: list[tuple[Label, float]] = []
    for label in _of_each_period(labels):
        rows = _rows(index, label)
        if rows.stop <= rows.start:
            if label.exceeds is not None and label.model == model:
                known.append((label, label.exceeds))
        elif any(run.start < rows.stop and rows.start < run.stop for run in frozen):
            known.append((label, np.inf))  # reported whatever the threshold is
        else:
            known.append((label, float(strengths[rows.start : max(rows.stop - 1, rows.start + 1)].max())))
    return Judged(tuple(label for label, _ in known), np.array([strength for _, strength in known], float))


def learnt_factor(found: Judged) -> float:
    """By which factor the labels move the threshold's distance from the usual score.

    It is the one that misses the fewest faults and reports the fewest false alarms, both counted alike; of
    equally good ones, the nearest to 1.
    """
    return _factor(found.strengths, found.is_fault)


def _factor(strengths: Floats, is_fault: Mask) -> float:
    beside = strengths * np.where(is_fault, 1 - MARGIN, 1 + MARGIN)
    candidates = np.unique(np.clip(np.r_[1.0, beside[np.isfinite(beside)]], MIN_FACTOR, MAX_FACTOR))
    reported = strengths[None, :] > candidates[:, None]
    wrong = (reported != is_fault[None, :]).sum(axis=1)
    best = np.flatnonzero(wrong == wrong.min())
    return float(candidates[best[np.argmin(np.abs(np.log(candidates[best])))]])


def accuracy(found: Judged) -> dict[str, Any]:
    """Precision and recall over the labels, each judged with the threshold that the others teach.

    `reason` says why one of them is null.
    """
    figures: dict[str, Any] = dict.fromkeys(("precision", "recall", "f1_score"))
    if not found.labels:
        return {**figures, "reason": NOTHING_SAID}
    is_fault, strengths = found.is_fault, found.strengths
    others = [np.arange(len(strengths)) != i for i in range(len(strengths))]
    reported = np.array(
        [strength > _factor(strengths[rest], is_fault[rest]) for strength, rest in zip(strengths, others, strict=True)]
    )
    hits = int((reported & is_fault).sum())
    figures |= {"faults_judged": int(is_fault.sum()), "none_judged": int((~is_fault).sum())}
    if reported.any():
        figures["precision"] = hits / int(reported.sum())
    if is_fault.any():
        figures["recall"] = hits / int(is_fault.sum())
        figures["f1_score"] = 2 * hits / int(reported.sum() + is_fault.sum())
    if not is_fault.any():
        figures["reason"] = NO_FAULT
    elif not reported.any():
        figures["reason"] = NO_EVENT
    return figures


def _of_each_period(labels: Sequence[Label]) -> list[Label]:
    """The labels without those of a period that an earlier one has judged: more than half of both is common to them."""
    kept: list[Label] = []
    for label in labels:
        if not any(_is_same_period(label, other) for other in kept):
            kept.append(label)
    return kept


def _is_same_period(one: Label, other: Label) -> bool:
    common = min(one.end, other.end) - max(one.start, other.start)
    whole = max(one.end, other.end) - min(one.start, other.start)
    return (one.start, one.end) == (other.start, other.end) or common > whole / 2


def _rows(index: pd.DatetimeIndex, label: Label) -> slice:
    first = int(index.searchsorted(pd.Timestamp(label.start), side="left"))
    return slice(first, int(index.searchsorted(pd.Timestamp(label.end), side="right")))
