"""Comparisons of readings with thresholds, the same in rules and in queries."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from storage.arrays import Floats, Mask

Operator = Literal[">", "<", "=", "!=", ">=", "<="]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

# Two numbers are equal if they differ by no more than this share of the greater one.
RELATIVE_TOLERANCE = 1e-9


def is_met(values: Floats, operator: str, thresholds: Floats | float) -> Mask:
    """Whether each value compares to its threshold as the operator says; NaN never does.

    Args:
        values: one number per reading, NaN where a reading lacks the metric.
        operator: one of `OPERATORS`.
        thresholds: one number for all values, or one per value.

    """
    met: Mask = _COMPARISONS[operator](values, thresholds)
    return met


def _equal(values: Floats, thresholds: Floats | float) -> Mask:
    with np.errstate(over="ignore"):  # a difference that overflows is infinite, so the numbers are not equal
        tolerance = RELATIVE_TOLERANCE * np.maximum(np.abs(values), np.abs(thresholds))
        equal: Mask = np.abs(values - thresholds) <= tolerance
    return equal


_COMPARISONS: dict[str, Callable[[Floats, Floats | float], Any]] = {
    ">": np.greater,
    "<": np.less,
    "=": _equal,
    "!=": lambda values, thresholds: ~np.isnan(values) & ~_equal(values, thresholds),
    ">=": lambda values, thresholds: (values > thresholds) | _equal(values, thresholds),
    "<=": lambda values, thresholds: (values < thresholds) | _equal(values, thresholds),
}
