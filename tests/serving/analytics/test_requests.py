"""Requests for analyses that cannot succeed are refused at once, in plain words; others become jobs."""

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, col, select

from storage.catalogue import Dataset
from storage.devices import Device
from storage.failures import Failure
from storage.jobs import AnalyticsJob

FIRST, DAYS = date(2026, 2, 1), 10
LAST = FIRST + timedelta(days=DAYS - 1)
METRICS = ("power", "vibration", "machine_failure")


def dataset(device_id: str, day: date, *metrics: str) -> Dataset:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Dataset(
        key=f"datasets/{device_id}/{day:%Y%m%d}_{day:%Y%m%d}.parquet", kind="day", device_id=device_id,
        start_date=day, end_date=day, first_at=begin + timedelta(hours=6), last_at=begin + timedelta(hours=18),
        rows=100, bytes=1, sha256=f"{device_id}{day}",
        metrics={name: {"count": 1, "min": 0, "max": 1, "sum": 1} for name in metrics},
        hourly={"timestamp": {"count": [0] * 6 + [8] * 12 + [4] + [0] * 5}},
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
    # As text: Python writes NaN, which JSON does not have and clients send nevertheless.
    headers = {"content-type": "application/json"}
    return client.post("/api/v1/analytics/run", content=json.dumps(request), headers=headers)


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
        ("prediction", {"failures": ["2026-02-02T00:00:00Z"] * 3}, "There is 1 failure in parameters.failures; at"),
        ("prediction", {"failures": ["2026-01-02T00:00:00Z", "2026-02-02T00:00:00Z"]}, "1 of 2 failures in par"),
        ("anomaly", {"strictness": math.nan}, "NaN is not a number"),
        ("anomaly", {"false_events_a_week": math.nan}, "NaN is not a number"),
        ("prediction", {"failures": ["2026-01-31T00:00:00Z"]}, "2026-01-31T00:00:00Z does not lie in the anal"),
        ("anomaly", {"trained_until": "2026-02-01T17:30:00Z"}, "Fewer than 100 readings lie before trained_until"),
        ("anomaly", {"trained_until": 1769950800}, "1769950800 is not text; write the timestamp as"),
        ("anomaly", {"trained_until": "0001-01-01T00:00:00+14:00"}, "is outside the years 1970 to 2200"),
        ("anomaly", {"false_events_a_week": "2"}, '2" is not a number; give it without quotes'),
        ("prediction", {"max_remaining_hours": True}, "true is not a number"),
        ("forecast", {"trained_until": "2026-02-02T00:00:00Z"}, "is a parameter of anomaly only; leave it out"),
        ("anomaly", {"horizon_hours": 24}, "is a parameter of prediction or forecast only; leave it out"),
        ("anomaly", {"horizon": 24}, "is not a known field; check its spelling"),
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
    assert "horizon" not in run(client, analysis_type, {}, **day).text


@pytest.mark.parametrize(
    ("request_", "days", "message"),
    [
        (("forecast", {}), 4, "need 106 hours of history; there are 85. Choose more days."),
        (("forecast", {"horizon_hours": 72}), 4, "there are 85. Choose more days, or a shorter horizon_hours."),
        (("anomaly", {}), 1, "There are 99 readings; at least 100 are needed to learn from. Choose more days."),
    ],
)
@pytest.mark.usefixtures("plant")
def test_too_few_readings_are_refused(
    client: TestClient, session: Session, request_: tuple[str, dict[str, Any]], days: int, message: str
) -> None:
    for row in session.exec(select(Dataset)):
        row.rows = 99
    session.commit()
    answer = run(client, *request_, end_date=f"{FIRST + timedelta(days=days - 1)}")
    assert (answer.status_code, answer.json()["errors"]) == (422, [])
    assert message in answer.json()["detail"]


@pytest.mark.usefixtures("plant")
def test_hours_that_began_late_and_ended_early_count(client: TestClient, session: Session) -> None:
    rows = session.exec(select(Dataset).where(Dataset.device_id == "D1").order_by(col(Dataset.start_date))).all()
    rows[0].first_at = datetime(2026, 2, 1, 6, 59, 59, tzinfo=UTC)
    rows[4].last_at = datetime(2026, 2, 5, 15, 0, 1, tzinfo=UTC)  # in the 106th hour
    session.commit()
    assert run(client, "forecast", {}, end_date="2026-02-05").status_code == 202
    rows[4].last_at = datetime(2026, 2, 5, 13, 59, 59, tzinfo=UTC)
    session.commit()
    assert "there are 104." in run(client, "forecast", {}, end_date="2026-02-05").json()["detail"]


def test_a_prediction_needs_three_failures_of_the_device_or_its_type(
    plant: None, client: TestClient, session: Session
) -> None:
    def refusal(**parameters: Any) -> str:
        answer = run(client, "prediction", parameters, device_id="D2")
        return "" if answer.status_code == 202 else str(answer.json()["detail"])

    def fail(device_id: str, *days: int) -> None:
        session.add_all(
            Failure(device_id=device_id, failed_at=datetime(2026, 2, day, tzinfo=UTC), source="api") for day in days
        )
        session.commit()

    none = refusal()
    assert "There are no recorded failures; at least 3 are needed." in none
    example = json.loads(none[none.index("example ") + 8 : -1])
    assert len(set(example["failures"])) >= 3
    fail("D2", 3, 25)
    assert "1 of 2 recorded failures lies within the readings; at least 3 are needed. Choose days" in refusal()
    fail("D1", 3, 4, 20)
    assert not refusal()
    assert "1 of 2 recorded failures lies" in refusal(fleet=False)


def test_an_unknown_device_is_named_as_such(plant: None, client: TestClient) -> None:
    answer = run(client, "forecast", {}, device_id="NOPE")
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no device NOPE, and no telemetry from it")


def test_energy_needs_something_that_measures_it(plant: None, client: TestClient, session: Session) -> None:
    answer = run(client, "forecast", {"metric": "energy"}, device_id="D2")
    assert (answer.status_code, "Nothing measures the energy" in answer.json()["detail"]) == (422, True)
    session.add(dataset("D1", LAST + timedelta(days=1), *METRICS))
    session.commit()
    far_ahead = {"metric": "energy", "horizon_hours": 744}
    assert run(client, "forecast", far_ahead, end_date=f"{LAST + timedelta(days=1)}").status_code == 202


@pytest.mark.parametrize(
    ("analysis_type", "parameters"),
    [
        ("anomaly", {"metrics": ["vibration"], "trained_until": "2026-02-10T18:00:00Z"}),
        ("anomaly", {"trained_until": "2026-02-01T18:00:00Z"}),
        ("forecast", {"metric": "vibration"}),
        ("prediction", {}),
        ("prediction", {"label": "machine_failure"}),
        ("prediction", {"failures": ["2026-01-01T00:00:00Z", *(f"2026-02-0{day}T00:00:00Z" for day in (2, 3, 4))]}),
    ],
)
def test_what_may_succeed_becomes_a_job(
    plant: None, client: TestClient, analysis_type: str, parameters: dict[str, Any]
) -> None:
    assert run(client, analysis_type, parameters).status_code == 202


def test_every_wrong_parameter_is_named(plant: None, client: TestClient) -> None:
    answer = run(client, "anomaly", {"seed": -1, "strictness": 0, "metrics": []})
    assert [(error["field"], error["message"]) for error in answer.json()["errors"]] == [
        ("parameters.seed", "-1 is out of range; give 0 or more"),
        ("parameters.metrics", "is empty; give at least 1 item"),
        ("parameters.strictness", "0 is out of range; give 0.5 or more"),
    ]


def test_a_parameter_in_the_wrong_place_is_not_ignored(plant: None, client: TestClient) -> None:
    answer = run(client, "forecast", {}, metric="vibration", horizon_hours=48, client_version=3)
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        'body: horizon_hours and metric must be in "parameters", as {"parameters": {"horizon_hours": …}}'
    )
    assert run(client, "forecast", {}, client_version=3).status_code == 202


def test_a_metric_that_is_named_twice_counts_once(plant: None, client: TestClient, session: Session) -> None:
    assert run(client, "anomaly", {"metrics": ["power", "vibration", "power"]}).status_code == 202
    parameters = session.exec(select(AnalyticsJob.parameters)).one()
    assert parameters is not None
    assert parameters["metrics"] == ["power", "vibration"]


def test_one_dataset_is_known_by_its_key(plant: None, client: TestClient, session: Session) -> None:
    """A file that an older release described without metrics is not judged."""
    key = f"datasets/D1/{FIRST:%Y%m%d}_{FIRST:%Y%m%d}.parquet"
    late = {"trained_until": "2026-02-02T10:00:00Z"}
    assert run(client, "anomaly", late, dataset_key=key).status_code == 422
    assert run(client, "anomaly", {"metrics": ["flow"]}, dataset_key=key).status_code == 422
    old = Dataset(key="datasets/D1/old.parquet", kind="range", device_id="D1", start_date=FIRST, end_date=LAST,
                  rows=100, bytes=1, sha256="0", metrics={})  # fmt: skip
    session.add(old)
    session.commit()
    assert run(client, "anomaly", {"metrics": ["flow"]} | late, dataset_key=old.key).status_code == 202
