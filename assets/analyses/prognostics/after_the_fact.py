"""Metrics that were filled in afterwards: nothing that is known only after a failure may help to foretell it."""

import re

import numpy as np
import pandas as pd

from assets.analyses.prognostics.steps import HOUR, Steps
from storage.arrays import Floats, Indices, Mask

# Names such as `fails_within_30`, `rul_hours` and `time_to_failure`.
NAMES = re.compile(
    r"(fails?|failure)_(in|within)(_.*)?|(rul|ttf)(_.*)?|(time|cycles|hours|days)_to_(fail|failure)|will_fail"
)
IS_OUTCOME = "its name says that it tells the outcome"
MIN_LIVES = 3
MIN_MARKED = 0.9  # of the times at which a mark is set: so many lie before a failure
MAX_UNEXPLAINED = 1e-4  # of a countdown's variance
MIN_STEPS = 5  # of a life, for a countdown


def known_afterwards(steps: Steps) -> dict[str, str]:
    """The metrics that tell when a life will end, each with the reason.

    One is a mark that leaves its usual value at the same time before every failure, and at no other time. The other is
    a countdown: a straight line of the time to the failure, in lives that lasted differently long. No sensor knows
    either.
    """
    lives = [np.flatnonzero(steps.life == life) for life in steps.failed_lives]
    found = {}
    for metric in steps.means:
        name = str(metric)
        values = steps.means[name].to_numpy()
        if NAMES.fullmatch(name):
            found[name] = IS_OUTCOME
        elif (ahead := _mark(values, steps, lives)) is not None:
            found[name] = (
                f"it is set the same time before every failure ({ahead:.3g} h), so it was filled in afterwards"
            )
        elif _is_countdown(values, steps, lives):
            found[name] = "it counts down to the failures, so it was filled in afterwards"
    return found


def _mark(values: Floats, steps: Steps, lives: list[Indices]) -> float | None:
    """How long before each failure the mark is set, in hours; None if it is often set at other times."""
    usual = pd.Series(values).mode()
    if not len(usual):
        return None
    is_set: Mask = np.isfinite(values) & ~np.isclose(values, float(usual.iloc[0]))
    ahead: list[float] = []
    marked = 0
    for life in lives:
        is_whole = bool(is_set[life].all())
        until_failure = len(life) if is_whole else int(np.argmin(is_set[life][::-1]))
        marked += until_failure
        if until_failure and not is_whole:  # of a whole life one does not see when it would have been set
            ahead.append(float(steps.remaining[life[-until_failure]]))
    if len(ahead) < MIN_LIVES or max(ahead) - min(ahead) > 1.5 * (steps.step / HOUR):
        return None
    return float(np.median(ahead)) if marked >= MIN_MARKED * is_set.sum() else None


def _is_countdown(values: Floats, steps: Steps, lives: list[Indices]) -> bool:
    long = [life for life in lives if len(life) >= MIN_STEPS]
    lengths = [float(steps.age[life[-1]]) for life in long]
    if len(long) < MIN_LIVES or np.std(lengths) <= 2 * (steps.step / HOUR):
        return False
    at = np.concatenate(long)
    falling = np.isfinite(values[at]) & (values[at] < np.nanmax(values[at]))  # a countdown may have a highest value
    true, left = values[at][falling], steps.remaining[at][falling]
    if len(true) < MIN_LIVES * MIN_STEPS or pd.Series(true).nunique() < MIN_STEPS:
        return False
    line = np.polyval(np.polyfit(left, true, 1), left)
    return bool(np.mean((true - line) ** 2) <= MAX_UNEXPLAINED * np.var(true))
