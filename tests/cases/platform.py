"""A platform of a test's own with a device, which a case is fed to and asked."""

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pypdf
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
from orchestration.analyses.results import perform_analysis
from orchestration.claimed_job import EXPECTED_ERRORS, ClaimedJob
from storage import dirty_days, jobs
from storage.database import open_engine
from storage.jobs import AnalyticsJob, ReportJob
from storage.quarantine import QuarantinedReading
from storage.settings import Settings
from storage.stores import Stores
from storage.times import microseconds, rfc3339, utc_now

FOLDER = Path(__file__).parent
CASES = {case["name"]: case for case in json.loads((FOLDER / "cases.json").read_text())}
MAX_ITEMS = 500


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
        if case["feed"] == "mqtt-raw":
            payloads = [path.read_bytes()]
        else:
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
            return self._readings(question.get("device", "D1"), *question["readings"])
        if "analysis" in question:
            return self._analysis(question["analysis"])
        if "quarantine" in question:
            return self._quarantine()
        return (FOLDER.parents[1] / question["doc"]).read_text() if "doc" in question else self._request(question)

    def _quarantine(self) -> dict[str, Any]:
        rows = self.stores.session.exec(select(QuarantinedReading)).all()
        return {"reasons": [row.reason for row in rows], "metrics": [row.metric for row in rows]}

    def _readings(self, device_id: str, start: str, end: str) -> dict[str, Any]:
        params = {"start_time": start, "end_time": end, "limit": "1000"}
        answer = self.client.get(f"/api/v1/data/telemetry/{device_id}", params=params)
        assert answer.status_code in (200, 404), answer.text
        items = answer.json()["data"]["items"] if answer.status_code == 200 else []
        return {_time(item["timestamp"]): {n: v for n, v in item.items() if v is not None} for item in items}

    def _analysis(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post("/api/v1/analytics/run", json={"device_id": "D1", **body})
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["job_id"]
        job = jobs.claim(self.stores.session, AnalyticsJob, job_id, "run")
        assert job
        claimed = ClaimedJob(self.stores, job)
        try:
            perform_analysis(claimed)
        except EXPECTED_ERRORS as error:
            claimed.fail(str(error))
        state = self.client.get(f"/api/v1/analytics/status/{job_id}").json()
        answer = self.client.get(f"/api/v1/analytics/results/{job_id}")
        results = answer.json()["results"] if answer.status_code == 200 else {}
        return {
            "status": state["status"],
            "error": state["error_message"],
            "results": results,
            "hours": {_time(hour["timestamp"]): hour for hour in results.get("forecast", ())},
        }

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


def _time(text: str) -> str:
    """With a fraction of a second only where there is one."""
    return rfc3339(datetime.fromisoformat(text))
