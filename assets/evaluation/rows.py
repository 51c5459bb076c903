"""Anomaly detection row by row: which rows a model flags, and their scores."""

import numpy as np
import pandas as pd

from assets.analyses import AnomalyParameters, readings
from assets.analyses.detector import fit_detector
from assets.analyses.events import anomalous
from assets.analyses.features import features
from assets.analyses.regimes import Fitting, Regime, follow_changes, strengths_of
from assets.evaluation.tables import ignore_progress, table
from storage.arrays import Floats, Mask


def flags_and_scores(model: str, rows: pd.DataFrame, fitted: int, seed: int = 1) -> tuple[Mask, Floats]:
    """Whether a model that is fitted on the first rows flags each row, and each row's score."""
    frame = readings.frame(table(rows))
    training = np.arange(len(frame)) < fitted
    parameters = AnomalyParameters(trained_until=frame.index[fitted].to_pydatetime(), seed=seed)
    prepared = features(frame, training)
    detector, scores = fit_detector(model, prepared, training, parameters, ignore_progress)
    nothing = np.zeros(len(frame), bool)
    fitting = Fitting(model, parameters, lambda learnt: features(frame, learnt))
    first = Regime(0, prepared, detector, None, None)
    regimes = follow_changes(first, strengths_of(detector, scores), training, nothing, fitting)
    scores = regimes.strengths
    flags = anomalous(scores > 1, prepared.judged & ~regimes.between, prepared.window)
    for change in regimes.changes:
        flags[change] = True
    if len(frame) < len(rows):  # a moment that is given twice is one
        at = frame.index.get_indexer(pd.DatetimeIndex(rows["timestamp"]))
        return flags[at], scores[at]
    return flags, scores
