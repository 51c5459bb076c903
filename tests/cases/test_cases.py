"""Inputs that energy platforms get wrong, through intake or import, exports, the API and reports (`README.md`)."""

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pypdf
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select
from typer.testing import CliRunner

from assets.datasets import export_day
from assets.reports import build_report, gather
from cli.main import app
from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.intake.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.mqtt.subscription import Message
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from serving.app import create_app
from storage import dirty_days, jobs
from storage.database import open_engine
from storage.jobs import ReportJob
from storage.quarantine import QuarantinedReading
from storage.settings import Settings
from storage.stores import Stores, open_stores
from storage.times import microseconds, utc_now
from tests.cases.expectations import failures

FOLDER = Path(__file__).parent
CASES = {case["name"]: case for case in json.loads((FOLDER / "cases.json").read_text())}
MAX_ITEMS = 500
# What the catalogue and the readings must agree on to the digit.
EXACT = ("energy_kwh", "energy_export_kwh", "energy_source", "energy_coverage", "energy_findings", "mean_power",
         "load_factor", "peak_demand_15min", "peak_demand_15min_at", "consumption")  # fmt: skip
NAMES = [
    *(name for name, case in CASES.items() if case["kind"] in ("counter", "power")),
    "metric-named-count", "exporting-current", "plus-in-a-url", "model-name-left-out",
]  # fmt: skip


class Platform:
    """A platform of the test's own with one device, which a case is fed to and asked."""

    def __init__(self, client: TestClient, stores: Stores, settings: Settings, folder: Path) -> None:
        self.client = client
        self.stores = stores
        self._settings = settings
        self._folder = folder

    def feed(self, case: dict[str, Any]) -> dict[str, Any]:
        path = FOLDER / "inputs" / case["input"]
        if case["feed"] == "import":
            options = case.get("import_options", [])
            device = [] if "--device-column" in options else ["--device", "D1"]
            done = CliRunner().invoke(app, ["import", str(path), *device, *options])
            return {"import": {"exit": done.exit_code, "said": done.output}}
        items = json.loads(path.read_text())
        payloads = [json.dumps(items[i : i + MAX_ITEMS]).encode() for i in range(0, len(items), MAX_ITEMS)]
        received = microseconds(utc_now())
        messages = [Message("devices/D1/telemetry", p, received, False, i, 0) for i, p in enumerate(payloads)]
        engine = open_engine(self._settings)
        registry = Registry(self._settings, engine)
        registry.load()
        raiser = AlertRaiser(registry, LastSeen(), Outbox(NotifySettings.load()))
        counts = IngestMetrics()
        intake = Intake(self._settings.mqtt_topic, self.stores.telemetry, engine, registry, counts, raiser=raiser)
        assert intake.process(messages, threading.Event())
        engine.dispose()
        return {}

    def export(self) -> None:
        for day, device_id in dirty_days.known_days(self.stores.session, date(2026, 1, 1), utc_now().date()):
            export_day(self.stores, device_id, day)
        self.stores.session.commit()

    def ask(self, question: dict[str, Any]) -> Any:
        if "stats" in question:
            start, end = question["stats"]
            answer = self.client.get("/api/v1/data/stats/D1", params={"start_time": start, "end_time": end})
            assert answer.status_code == 200, answer.text
            return answer.json()["data"]
        if "report" in question:
            return self._report(question)
        if "readings" in question:
            return self._readings(*question["readings"])
        if "quarantine" in question:
            rows = self.stores.session.exec(select(QuarantinedReading)).all()
            return {"reasons": [row.reason for row in rows], "metrics": [row.metric for row in rows]}
        if "doc" in question:
            return (FOLDER.parents[1] / question["doc"]).read_text()
        return self._request(question)

    def _readings(self, start: str, end: str) -> dict[str, Any]:
        params = {"start_time": start, "end_time": end, "limit": "1000"}
        answer = self.client.get("/api/v1/data/telemetry/D1", params=params)
        items = answer.json()["data"]["items"] if answer.status_code == 200 else []
        return {item["timestamp"]: {n: v for n, v in item.items() if v is not None} for item in items}

    def _report(self, question: dict[str, Any]) -> dict[str, Any]:
        start, end = (datetime.fromisoformat(moment) for moment in question["report"])
        format_ = question.get("format", "json")
        job = ReportJob(
            job_id=jobs.new_job_id(ReportJob), device_id="D1", format=format_,
            date_range_start=start.astimezone(UTC), date_range_end=end.astimezone(UTC), analysis_types=[],
        )  # fmt: skip
        self.stores.session.add(job)
        self.stores.session.commit()
        folder = self._folder / job.job_id
        folder.mkdir()
        report = build_report(
            gather(self.stores, job, "test"), format_, folder=folder, quarto=None, timeout_seconds=120,
            max_bytes=50_000_000, progress=lambda _percent, _words: None,
        )  # fmt: skip
        if format_ == "pdf":
            return {"text": " ".join(p.extract_text() for p in pypdf.PdfReader(io.BytesIO(report.content)).pages)}
        content: dict[str, Any] = json.loads(report.content)
        numbers = list(_numbers({name: part for name, part in content.items() if name != "series"}))
        return {**content, "kpi": {kpi["key"]: kpi["value"] for kpi in content["kpis"]}, "numbers": numbers}

    def _request(self, question: dict[str, Any]) -> dict[str, Any]:
        headers = {"Accept": question["accept"]} if "accept" in question else {}
        url = (question.get("get") or question["post"]).replace("DEVICE", "D1")
        assert not urlsplit(url).netloc
        if "post" in question:
            body = json.loads(json.dumps(question["body"]).replace("DEVICE", "D1"))
            answer = self.client.post(url, json=body, headers=headers)
        else:
            answer = self.client.get(url, headers=headers)
        kind = answer.headers["content-type"].partition(";")[0]
        rows: Any = None
        if kind == "text/csv":
            rows = pyarrow.csv.read_csv(io.BytesIO(answer.content)).to_pylist()
        elif kind == "application/vnd.apache.arrow.stream":
            rows = pa.ipc.open_stream(answer.content).read_all().to_pylist()
        elif kind == "application/vnd.apache.parquet":
            rows = pq.read_table(io.BytesIO(answer.content)).to_pylist()
        body = answer.json() if kind.endswith("json") else None
        if body and isinstance(body.get("data"), dict):
            rows = body["data"].get("items")
        return {"status": answer.status_code, "body": body, "rows": rows}


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)


