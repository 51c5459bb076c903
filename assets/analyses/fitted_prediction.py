"""A fitted failure prediction: classifiers, a model of the remaining life, and their test. It can be kept for later."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.failure_labels import Labels
from assets.analyses.learnt_lives import Learnt
from assets.analyses.parameters import MIN_STEPS, PredictionParameters
from assets.analyses.prognostics import remaining_life
from assets.analyses.prognostics.backtest import HELD_OUT_SHARE, Choice, backtest
from assets.analyses.prognostics.classifiers import Classifier, fitted
from assets.analyses.prognostics.drivers import drivers
from assets.analyses.prognostics.features import Features, features
from assets.analyses.prognostics.novelty import KnownWays
from assets.analyses.prognostics.recorded import RecordedFailure
from assets.analyses.prognostics.remaining_life import LifeModel
from assets.analyses.prognostics.steps import Steps, Unit, within
from assets.analyses.result import CannotAnalyse, Progress
from storage.arrays import Floats, Mask, Times

NOTHING_TO_JUDGE = (
    "The readings end with a failure, so none of them can be judged. Choose days that reach beyond the repair."
)
# Horizons of the curve, in horizons of the prediction.
CURVE = (0.25, 0.5, 1.0, 2.0)
# Deviations from the baseline tell how far a life has come, whatever the classifier does best with.
LIFE_FEATURES = ("values", "movement")


@dataclass(frozen=True)
class FittedPrediction:
    """What a failure prediction has learnt, and how good it was.

    `failures`: the device's own that it knows. `metrics`, `step`, `parts` and `paired`: what its features are made of.
    `curve`: quick classifiers of the other horizons of `CURVE`. `times` (µs) and `probabilities`: the device's steps of
    the test on the past. `known_until` (µs): the newest of its steps whose outcome was known. `life` and `ways`: None
    with too few lives. `shown`, `figures`: the parts of a result that later readings do not change.
    """

    failures: tuple[RecordedFailure, ...]
    metrics: tuple[str, ...]
    step: timedelta
    parts: tuple[str, ...]
    paired: tuple[str, ...]
    classifier: Classifier
    curve: dict[float, Classifier]
    times: Times
    probabilities: Floats
    known_until: int
    lives: int
    life: LifeModel | None
    ways: KnownWays | None
    learnt_from: dict[str, int]
    shown: dict[str, Any]
    figures: dict[str, Any]

    def unit(self, table: pa.Table, labels: Labels) -> Unit | None:
        """The device's readings of the metrics; None if there are none, or if other failures are known now."""
        measured = [name for name in readings.measured_metrics(table) if name in self.metrics]
        if not measured:
            return None
        rows = readings.frame(table, measured).reindex(columns=list(self.metrics))
        before, now = (within(rows, failures, self.step) for failures in (self.failures, labels.failures))
        if [failure.failed_at for failure in before] != [failure.failed_at for failure in now]:
            return None
        return Unit(rows, now)

    @property
    def is_fleet(self) -> bool:
        """Whether it has learnt from other devices of the type."""
        return bool(self.shown["fleet"]["used"])

    def of_other_device(self, device_id: str, first: str) -> "FittedPrediction":
        """The same for another device of the type that has not failed; `first` is the one that it was fitted for."""
        fleet = self.shown["fleet"]
        learnt_from = [{"device_id": first, "failures": len(self.failures)}, *fleet["devices"]]
        others = [device for device in learnt_from if device["device_id"] != device_id]
        return replace(
            self,
            failures=(),
            times=self.times[:0],
            probabilities=self.probabilities[:0],
            shown={**self.shown, "fleet": {"used": True, "devices": others, "own_failures": 0}},
        )

    def features_and_probabilities(self, steps: Steps) -> tuple[Features, Floats]:
        """The features of the device's steps, and their probabilities; NaN where the classifier knew the outcome."""
        known, times = features(steps, self.parts, self.paired), times_of(steps)
        probabilities = np.full(len(steps), np.nan)
        if len(self.times):
            at = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
            was_tested = self.times[at] == times
            probabilities[was_tested] = self.probabilities[at[was_tested]]
        later = times > self.known_until
        if later.any():
            probabilities[later] = self.classifier.probability(known.frame[later])
        return known, probabilities


def times_of(steps: Steps) -> Times:
    """The ends of the steps in µs."""
    times: Times = steps.ends.as_unit("us").asi8
    return times


