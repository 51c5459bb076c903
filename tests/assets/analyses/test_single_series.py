import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from assets.analyses.events import closed
from assets.analyses.single_series import HISTORY, SPAN, HalfDays
from storage.arrays import Floats
from tests.assets.analyses.test_anomaly import START, anomalies, table

STEP = timedelta(minutes=5)
DAYS, DAY_ROWS = 16, 288
HOURS = np.arange(DAYS * DAY_ROWS) / 12


def series(values: Floats) -> pd.Series:
    return pd.Series(values, pd.date_range("2026-01-01", periods=len(values), freq=STEP, tz="UTC"))


def wandering(seed: int) -> Floats:
    """A temperature that strays from 85 °C by 8 °C, within half an hour."""
    random = np.random.default_rng(seed)
    strayed = pd.Series(random.normal(0, 1, DAYS * DAY_ROWS)).ewm(com=6).mean()
    values: Floats = (85 + 8 * strayed / strayed.std()).to_numpy(copy=True)
    return values


@pytest.mark.parametrize("is_told", [True, False])
def test_what_is_usual_for_an_hour_is_not_for_half_a_day(*, is_told: bool) -> None:
    values = wandering(1)
    fault = slice(12 * DAY_ROWS, 12 * DAY_ROWS + 200)
    values[fault] -= 12
    times = [START + STEP * i for i in range(len(values))]
    told = {"trained_until": times[3 * DAY_ROWS]} if is_told else {}
    found = anomalies(table(times, {"temperature": values.tolist()}), "covariance", **told).results["events"]
    events = [event for event in found if event["shown_by"] == "half-day mean"]
    assert events
    for event in events:
        assert times[fault.start] < datetime.fromisoformat(event["start"]) < times[fault.stop]
        assert datetime.fromisoformat(event["end"]) < times[fault.stop] + timedelta(hours=2), "it ends, not its mean"
        assert re.match(r"The half-day mean of temperature was 1\d °C below what was usual before, ", event["why"])


def test_healthy_series_have_hardly_an_unusual_half_day() -> None:
    found = 0
    for seed in range(5):
        random = np.random.default_rng(seed)
        day = 5 * np.sin(2 * np.pi * HOURS / 24)
        weather = pd.Series(random.normal(0, 20, len(HOURS))).ewm(halflife=24 * 12).mean().to_numpy()
        shifts = np.where((HOURS % 24 >= 6) & (HOURS % 24 < 22) & (HOURS // 24 % 7 < 5), 10, 1)
        for values in (day, day + HOURS / 50, shifts, day + weather, wandering(seed)):
            noisy = values + random.normal(0, 0.3, len(HOURS))
            found += HalfDays.of(series(noisy), STEP).strengths.max() > 1
    assert found <= 1, "of 25 series of 16 days"


def test_half_days_know_only_what_was_before() -> None:
    values = wandering(3)
    later = values.copy()
    later[13 * DAY_ROWS :] += 40
    before, after = (HalfDays.of(series(these), STEP).strengths[: 13 * DAY_ROWS] for these in (values, later))
    assert np.array_equal(before, after)
    known = int((HISTORY + SPAN) / STEP)
    assert not before[:known].any()
    assert before[known:].all()


def test_what_is_usual_is_learnt_from_a_change_on() -> None:
    values = wandering(4)
    values[8 * DAY_ROWS :] += 40
    assert HalfDays.of(series(values), STEP).strengths.max() > 1
    assert HalfDays.of(series(values), STEP, since=8 * DAY_ROWS).strengths.max() < 1


def test_a_shift_that_is_lost_among_the_readings_is_no_event() -> None:
    random = np.random.default_rng(5)
    values = random.normal(0, 1, len(HOURS))
    values[12 * DAY_ROWS : 13 * DAY_ROWS] += 0.5
    assert HalfDays.of(series(values), STEP).strengths.max() < 1
    values[12 * DAY_ROWS : 13 * DAY_ROWS] += 0.7
    assert HalfDays.of(series(values), STEP).strengths.max() > 1


def test_what_recurs_every_week_is_usual() -> None:
    hours = np.arange(5 * 7 * DAY_ROWS) / 12
    runs = (hours // 24 % 7 == 2) & (hours % 24 >= 8) & (hours % 24 < 16)
    values = 100 + 20_000 * runs + np.random.default_rng(1).normal(0, 5, len(hours))
    assert HalfDays.of(series(values), STEP).strengths.max() < 1


def test_rows_between_anomalous_ones_less_than_a_window_apart_are_anomalous() -> None:
    flags = np.zeros(20, bool)
    flags[[2, 3, 7, 13]] = True
    assert np.flatnonzero(closed(flags, 1)).tolist() == [2, 3, 7, 13]
    assert np.flatnonzero(closed(flags, 4)).tolist() == [2, 3, 4, 5, 6, 7, 13]


def test_readings_of_a_day_each_have_no_half_days() -> None:
    days = pd.Series(np.arange(60.0), pd.date_range(datetime(2026, 1, 1, tzinfo=UTC), periods=60, freq="D"))
    assert HalfDays.of(days, timedelta(days=1)).strengths.max() < 1