def needs_files(question: dict[str, Any]) -> bool:
    """Whether the question is about days that are in their files."""
    return "report" in question or question.get("post", "").startswith("/api/v1/analytics")


@pytest.fixture
def platform(settings: Settings, tmp_path: Path) -> Iterator[Platform]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client, open_stores(settings) as stores:
        yield Platform(client, stores, settings, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_case(platform: Platform, name: str) -> None:
    case = CASES[name]
    body: dict[str, Any] = {"device_id": "D1", "device_name": "D1", "device_type": "meter"}
    if "metadata" in case:
        body["metadata_json"] = case["metadata"]
    assert platform.client.post("/api/v1/devices", json=body).status_code == 201
    fed = platform.feed(case)
    at_once = fed | {
        label: platform.ask(question) for label, question in case["ask"].items() if not needs_files(question)
    }
    platform.export()
    answers = fed | {label: platform.ask(question) for label, question in case["ask"].items()}
    assert failures(answers, case["expect"]) == []
    if not any(needs_files(question) for question in case["ask"].values()):
        assert failures(at_once, case["expect"]) == []
    statistics = [label for label, question in case["ask"].items() if "stats" in question]
    for label in statistics:
        for field in EXACT:
            assert answers[label][field] == at_once[label][field]


@pytest.mark.parametrize("name", NAMES)
def test_every_place_has_the_same_energy(platform: Platform, name: str) -> None:
    """Statistics, the energy route, the catalogue behind them and the report agree on a case's days."""
    case = CASES[name]
    if case["kind"] not in ("counter", "power"):
        pytest.skip("has no energy")
    body = {"device_id": "D1", "device_name": "D1", "device_type": "meter", "metadata_json": case["metadata"]}
    assert platform.client.post("/api/v1/devices", json=body).status_code == 201
    platform.feed(case)
    platform.export()
    question = next(iter(case["ask"].values()))
    start, end = question.get("stats") or question["report"]
    statistics = platform.ask({"stats": [start, end]})
    report = platform.ask({"report": [start, end]})
    assert report["kpi"]["energy"] == statistics["energy_kwh"]
    assert report["kpi"]["peak_demand_15min"] == statistics["peak_demand_15min"]
    assert report["kpi"]["load_factor"] == statistics["load_factor"]
    assert report["kpi"]["energy_export"] == statistics["energy_export_kwh"]
    assert report["energy"]["coverage"] == statistics["energy_coverage"]
    for interval in ("15m", "hour", "day", "month"):
        answer = platform.client.get(
            "/api/v1/data/energy/D1", params={"start_time": start, "end_time": end, "interval": interval}
        )
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert data["energy_kwh"] == statistics["energy_kwh"]
        parts = [round(item["energy_kwh"] * 1e6) for item in data["items"] if item["energy_kwh"] is not None]
        assert sum(parts) == round((statistics["energy_kwh"] or 0) * 1e6)
    length = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    assert length > timedelta()
    assert microseconds(datetime.fromisoformat(end)) < microseconds(utc_now())
