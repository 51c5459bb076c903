"""What is usual at an hour of the day, where Saturdays and Sundays may have hours of their own."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from assets.analyses.daily import hourly_residual

UTC = ZoneInfo("UTC")
START = pd.Timestamp("2026-06-01", tz="UTC")  # a Monday


def course(by_day: list[float]) -> pd.Series:
    """Sunlight of a strength for each day, every ten minutes."""
    times = pd.date_range(START, periods=144 * len(by_day), freq=timedelta(minutes=10))
    hour = times.hour + times.minute / 60
    light = np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None)
    return pd.Series(1000.0 * light * np.repeat(by_day, 144), times)


def usual(by_day: list[float]) -> np.ndarray:
    column = course(by_day)
    found = hourly_residual(column, np.ones(len(column), bool), UTC, min_days=4)
    assert found is not None
    return found[1]


def test_days_that_differ_by_chance_are_one_kind() -> None:
    random = np.random.default_rng(3)
    apart = [len(np.unique(usual(random.uniform(0.2, 1.0, 28).tolist()), axis=0)) > 1 for _ in range(100)]
    assert sum(apart) <= 10


@pytest.mark.parametrize(
    ("saturday", "sunday", "noon"),
    [(0.1, 0.1, (1000, 100, 100)), (1.0, 0.1, (1000, 1000, 100)), (0.5, 0.1, (1000, 500, 100))],
)
def test_each_day_of_the_weekend_is_told_apart_if_it_is_otherwise(
    saturday: float, sunday: float, noon: tuple[float, float, float]
) -> None:
    random = np.random.default_rng(4)
    week = np.array([1, 1, 1, 1, 1, saturday, sunday])
    by_day = np.tile(week, 5) * random.normal(1, 0.02, 35)
    assert usual(by_day.tolist())[:, 12] == pytest.approx(noon, rel=0.06)
