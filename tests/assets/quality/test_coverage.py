"""Checks of days and reports measure completeness and gaps by one rule."""

from datetime import timedelta

import pytest

from assets.datasets import export_day
from assets.reports.compose import compose
from assets.reports.measures import Measured
from assets.reports.sources import gather
from storage.jobs import ReportJob, new_job_id
from storage.stores import Stores
from storage.times import midnight
from tests.support.plant import DAY, reading, store


@pytest.mark.parametrize(
    ("minutes", "share"),
    [
        ([*(i / 6 for i in range(720 * 6)), *range(720, 1440)], 1.0),  # twelve hours at 10 s, then at 60 s
        ([i for i in range(1440) if not 300 <= i < 420], 1 - 120 / 1440),
        (range(0, 1440, 15), 1.0),
        ([0], None),
    ],
)
def test_a_day_is_as_complete_in_its_check_as_in_its_report(
    stores: Stores, minutes: list[float], share: float | None
) -> None:
    store(stores, reading(-1), *(reading(minute, power=500.0) for minute in minutes))
    export_day(stores, "D1", DAY - timedelta(days=1))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    start = midnight(DAY)
    job = ReportJob(
        job_id=new_job_id(ReportJob), device_id="D1", format="json", date_range_start=start,
        date_range_end=start + timedelta(days=1), analysis_types=[],
    )  # fmt: skip
    report = compose(Measured.of(gather(stores, job, "test")))
    checks = exported.dataset.checks or {}
    assert report.data_quality.completeness == (share if share is None else pytest.approx(share, abs=1e-6))
    if share is not None:
        assert checks["completeness"]["value"] == pytest.approx(report.data_quality.completeness, abs=1e-6)
        longest = max((gap.seconds for gap in report.data_quality.gaps), default=0.0)
        assert checks["gaps"]["value"] == pytest.approx(longest / 60)
        assert report.daily[0].completeness == report.data_quality.completeness
    else:
        assert "completeness" not in checks
