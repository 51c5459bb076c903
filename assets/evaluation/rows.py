"""Anomaly detection row by row: which rows a model flags, and their scores."""

import numpy as np
import pandas as pd

from assets.analyses import anomaly, readings
from assets.analyses.features import features
from assets.evaluation.tables import ignore_progress, table
from storage.arrays import Floats, Mask


def flags_and_scores(model: str, rows: pd.DataFrame, fitted: int, seed: int = 1) -> tuple[Mask, Floats]:
    """Whether a model that is fitted on the first rows flags each row, and each row's score."""
    frame = readings.frame(table(rows))
    training = np.arange(len(frame)) < fitted
    scores, limit = anomaly.scores_and_limit(model, features(frame, training), training, seed, ignore_progress)
    if len(frame) < len(rows):  # a moment that is given twice is one
        scores = scores[frame.index.get_indexer(pd.DatetimeIndex(rows["timestamp"]))]
    return np.asarray(scores > limit), scores