def fit(
    model_name: str, found: Learnt, parameters: PredictionParameters, horizon: timedelta, progress: Progress
) -> FittedPrediction:
    """Learn from lives. A first model learns from the older failures and is tested on the newest, a second from all.

    Raises:
        CannotAnalyse: there are too few steps, all have the same outcome, or none is the device's own.

    """
    steps, seed = found.steps, parameters.seed
    own = steps.unit == 0
    if not own.any():
        raise CannotAnalyse(NOTHING_TO_JUDGE)
    fails, labelled = steps.fails(horizon), steps.labelled(horizon)
    _check_enough(fails[labelled])
    choice, tested = backtest(model_name, steps, horizon, seed, lambda message: progress(20, message))
    progress(60, f"Fitting {model_name} on all failures")
    classifier = fitted(model_name, choice.features, fails, labelled, seed)
    curve = _curve(model_name, steps, choice, horizon, seed)
    progress(75, "Finding the metrics that drive the probability")
    driving, of_age = drivers(classifier, choice.features, fails, labelled, seed)
    progress(85, "Learning how long lives last")
    lives, life, ways, of_life = _lives(found, parameters)
    times, was_tested = times_of(steps)[own], np.isfinite(tested.probabilities[own])
    return FittedPrediction(
        failures=found.failures,
        metrics=tuple(str(name) for name in steps.means),
        step=steps.step,
        parts=choice.parts,
        paired=choice.features.paired,
        classifier=classifier,
        curve=curve,
        times=times[was_tested],
        probabilities=tested.probabilities[own][was_tested],
        known_until=int(times[labelled[own]].max(initial=0)),
        lives=lives,
        life=life,
        ways=ways,
        learnt_from={"failures_learnt_from": len(steps.failed_lives), "devices_learnt_from": 1 + len(found.devices)},
        shown={
            "drivers": driving,
            "age": of_age,
            "reliability": tested.reliability,
            "fleet": found.fleet,
            "features": {"used": list(choice.parts), "tried": choice.tried},
            "left_out": found.left_out,
        },
        figures={**tested.figures, "remaining_life": of_life},
    )


def _check_enough(fails: Mask) -> None:
    if len(fails) < MIN_STEPS or not fails.any() or fails.all():
        raise CannotAnalyse(
            f"The readings make {len(fails)} steps, {fails.sum()} of them shortly before a failure. At least"
            f" {MIN_STEPS} steps are needed, some before a failure and some not. Choose more days, or a shorter"
            " horizon_hours."
        )


def _curve(model_name: str, steps: Steps, choice: Choice, horizon: timedelta, seed: int) -> dict[float, Classifier]:
    """Classifiers of shorter and longer horizons, without those for which all labels are alike."""
    newest = int(np.flatnonzero(steps.unit == 0)[-1])
    found = {}
    for factor in CURVE:
        fails, labelled = steps.fails(factor * horizon), steps.labelled(factor * horizon)
        labelled[newest] = False
        if factor != 1 and fails[labelled].any() and not fails[labelled].all():
            found[factor] = fitted(model_name, choice.features, fails, labelled, seed, quick=True)
    return found


def _lives(
    found: Learnt, parameters: PredictionParameters
) -> tuple[int, LifeModel | None, KnownWays | None, dict[str, Any] | None]:
    """The number of lives that ran to failure, what was learnt from them, and how good it was for the newest."""
    steps = found.steps
    lives = remaining_life.whole_lives(steps)
    if len(lives) < remaining_life.MIN_LIVES:
        return len(lives), None, None, None
    known = features(steps, LIFE_FEATURES)
    limit = parameters.max_remaining_hours or remaining_life.limit_of(steps, lives)
    model = remaining_life.fit(steps, known, lives, limit, parameters.seed)
    newest = max(1, round(HELD_OUT_SHARE * len(lives)))
    of_life = None
    if len(lives) - newest >= remaining_life.MIN_LIVES:
        older = remaining_life.fit(steps, known, lives[:-newest], limit, parameters.seed)
        of_life = remaining_life.figures(older, steps, known, np.isin(steps.life, lives[-newest:]))
    current = steps.life[np.flatnonzero(steps.unit == 0)[-1]]
    return len(lives), model, KnownWays.of(known, lives[lives != current]), of_life
