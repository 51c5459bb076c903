"""Analyses over files, with what the catalogue knows of the device."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from assets.datasets import TelemetryReader, energy_of, export_day
from orchestration.analyses.results import perform_analysis
from orchestration.claimed_job import ClaimedJob
from storage import jobs
from storage.devices import Device
from storage.jobs import AnalyticsJob
from storage.stores import Stores
from storage.times import microseconds, midnight
from tests.support.plant import DAY, DAY_MINUTES, reading, store

DAYS = 10
STEP = 15  # minutes


def performed(stores: Stores, parameters: dict[str, Any]) -> dict[str, Any]:
    job = AnalyticsJob(
        job_id=jobs.new_job_id(AnalyticsJob), device_id="D1", analysis_type="forecast", model_name="arima",
        date_range_start=midnight(DAY), date_range_end=midnight(DAY + timedelta(days=DAYS)), parameters=parameters,
    )  # fmt: skip
    stores.session.add(job)
    stores.session.commit()
    claimed = jobs.claim(stores.session, AnalyticsJob, job.job_id, "run-1")
    assert claimed is not None
    perform_analysis(ClaimedJob(stores, claimed))
    assert claimed.results is not None
    return claimed.results


def test_energy_is_forecast_from_the_intervals_and_a_day_with_errors_is_left_out(stores: Stores) -> None:
    metadata = json.dumps({"counters": {"energy_total": {"unit": "kWh"}}, "timezone": "Europe/Berlin"})
    stores.session.add(
        Device(device_id="D1", device_name="M", device_type="meter", status="active", metadata_json=metadata)
    )
    steps = np.arange(0, DAYS * DAY_MINUTES, STEP)
    random = np.random.default_rng(1)
    kwh = (1 + 0.5 * np.sin(2 * np.pi * steps / DAY_MINUTES) + random.normal(0, 0.05, len(steps))) * STEP / 60
    register = 500 + np.cumsum(kwh)
    bad = DAY + timedelta(days=4)
    first_bad = 4 * DAY_MINUTES
    kept = (steps < first_bad + 60) | (steps >= first_bad + DAY_MINUTES)  # of the bad day there is an hour
    pairs = zip(steps[kept].tolist(), register[kept].tolist(), strict=True)
    store(stores, *(reading(minute, energy_total=value) for minute, value in pairs))
    for day in range(DAYS):
        export_day(stores, "D1", DAY + timedelta(days=day))
    stores.session.commit()
    results = performed(stores, {"horizon_hours": 48})
    assert (results["metric"], results["unit"]) == ("energy", "kWh")
    assert [day["date"] for day in results["left_out_days"]] == [bad.isoformat()]
    assert "completeness" in results["left_out_days"][0]["reason"]
    begun = results["days"][0]
    assert begun["day"] == date.isoformat(DAY + timedelta(days=DAYS))
    until = microseconds(datetime.fromisoformat(results["forecast"][0]["timestamp"]))
    since = microseconds(datetime.fromisoformat(begun["from"]))
    reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
    counted = energy_of(stores.session, reader, "D1", since, until).kwh
    assert counted is not None
    assert begun["measured_kwh"] == pytest.approx(counted, rel=1e-6)
    by_day, by_month = (sum(part["forecast_kwh"] for part in results[name]) for name in ("days", "months"))
    assert by_day == pytest.approx(by_month, rel=1e-6)
    assert all(0.3 < hour["value"] < 1.7 for hour in results["forecast"])
