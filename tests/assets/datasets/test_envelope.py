"""Windows of a metric for charts: the same from the catalogue as from the readings, and open where nothing is."""

import numpy as np
import pytest

from assets.datasets import Envelope, TelemetryReader, envelope_of, export_day, window_for
from storage.stores import Stores
from storage.times import DAY as DAY_LENGTH, HOUR, MINUTE, SECOND
from tests.support.plant import DAY, START, reading, store


def envelope(stores: Stores, start: int, end: int, every: int) -> Envelope:
    reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
    return envelope_of(stores.session, reader, "D1", start, end, metric="power", every=every)


@pytest.mark.parametrize("every", [MINUTE * 15, HOUR, HOUR * 6, DAY_LENGTH, DAY_LENGTH * 2])
@pytest.mark.parametrize("start", [START, START + 90 * MINUTE])
def test_hours_of_the_catalogue_and_readings_say_the_same(stores: Stores, every: int, start: int) -> None:
    values = np.random.default_rng(1).uniform(-100, 1000, 400)
    minutes = [7 * i for i in range(200) if not 60 <= i < 100] + [1440 + 7 * i for i in range(200)]
    store(stores, *(reading(minute, power=value) for minute, value in zip(minutes, values, strict=False)))
    end = START + 2 * DAY_LENGTH
    from_store = envelope(stores, start, end, every)
    assert export_day(stores, "D1", DAY)
    stores.session.expire_all()
    from_files = envelope(stores, start, end, every)
    expected: dict[int, list[float]] = {}
    for minute, value in zip(minutes, values, strict=False):
        if start <= (time := START + minute * MINUTE) < end:
            expected.setdefault(time // every * every, []).append(float(value))
    for found in (from_store, from_files):
        assert found.time.tolist() == list(expected)
        assert found.low.tolist() == [min(window) for window in expected.values()]
        assert found.high.tolist() == [max(window) for window in expected.values()]
        assert found.mean == pytest.approx([sum(window) / len(window) for window in expected.values()])


def test_a_gap_has_a_window_without_values(stores: Stores) -> None:
    store(stores, *(reading(minute, power=1) for minute in (*range(10), *range(60, 70))))
    found = envelope(stores, START, START + DAY_LENGTH, MINUTE).with_gaps()
    assert np.flatnonzero(np.isnan(found.mean)).tolist() == [10]
    assert found.time[10] == START + 10 * MINUTE
    assert not len(envelope(stores, START - DAY_LENGTH, START, MINUTE).with_gaps().time)


def test_windows_fit_the_width() -> None:
    assert window_for(0, HOUR, 1200) == 5 * SECOND
    assert window_for(0, 7 * DAY_LENGTH, 1200) == 10 * MINUTE
    assert window_for(0, 365 * DAY_LENGTH, 1200) == 8 * HOUR
    assert window_for(0, 3650 * DAY_LENGTH, 1000) == 4 * DAY_LENGTH
