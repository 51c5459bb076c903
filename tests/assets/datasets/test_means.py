"""Long histories of many metrics, which are read as means."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from assets.analyses import readings
from assets.datasets import export_day, means, read_history
from assets.datasets.means import GRID, means_over
from storage.stores import Stores
from storage.times import MINUTE
from tests.support.plant import DAY, DAY_MINUTES, reading, store


@given(st.lists(st.tuples(st.integers(0, 500), st.none() | st.floats(-1e6, 1e6) | st.just(float("inf"))), min_size=1))
def test_means_are_those_of_the_rows_in_each_step(rows: list[tuple[int, float | None]]) -> None:
    seconds, values = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    times = pa.array([second * 1_000_000 for second in seconds]).cast(pa.timestamp("us", tz="UTC"))
    made = means_over(pa.table({"timestamp": times, "power": pa.array(values, pa.float64())}), 10_000_000)
    column = pd.Series(np.array(values, float), np.array(seconds) // 10).replace([np.inf, -np.inf], np.nan)
    expected = column.groupby(level=0).mean()
    assert [time.timestamp() for time in made["timestamp"].to_pylist()] == [10.0 * step for step in expected.index]
    assert made["power"].to_numpy() == pytest.approx(expected.to_numpy(), nan_ok=True)


def test_files_are_averaged_one_by_one_if_their_rows_are_too_many(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY + timedelta(days=number) for number in range(2)]
    store(stores, *(reading(m, power=m % 60, voltage=230) for m in range(0, 2 * DAY_MINUTES, 5)))
    for day in days:
        export_day(stores, "D1", day)
    _, whole, _ = read_history(stores, "D1", start=days[0], end=days[1], as_means=True)
    assert len(whole) == 2 * DAY_MINUTES / 5
    monkeypatch.setattr(means, "MAX_VALUES", 200)
    for metrics, minutes in ((None, 30), (["power"], 15)):
        datasets, table, _ = read_history(stores, "D1", start=days[0], end=days[1], as_means=True, metrics=metrics)
        assert len(table) == 2 * DAY_MINUTES / minutes
        assert sum(dataset.rows for dataset in datasets) == 2 * DAY_MINUTES / 5
        rows, grid = readings.thinned(table, metrics)
        assert grid == timedelta(minutes=minutes)
        assert table.schema.metadata[GRID] == str(minutes * MINUTE).encode()
        of_all, its_grid = readings.thinned(whole, metrics)
        assert its_grid == grid
        pd.testing.assert_frame_equal(rows[of_all.columns], of_all)
