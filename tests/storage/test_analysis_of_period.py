"""Which of several analyses suits a period best."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import Session

from storage.jobs import AnalyticsJob, analysis_of_period

FIRST, DAY = datetime(2026, 10, 1, tzinfo=UTC), timedelta(days=1)
# The days of October that they cover, from and up to, in the order in which they were completed.
RANGES = [(0, 30), (0, 30), (-20, 18), (28, 45)]


@pytest.mark.parametrize(
    ("analysis_type", "days", "best"),
    [
        ("anomaly", (0, 31), 1),  # a newer one of a few days covers less of the month
        ("anomaly", (0, 10), 2),  # of those that cover all of it, the newest
        ("anomaly", (40, 50), 3),
        ("forecast", (0, 31), 1),  # what lies ahead follows the period
        ("forecast", (10, 19), 2),
        ("prediction", (0, 44), 3),
        ("prediction", (60, 70), None),
    ],
)
def test_the_analysis_that_suits_a_period_best(
    session: Session, analysis_type: str, days: tuple[int, int], best: int | None
) -> None:
    for number, (since, until) in enumerate(RANGES):
        session.add(
            AnalyticsJob(
                job_id=f"job-{number}", device_id="D1", analysis_type=analysis_type, model_name="m",
                status="completed", date_range_start=FIRST + since * DAY, date_range_end=FIRST + until * DAY,
                completed_at=FIRST + (60 + number) * DAY,
            )
        )  # fmt: skip
    start, end = (FIRST + day * DAY for day in days)
    found = analysis_of_period(session, "D1", analysis_type, start, end)
    assert (found and found.job_id) == (None if best is None else f"job-{best}")
