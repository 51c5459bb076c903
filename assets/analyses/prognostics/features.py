"""Features of steps: what a model may know at a step's end. None of them looks across a repair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from assets.analyses.prognostics.steps import HOUR, STEPS_PER_HORIZON, Steps
from storage.arrays import Indices

BASELINE_STEPS = 24  # after a repair: what the repaired machine does in them is its baseline
SHORT_STEPS = STEPS_PER_HORIZON // 4
MAX_PAIRED = 10  # metrics, of which products and differences are made
AGE = "age"
PRODUCT, DIFFERENCE = " * ", " - "  # between the names of two metrics


@dataclass(frozen=True)
class Features:
    """One row per step, of the life in `life`.

    `metrics` has the metrics that each column is made from, none for the age. `paired`: the metrics that pairs are
    made of.
    """

    frame: pd.DataFrame
    metrics: tuple[tuple[str, ...], ...]
    life: Indices
    paired: tuple[str, ...]

    def columns_of(self, metric: str) -> list[str]:
        """The features that a metric has a part in."""
        return [str(name) for name, owners in zip(self.frame.columns, self.metrics, strict=True) if metric in owners]


Column = tuple[str, tuple[str, ...], pd.Series]


def _values(steps: Steps, _paired: Sequence[str]) -> list[Column]:
    """The metrics themselves."""
    return [(str(name), (str(name),), values) for name, values in steps.means.items()]


def _movement(steps: Steps, _paired: Sequence[str]) -> list[Column]:
    """How each metric moves within its life: smoothed, spread, trend, and its distance from the unit's own baseline.

    The baseline is the mean of the life's first steps: machines differ, and a repair changes a machine.
    """
    found: list[Column] = []
    for metric, values in steps.means.items():
        name = str(metric)
        lives = values.groupby(steps.life)
        smooth, long = (_rolling_mean(values, steps, window) for window in (SHORT_STEPS, STEPS_PER_HORIZON))
        spread = lives.rolling(STEPS_PER_HORIZON, min_periods=2).std().droplevel(0)
        found += [
            (f"{name}, rolling mean", (name,), smooth),
            (f"{name}, rolling spread", (name,), spread),
            (f"{name}, from its baseline", (name,), long - _baseline(values, steps)),
            (f"{name}, trend", (name,), smooth - long),
        ]
    return found


def _rolling_mean(values: pd.Series, steps: Steps, window: int) -> pd.Series:
    return values.groupby(steps.life).rolling(window, min_periods=1).mean().droplevel(0)


def _baseline(values: pd.Series, steps: Steps) -> pd.Series:
    """The mean of the first steps of each life; during these steps, the mean so far."""
    lives = values.groupby(steps.life)
    so_far = lives.expanding().mean().droplevel(0)
    return so_far.where(lives.cumcount() < BASELINE_STEPS).groupby(steps.life).ffill()


def _pairs(steps: Steps, paired: Sequence[str]) -> list[Column]:
    """Products and differences of two metrics: power is torque times speed, a lost fan is a difference of temperatures.

    `paired` are the metrics to make them of.
    """
    found: list[Column] = []
    for one, other in combinations(paired, 2):
        left, right = steps.means[one], steps.means[other]
        found += [
            (f"{one}{PRODUCT}{other}", (one, other), left * right),
            (f"{one}{DIFFERENCE}{other}", (one, other), left - right),
        ]
    return found


def in_words(column: str, metrics: Sequence[str]) -> str:
    """What people call a feature that is made of these metrics."""
    if len(metrics) == 2 and column == PRODUCT.join(metrics):
        return f"{metrics[0]} together with {metrics[1]} (their product)"
    if len(metrics) == 2 and column == DIFFERENCE.join(metrics):
        return f"the difference between {metrics[0]} and {metrics[1]}"
    return column


def _most_varied(means: pd.DataFrame) -> Sequence[str]:
    """The metrics that vary most around their mean, at most `MAX_PAIRED`."""
    names = [str(name) for name in means]
    if len(names) <= MAX_PAIRED:
        return names
    variation = (means.std() / means.abs().mean().replace(0, np.nan)).fillna(0).to_numpy()
    chosen = np.argsort(-variation, kind="stable")[:MAX_PAIRED]
    return [names[i] for i in sorted(chosen.tolist())]


PARTS: Mapping[str, Callable[[Steps, Sequence[str]], list[Column]]] = {
    "values": _values,
    "movement": _movement,
    "pairs": _pairs,
}
# What a test on the past chooses from; each also has the age of the life.
FEATURE_SETS: tuple[tuple[str, ...], ...] = (
    ("values",),
    ("values", "movement"),
    ("values", "pairs"),
    ("values", "movement", "pairs"),
)


def features(steps: Steps, parts: Sequence[str], paired: Sequence[str] | None = None) -> Features:
    """The features of these parts, and the age of the life. `paired`: metrics to pair, by default the most varied.

    The age is coarse: where lives happen to last equally long, a fine one would stand in for all metrics.
    """
    paired = tuple(_most_varied(steps.means) if paired is None else paired)
    age = np.floor(steps.age / (STEPS_PER_HORIZON * steps.step / HOUR))
    columns = [(AGE, (), pd.Series(age)), *(column for part in parts for column in PARTS[part](steps, paired))]
    frame = pd.DataFrame({name: values.to_numpy(float) for name, _, values in columns})
    return Features(frame, tuple(owners for _, owners, _ in columns), steps.life, paired)
