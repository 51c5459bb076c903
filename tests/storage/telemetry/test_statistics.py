"""Statistics of metrics, of readings and of parts of them."""

from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa

from storage.telemetry import MetricStatistics


def statistics(values: np.ndarray) -> MetricStatistics:
    found = MetricStatistics.of(pa.chunked_array([pa.array(values)]))
    assert found is not None
    return found


def test_a_mean_is_the_same_whichever_parts_it_is_added_from() -> None:
    """Of whole days, of hours, or of readings: a preview of a correction reads more of the latter than what follows."""
    numbers = np.arange(5520)
    values = numbers % 7 * 0.1 + 1000.3
    hours = reduce(add, map(statistics, np.array_split(values, 23)))
    whole = statistics(values)
    assert hours.sum != whole.sum
    assert hours.mean == whole.mean
