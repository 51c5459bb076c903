"""The name of the baseline that a forecast was compared with."""

from collections.abc import Mapping
from typing import Any

# Before the name of the best baseline in a forecast's figures.
BASELINE_PREFIX = "seasonal naive: "


def best_baseline(figures: Mapping[str, Any]) -> str:
    """The name of a forecast's best baseline, as its `baselines` call it; empty without a test on the past."""
    return str(figures.get("baseline") or "").removeprefix(BASELINE_PREFIX)
