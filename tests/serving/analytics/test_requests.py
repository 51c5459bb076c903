"""Requests for analyses that cannot succeed are refused at once, in plain words; others become jobs."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from storage.catalogue import Dataset
from storage.devices import Device

FIRST, DAYS = date(2026, 2, 1), 10
LAST = FIRST + timedelta(days=DAYS - 1)
METRICS = ("power", "vibration", "machine_failure")


def dataset(device_id: str, day: date, *metrics: str) -> Dataset:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Dataset(
        key=f"datasets/{device_id}/{day:%Y%m%d}_{day:%Y%m%d}.parquet", kind="day", device_id=device_id,
        start_date=day, end_date=day, first_at=begin + timedelta(hours=6), last_at=begin + timedelta(hours=18),
        rows=1, bytes=1, sha256=f"{device_id}{day}",
        metrics={name: {"count": 1, "min": 0, "max": 1, "sum": 1} for name in metrics},
    )  # fmt: skip


@pytest.fixture
def plant(session: Session) -> None:
    session.add_all([Device(device_id=name, device_name=name, device_type="press") for name in ("D1", "D2")])
    session.add_all(dataset("D1", FIRST + timedelta(days=day), *METRICS) for day in range(DAYS))
    session.add_all(dataset("D2", FIRST + timedelta(days=day), "flow") for day in range(DAYS))
    session.commit()


def run(client: TestClient, analysis_type: str, parameters: dict[str, Any], **body: Any) -> Any:
    days = {} if "dataset_key" in body else {"start_date": f"{FIRST}", "end_date": f"{LAST}"}
    request = {"device_id": "D1", "analysis_type": analysis_type, "parameters": parameters, **days, **body}
    return client.post("/api/v1/analytics/run", json=request)


@pytest.mark.parametrize(
    ("analysis_type", "parameters", "message"),
    [
        ("anomaly", {"metrics": ["power", "pwer"]}, "no readings of pwer. Metrics with readings: machine_f"),
        ("anomaly", {"trained_until": "2026-02-10T18:00:01Z"}, "is after the last reading, 2026-02-"),
        ("anomaly", {"trained_until": "2030-01-01T00:00:00Z"}, "so nothing is left to judge"),
        ("anomaly", {"trained_until": "2026-02-01T06:00:00Z"}, "so there is nothing to learn from"),
        ("forecast", {"metric": "flow"}, "no readings of flow"),
        ("prediction", {"label": "failed"}, "no readings of failed"),
        ("prediction", {"failures": []}, "failures is empty"),
        ("prediction", {"failures": ["2099-01-01T00:00:00Z"]}, "2099-01-01T00:00:00Z lies in the future"),
        ("prediction", {"failures": ["2026-01-31T00:00:00Z"]}, "None of the 1 failures lies in the anal"),
    ],
)
def test_what_cannot_succeed_is_refused(
    plant: None, client: TestClient, analysis_type: str, parameters: dict[str, Any], message: str
) -> None:
    (field,) = parameters
    answer = run(client, analysis_type, parameters)
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["detail"]
    assert [error["field"] for error in answer.json()["errors"]] == [f"parameters.{field}"]
    assert client.get("/api/v1/analytics/jobs").json()["total"] == 0


@pytest.mark.parametrize("analysis_type", ["forecast", "prediction"])
def test_a_horizon_that_is_longer_than_the_range_is_refused(
    plant: None, client: TestClient, analysis_type: str
) -> None:
    day = {"start_date": f"{FIRST}", "end_date": f"{FIRST}"}
    answer = run(client, analysis_type, {"horizon_hours": 25}, **day)
    assert (answer.status_code, "range of 1 day reaches back" in answer.json()["detail"]) == (422, True)
    assert run(client, analysis_type, {"horizon_hours": 24}, **day).status_code == 202


def test_energy_needs_something_that_measures_it(plant: None, client: TestClient) -> None:
    answer = run(client, "forecast", {"metric": "energy"}, device_id="D2")
    assert (answer.status_code, "Nothing measures the energy" in answer.json()["detail"]) == (422, True)
    assert run(client, "forecast", {"metric": "energy", "horizon_hours": 744}).status_code == 202


@pytest.mark.parametrize(
    ("analysis_type", "parameters"),
    [
        ("anomaly", {"metrics": ["vibration"], "trained_until": "2026-02-10T18:00:00Z"}),
        ("forecast", {"metric": "vibration"}),
        ("prediction", {}),
        ("prediction", {"label": "machine_failure"}),
        ("prediction", {"failures": ["2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"]}),
    ],
)
def test_what_may_succeed_becomes_a_job(
    plant: None, client: TestClient, analysis_type: str, parameters: dict[str, Any]
) -> None:
    assert run(client, analysis_type, parameters).status_code == 202


def test_one_dataset_is_known_by_its_key(plant: None, client: TestClient, session: Session) -> None:
    """A file that an older release described without metrics is not judged."""
    key = f"datasets/D1/{FIRST:%Y%m%d}_{FIRST:%Y%m%d}.parquet"
    late = {"trained_until": "2026-02-02T10:00:00Z"}
    assert run(client, "anomaly", late, dataset_key=key).status_code == 422
    assert run(client, "anomaly", {"metrics": ["flow"]}, dataset_key=key).status_code == 422
    old = Dataset(key="datasets/D1/old.parquet", kind="range", device_id="D1", start_date=FIRST, end_date=LAST, rows=1,
                  bytes=1, sha256="0", metrics={})  # fmt: skip
    session.add(old)
    session.commit()
    assert run(client, "anomaly", {"metrics": ["flow"]} | late, dataset_key=old.key).status_code == 202
