"""A client of the six old services: every endpoint under its service's prefix, with the handover's own examples."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, col, update

from storage.catalogue import Dataset
from storage.jobs import AnalyticsJob, ReportJob
from storage.settings import Settings
from storage.stores import open_telemetry_store
from storage.telemetry import Reading
from storage.times import microseconds

AT = datetime(2026, 2, 12, 10, tzinfo=UTC)
DAY = {"start_time": "2026-02-12T00:00:00Z", "end_time": "2026-02-12T23:59:59Z"}
DATASET = "datasets/D1/20260201_20260212.parquet"

LISTED_DEVICE = {
    "device_id": "D1", "device_name": "Compressor A", "device_type": "compressor", "status": "active",
    "location": "Building A", "created_at": "2026-02-07T23:20:30Z", "updated_at": "2026-02-07T23:20:30Z",
}  # fmt: skip
NEW_DEVICE = {
    "device_id": "D1", "device_name": "Compressor A", "device_type": "compressor", "status": "active",
    "location": "Building A", "manufacturer": "Acme Corp", "model": "XJ-9000", "metadata_json": "{}",
}  # fmt: skip
DEVICE = LISTED_DEVICE | {"manufacturer": "Acme Corp", "model": "XJ-9000", "metadata_json": "{}"}
READING = {
    "timestamp": "2026-02-12T10:00:00Z", "device_id": "D1", "voltage": 230.5, "current": 1.2, "power": 276.6,
    "temperature": 45.2, "schema_version": "v1", "enrichment_status": "success",
}  # fmt: skip
STATISTICS = {
    "device_id": "D1", "start_time": "2026-02-12T00:00:00Z", "end_time": "2026-02-12T23:59:59Z", "voltage_min": 220.0,
    "voltage_max": 240.0, "voltage_avg": 230.5, "current_min": 0.5, "current_max": 2.0, "current_avg": 1.2,
    "power_min": 100.0, "power_max": 500.0, "power_avg": 276.6, "power_total": 10000.0, "temperature_min": 30.0,
    "temperature_max": 60.0, "temperature_avg": 45.2, "data_points": 1440,
}  # fmt: skip
NEW_RULE = {
    "rule_name": "High Temperature Alert", "description": "Alert when temperature exceeds threshold",
    "scope": "selected_devices", "device_ids": ["D1"], "property": "temperature", "condition": ">", "threshold": 60.0,
    "notification_channels": ["email", "whatsapp"], "cooldown_minutes": 15,
}  # fmt: skip
RULE = NEW_RULE | {
    "rule_id": "550e8400-e29b-41d4-a716-446655440000", "status": "active", "last_triggered_at": "2026-02-12T10:00:00Z",
    "created_at": "2026-02-07T23:20:30Z", "updated_at": "2026-02-07T23:20:30Z",
}  # fmt: skip
EVALUATE = {
    "device_id": "D1", "timestamp": "2026-02-12T10:00:00Z", "voltage": 230.5, "current": 1.2, "power": 276.6,
    "temperature": 65.0, "schema_version": "v1",
}  # fmt: skip
EVALUATION = {
    "evaluated": 1, "triggered": 1,
    "results": [{"rule_id": "550e8400-e29b-41d4-a716-446655440000", "triggered": True, "alert_id": "660e8400"}],
}  # fmt: skip
ALERT = {
    "alert_id": "660e8400-e29b-41d4-a716-446655440001", "rule_id": "550e8400-e29b-41d4-a716-446655440000",
    "device_id": "D1", "severity": "high", "message": "Temperature exceeded threshold: 65.0 > 60.0",
    "actual_value": 65.0, "threshold_value": 60.0, "status": "open", "acknowledged_by": None, "acknowledged_at": None,
    "resolved_at": None, "created_at": "2026-02-12T10:00:00Z",
}  # fmt: skip
MODELS = {
    "anomaly_detection": ["isolation_forest", "autoencoder"],
    "failure_prediction": ["random_forest", "gradient_boosting"],
    "forecasting": ["prophet", "arima"],
}
DATASETS = {
    "device_id": "D1",
    "datasets": [{"key": DATASET, "size": 1048576, "last_modified": "2026-02-12T10:00:00Z"}],
}  # fmt: skip
RUN = {"device_id": "D1", "analysis_type": "anomaly", "model_name": "isolation_forest", "dataset_key": DATASET}
ANALYSIS = {"job_id": "job-abc123", "device_id": "D1", "analysis_type": "anomaly", "model_name": "isolation_forest"}
JOB = ANALYSIS | {"status": "running", "progress": 65.5, "message": "Training model..."}
RESULTS = ANALYSIS | {
    "status": "completed",
    "results": {
        "anomalies": [
            {"timestamp": "2026-02-12T10:00:00Z", "value": 85.5, "is_anomaly": True, "anomaly_score": 0.85}
        ]
    },
    "accuracy_metrics": {"precision": 0.92, "recall": 0.88, "f1_score": 0.90},
    "execution_time_seconds": 120,
}  # fmt: skip
EXPORT = {
    "device_id": "D1", "status": "completed", "last_exported_at": "2026-02-12T10:00:00Z", "record_count": 10000,
    "s3_key": DATASET,
}  # fmt: skip
REPORT = {
    "device_id": "D1", "analysis_types": ["anomaly", "forecast"], "date_range_start": "2026-02-01T00:00:00Z",
    "date_range_end": "2026-02-12T23:59:59Z", "format": "pdf",
}  # fmt: skip
DOWNLOAD = {
    "job_id": "report-abc123", "download_url": "https://s3.amazonaws.com/...", "expires_at": "2026-02-12T11:00:00Z",
}  # fmt: skip


def same(answer: Any, example: Any, where: str = "") -> None:
    """The answer has every key of the example, with a value of its kind; it may have more."""
    if isinstance(example, dict):
        assert example.keys() <= answer.keys(), f"{where} lacks {example.keys() - answer.keys()}"
        for name in example:
            same(answer[name], example[name], f"{where}.{name}")
    elif isinstance(example, list):
        assert isinstance(answer, list), where
        assert answer, f"{where} is empty"
        same(answer[0], example[0], f"{where}[0]")
    elif isinstance(example, str) and example.endswith("Z"):
        assert answer.endswith("Z"), where
        assert datetime.fromisoformat(answer).tzinfo is UTC, where
    elif isinstance(example, float | int) and not isinstance(example, bool):
        assert isinstance(answer, float | int), f"{where} is {answer!r}"
    else:
        assert answer == example or (isinstance(example, str) and isinstance(answer, str)), f"{where} is {answer!r}"


def paged(example: dict[str, Any]) -> dict[str, Any]:
    return {"success": True, "data": [example], "total": 1, "page": 1, "page_size": 20}


def data(example: dict[str, Any]) -> dict[str, Any]:
    return {"success": True, "data": example}


@pytest.fixture
def api(client: TestClient, settings: Settings) -> TestClient:
    """With a reading of 10:00."""
    store = open_telemetry_store(settings)
    metrics = {name: value for name, value in READING.items() if isinstance(value, float)}
    store.write([Reading(device_id="D1", time=microseconds(AT), metrics=metrics, received_at=0,
                         enrichment_status="success")])  # fmt: skip
    store.close()
    return client


class Service:
    """One of the six, as the old frontend reaches it."""

    def __init__(self, client: TestClient, name: str) -> None:
        self._client, self._prefix = client, f"/backend/{name}"

    def __call__(self, request: str, status: int = 200, example: Any = None, **arguments: Any) -> Any:
        method, path = request.split(" ")
        answer = self._client.request(method, self._prefix + path, **arguments)
        assert answer.status_code == status, f"{request}: {answer.text}"
        body = answer.json() if answer.content else None
        if example is not None:
            same(body, example, request)
        return body


def test_device_service(api: TestClient) -> None:
    device = Service(api, "device")
    device("GET /health", example={"status": "healthy", "version": "1.0.0"})
    device("GET /ready", 503, {"ready": False, "checks": {"database": "connected"}})  # neither broker nor Dagster here
    device("POST /api/v1/devices", 201, data(DEVICE), json=NEW_DEVICE)
    device("GET /api/v1/devices", example=paged(LISTED_DEVICE))
    filters = {"tenant_id": "t", "device_type": "compressor", "status": "active", "page": 1, "page_size": 100}
    assert device("GET /api/v1/devices", params=filters)["total"] == 0
    device("GET /api/v1/devices", 422, params={"page_size": 101})
    device("GET /api/v1/devices/D1", example=data(DEVICE))
    device("PUT /api/v1/devices/D1", example=data(DEVICE), json={"location": "Building B"})
    assert device("DELETE /api/v1/devices/D1", 204) is None
    device("GET /api/v1/devices/D1", 404)


def test_data_service(api: TestClient) -> None:
    service = Service(api, "data")
    Service(api, "device")("POST /api/v1/devices", 201, json=NEW_DEVICE)
    service("GET /api/v1/data/health", example={"status": "healthy", "version": "1.0.0", "checks": {}})
    service("GET /api/v1/data/telemetry/D1", example=data({"items": [READING]}), params=DAY)
    asked = DAY | {"fields": "power,voltage", "aggregate": "mean", "interval": "1h", "limit": 10_000}
    means = data({"items": [{"timestamp": "2026-02-12T10:00:00Z", "power": 276.6, "voltage": 230.5}]})
    service("GET /api/v1/data/telemetry/D1", example=means, params=asked)
    service("GET /api/v1/data/telemetry/D1", 422, params={"limit": 10_001})
    service("GET /api/v1/data/stats/D1", example=data(STATISTICS), params=DAY)
    service("GET /api/v1/data/stats/D1", example=data({"device_id": "D1", "data_points": 0}))
    service("POST /api/v1/data/query", example=data({"items": [READING]}), json={"device_id": "D1", **DAY})


def test_rule_engine(api: TestClient) -> None:
    rules = Service(api, "rule-engine")
    Service(api, "device")("POST /api/v1/devices", 201, json=NEW_DEVICE)
    rules("GET /health", example={"status": "healthy"})
    made = rules("POST /api/v1/rules", 201, data(RULE | {"last_triggered_at": None}), json=NEW_RULE)
    path = f"/api/v1/rules/{made['data']['rule_id']}"
    rules("POST /api/v1/rules/evaluate", example=data(EVALUATION), json=EVALUATE)
    rules("GET /api/v1/rules", example=paged(RULE), params={"device_id": "D1", "status": "active", "page": 1})
    rules(f"GET {path}", example=data(RULE))
    for method in ("PUT", "PATCH"):
        rules(f"{method} {path}", example=data(RULE), json={"threshold": 70})
    for status in ("paused", "active", "archived"):
        changed = rules(f"PATCH {path}/status", json={"status": status})
        assert changed["data"]["status"] == status
    found = rules("GET /api/v1/alerts", example=paged(ALERT), params={"device_id": "D1", "status": "open"})
    assert found["data"][0]["message"] == ALERT["message"]
    alert = f"/api/v1/alerts/{found['data'][0]['alert_id']}"
    seen = rules(f"PATCH {alert}/acknowledge", json={"acknowledged_by": "user@example.com"})["data"]
    assert (seen["status"], seen["acknowledged_by"]) == ("acknowledged", "user@example.com")
    assert rules(f"PATCH {alert}/resolve")["data"]["status"] == "resolved"
    assert rules(f"DELETE {path}", 204) is None
    rules(f"GET {path}", 404)
    assert rules("GET /api/v1/alerts")["total"] == 1


def test_analytics_service(api: TestClient, session: Session) -> None:
    analytics = Service(api, "analytics")
    analytics("GET /health/live", example={"status": "healthy"})
    analytics("GET /health/ready", 503, {"checks": {"database": "connected", "object_store": "connected"}})
    models = analytics("GET /api/v1/analytics/models")
    assert {family: names[:2] for family, names in models.items()} == MODELS  # more may follow
    days: dict[str, Any] = {"start_date": date(2026, 2, 1), "end_date": date(2026, 2, 12)}
    size: dict[str, Any] = {"rows": 1000, "bytes": 1, "sha256": "0", "metrics": {}}
    session.add(Dataset(key=DATASET, kind="range", device_id="D1", **days, **size))
    session.commit()
    analytics("GET /api/v1/analytics/datasets", example=DATASETS, params={"device_id": "D1"})
    job_id = analytics("POST /api/v1/analytics/run", 202, {"job_id": "job-1", "status": "pending"}, json=RUN)["job_id"]
    analytics(f"GET /api/v1/analytics/results/{job_id}", 409)
    done = {name: RESULTS[name] for name in ("status", "results", "accuracy_metrics", "execution_time_seconds")}
    change = done | {"progress": 100.0, "message": "done"}
    session.exec(update(AnalyticsJob).where(col(AnalyticsJob.job_id) == job_id).values(change))
    session.commit()
    analytics(f"GET /api/v1/analytics/status/{job_id}", example=JOB)
    analytics(f"GET /api/v1/analytics/results/{job_id}", example=RESULTS)
    asked = {"status": "completed", "device_id": "D1", "limit": 20, "offset": 0}
    analytics("GET /api/v1/analytics/jobs", example={"jobs": [JOB], "total": 1, "limit": 20, "offset": 0}, params=asked)


def test_data_export_service(api: TestClient) -> None:
    exports = Service(api, "data-export")
    Service(api, "device")("POST /api/v1/devices", 201, json=NEW_DEVICE)
    exports("GET /health", example={"status": "healthy"})
    exports("POST /api/v1/exports/run", 202, {"device_id": "D1", "status": "started"}, json={"device_id": "D1"})
    status = exports("GET /api/v1/exports/status/D1")
    assert EXPORT.keys() <= status.keys()
    assert status["status"] == "pending"
    assert exports(f"GET /api/v1/exports/jobs/{status['job_id']}") == status


def test_reporting_service(api: TestClient, session: Session) -> None:
    reporting = Service(api, "reporting")
    Service(api, "device")("POST /api/v1/devices", 201, json=NEW_DEVICE)
    reporting("GET /", example={"service": "reporting", "version": "1.0.0"})
    reporting("GET /health", example={"status": "healthy"})
    accepted = reporting("POST /api/reports/generate", 202, {"job_id": "report-1", "status": "pending"}, json=REPORT)
    job_id = accepted["job_id"]
    reporting(f"GET /api/reports/status/{job_id}", example={"job_id": "report-1", "status": "pending"})
    reporting(f"GET /api/reports/download/{job_id}", 409)
    change = {"status": "completed", "results": {"key": f"reports/D1/{job_id}.pdf", "size_bytes": 1, "sha256": "0"}}
    session.exec(update(ReportJob).where(col(ReportJob.job_id) == job_id).values(change))
    session.commit()
    reporting(f"GET /api/reports/download/{job_id}", example=DOWNLOAD)
