"""Where the labels of a failure prediction come from: parameters, recorded failures, or a column of the dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.failure_counts import LABEL_COLUMNS, LabelSource
from assets.analyses.prognostics.recorded import RecordedFailure
from assets.analyses.result import CannotAnalyse
from storage.arrays import runs


@dataclass(frozen=True)
class Labels:
    """The failures that a prediction learns from, in time order, and where they come from."""

    source: LabelSource | None
    failures: tuple[RecordedFailure, ...]
    column: str | None = None


def labels_of(
    table: pa.Table, given: Sequence[datetime], recorded: Sequence[RecordedFailure], column: str | None
) -> Labels:
    """The failures of a device: those that were given, else those of the column, else the recorded ones.

    Without any, a column that is named like a label is used.

    Raises:
        CannotAnalyse: the dataset does not have the column that is asked for.

    """
    if given:
        return Labels("parameters", tuple(RecordedFailure(moment) for moment in sorted(set(given))))
    if column is not None:
        return Labels("column", _of_column(table, column), column)
    if recorded:
        return Labels("failures", tuple(recorded))
    measured = readings.measured_metrics(table)
    for name in LABEL_COLUMNS:
        if name in measured and (failures := _of_column(table, name)):
            return Labels("column", failures, name)
    return Labels(None, ())


def _of_column(table: pa.Table, column: str) -> tuple[RecordedFailure, ...]:
    """The runs of readings in which the column is not 0: each begins with a failure, and ends with the repair."""
    values = readings.frame(table, [column])[column].dropna()
    times = pd.DatetimeIndex(values.index)
    if values.nunique() > 2:
        raise CannotAnalyse(
            f"{column} has more than two values, so it does not say when the device failed. Choose a column that is 1"
            " while the device has failed and 0 otherwise."
        )
    return tuple(
        RecordedFailure(
            times[run.start].to_pydatetime(), times[run.stop].to_pydatetime() if run.stop < len(times) else None
        )
        for run in runs(np.asarray(values != 0))
    )
