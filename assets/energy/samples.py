"""Readings of one metric as arrays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from storage.arrays import Floats, Times


@dataclass(frozen=True)
class Samples:
    """Ascending readings of one metric: times (µs) and values as the device sent them."""

    times: Times
    values: Floats


def samples_of(table: pa.Table, time: str, metric: str) -> Samples:
    """The readings of a metric in a table whose column `time` ascends."""
    if metric not in table.column_names:
        return Samples(np.zeros(0, np.int64), np.zeros(0))
    values = table[metric].to_numpy()
    known = np.isfinite(values)
    return Samples(table[time].cast(pa.int64()).to_numpy()[known], values[known])
