"""The demo's flow, as a client of the platform would run it: register, publish, export, analyse, report, download."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import paho.mqtt.client as mqtt
from prometheus_client.parser import text_string_to_metric_families

from assets.analyses import ANALYSES, AnalysisType
from cli.demo import fleet
from cli.demo.fleet import DEVICE_IDS, Sample
from ingest.mqtt import new_client
from storage.settings import Settings

STEP_TIMEOUT_SECONDS = 180.0
MAX_IN_FLIGHT = 500  # paho slows down with the square of what is outstanding beyond its window
REPORTED = DEVICE_IDS[1]


class StepFailed(Exception):
    """A step of the demo failed; the message says why."""


@dataclass
class Summary:
    """What the demo did, as it prints it."""

    readings: dict[str, int] = field(default_factory=lambda: {"received": 0, "stored": 0, "quarantined": 0})
    alerts: int = 0
    datasets: list[dict[str, Any]] = field(default_factory=list)
    analytics: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


class Flow:
    """One run of the demo on a running platform. `say` is called with a step and how far it is (0 to 1)."""

    def __init__(self, settings: Settings, say: Callable[[str, float], None]) -> None:
        self._settings = settings
        self._say = say
        self._rest = httpx.Client(base_url=f"http://127.0.0.1:{settings.api_port}", timeout=30)
        self._start = fleet.first_start(settings)
        self.summary = Summary()

    def run(self) -> Summary:
        """Run every step. If one fails, note the reason and go on with the next."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("register the fleet", self._register),
            ("publish the readings", self._publish),
            ("export datasets", self._export),
            ("analyse", self._analyse),
            ("make reports", self._report),
        ]
        for name, step in steps:
            try:
                self._say(name, 0.0)
                step()
                self._say(name, 1.0)
            except (StepFailed, httpx.HTTPError) as error:
                self.summary.failed.append({"step": name, "reason": str(error) or type(error).__name__})
        return self.summary

    def live(self, stopping: threading.Event, every: float = 5.0) -> None:
        """Go on sending readings, with the present time, until told to stop."""
        client = self._connect()
        while not stopping.wait(every):
            for sample in fleet.live(datetime.now(UTC), self._start):
                client.publish(sample.topic, sample.payload(), qos=1)
        client.disconnect()
        client.loop_stop()

    def _register(self) -> None:
        for device in fleet.DEVICES:
            response = self._rest.post("/api/v1/devices", json=device)
            if response.status_code == httpx.codes.CONFLICT:
                response = self._rest.put(f"/api/v1/devices/{device['device_id']}", json=device)
            _checked(response)
        standing = {rule["rule_name"] for rule in self._get("/api/v1/rules", page_size=100)["data"]}
        for rule in fleet.RULES:
            if rule["rule_name"] not in standing:
                _checked(self._rest.post("/api/v1/rules", json=rule))

    def _publish(self) -> None:
        samples = fleet.history(self._start)
        before = self._ingest_counts()
        client = self._connect()
        _publish_all(client, samples, lambda share: self._say("publish the readings", 0.8 * share))
        client.disconnect()
        client.loop_stop()

        def all_stored() -> bool:
            counts = self._ingest_counts()
            return counts["received"] - before["received"] >= len(samples) and not counts["in_flight"]

        _wait(all_stored, f"not all of the {len(samples)} published readings arrived", STEP_TIMEOUT_SECONDS)
        after = self._ingest_counts()
        self.summary.readings = {name: after[name] - before[name] for name in ("received", "stored", "quarantined")}
        self.summary.alerts = sum(
            self._get("/api/v1/alerts", device_id=device_id, page_size=1)["total"] for device_id in DEVICE_IDS
        )

    def _export(self) -> None:
        start, end = self._days()
        exports = [
            self._post("/api/v1/exports/run", {"device_id": device_id, "start_date": start, "end_date": end})
            for device_id in DEVICE_IDS
        ]
        for i, export in enumerate(exports):
            state = self._finished(f"/api/v1/exports/status/{export['device_id']}", "export datasets", i, len(exports))
            datasets = self._get("/api/v1/analytics/datasets", device_id=export["device_id"])["datasets"]
            dataset = next(d for d in datasets if d["key"] == state["s3_key"])
            self.summary.datasets.append({"device_id": export["device_id"], **dataset, "days": len(datasets) - 1})

    def _analyse(self) -> None:
        analyses: tuple[tuple[AnalysisType, dict[str, str]], ...] = (
            ("anomaly", {"trained_until": fleet.good_until(self._start).isoformat()}),
            ("forecast", {}),
        )
        wanted = [
            {
                "device_id": dataset["device_id"],
                "analysis_type": analysis_type,
                "model_name": ANALYSES[analysis_type].default,  # as every night
                "dataset_key": dataset["key"],
                "parameters": parameters,
            }
            for dataset in self.summary.datasets
            for analysis_type, parameters in analyses
        ]
        jobs = [(request, self._earlier_job(request) or self._start_job(request)) for request in wanted]
        for i, (request, job_id) in enumerate(jobs):
            state = self._finished(f"/api/v1/analytics/status/{job_id}", "analyse", i, len(jobs))
            result = self._get(f"/api/v1/analytics/results/{job_id}")
            self.summary.analytics.append(
                {
                    "job_id": job_id,
                    "device_id": request["device_id"],
                    "analysis_type": request["analysis_type"],
                    "model_name": request["model_name"],
                    "state": state["status"],
                    "figures": _figures(request["analysis_type"], result),
                }
            )

    def _start_job(self, request: dict[str, Any]) -> str:
        return str(self._post("/api/v1/analytics/run", request)["job_id"])

    def _earlier_job(self, request: dict[str, Any]) -> str | None:
        """The job of an earlier demo that analysed the same bytes, if there is one."""
        sha256 = next(d["sha256"] for d in self.summary.datasets if d["key"] == request["dataset_key"])
        completed = {"device_id": request["device_id"], "status": "completed", "limit": 100}
        jobs = self._get("/api/v1/analytics/jobs", **completed)
        for job in jobs["jobs"]:
            if all(job[name] == request[name] for name in ("analysis_type", "model_name", "dataset_key")):
                made_from = self._get(f"/api/v1/analytics/results/{job['job_id']}")["results"]["provenance"]["datasets"]
                if [d["sha256"] for d in made_from] == [sha256]:
                    return str(job["job_id"])
        return None

    def _report(self) -> None:
        request = {
            "device_id": REPORTED,
            "analysis_types": ["anomaly", "forecast"],
            "date_range_start": fleet.history(self._start)[0].time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "date_range_end": (self._start + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        standing = {
            (report["format"], report["date_range_start"], report["date_range_end"]): report["job_id"]
            for report in self._get("/api/reports/jobs", device_id=REPORTED, page_size=100)["data"]
            if report["status"] == "completed"
        }
        period = (request["date_range_start"], request["date_range_end"])
        for i, kind in enumerate(("pdf", "json", "excel")):
            job_id = standing.get((kind, *period))
            if job_id is None:
                job_id = self._post("/api/reports/generate", {**request, "format": kind})["job_id"]
            state = self._finished(f"/api/reports/status/{job_id}", "make reports", i, 3)
            link = self._get(f"/api/reports/download/{job_id}")["download_url"]
            size = len(_checked(self._rest.get(link)).content)
            self.summary.reports.append(
                {
                    "job_id": job_id,
                    "device_id": REPORTED,
                    "format": kind,
                    "state": state["status"],
                    "figures": {"size_bytes": size, "sha256": state["sha256"]},
                    "download": str(self._rest.base_url.join(f"/api/reports/download/{job_id}")),
                }
            )

    def _days(self) -> tuple[str, str]:
        """The first and last UTC day of the history."""
        first = fleet.history(self._start)[0].time
        return first.astimezone(UTC).date().isoformat(), self._start.astimezone(UTC).date().isoformat()

    def _finished(self, path: str, step: str, done: int, of: int) -> dict[str, Any]:
        state: dict[str, Any] = {}

        def is_finished() -> bool:
            state.update(self._get(path))
            self._say(step, min(0.99, (done + (state.get("progress") or 0) / 100) / of))
            return state["status"] in ("completed", "failed", "cancelled")

        _wait(is_finished, f"{path} did not finish", STEP_TIMEOUT_SECONDS)
        if state["status"] != "completed":
            raise StepFailed(f"{state.get('job_id')} {state['status']}: {state.get('error_message')}")
        return state

    def _ingest_counts(self) -> dict[str, int]:
        text = httpx.get(f"http://127.0.0.1:{self._settings.ingest_metrics_port}/metrics").raise_for_status().text
        samples = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
        counted = {n: int(samples[f"energy_ingest_{n}_total"]) for n in ("received", "stored", "quarantined")}
        return {**counted, "in_flight": int(samples["energy_ingest_in_flight"])}

    def _connect(self) -> mqtt.Client:
        client = new_client(self._settings, f"energy-demo-{uuid4().hex}")
        client.max_inflight_messages_set(2 * MAX_IN_FLIGHT)
        try:
            client.connect(self._settings.broker_host, self._settings.mqtt_broker_port)
        except OSError as error:
            raise StepFailed(f"the broker at {self._settings.broker_host} does not answer: {error}") from error
        client.loop_start()
        return client

    def _get(self, path: str, **parameters: Any) -> dict[str, Any]:
        body: dict[str, Any] = _checked(self._rest.get(path, params=parameters)).json()
        return body

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        content: dict[str, Any] = _checked(self._rest.post(path, json=body)).json()
        return content


def _publish_all(client: mqtt.Client, samples: list[Sample], say: Callable[[float], None]) -> None:
    """Publish with QoS 1 and return when the broker has acknowledged every message."""
    outstanding: list[mqtt.MQTTMessageInfo] = []
    for i, sample in enumerate(samples):
        outstanding.append(client.publish(sample.topic, sample.payload(), qos=1))
        if len(outstanding) >= MAX_IN_FLIGHT:
            outstanding.pop(0).wait_for_publish(STEP_TIMEOUT_SECONDS)
            say(i / len(samples))
    for message in outstanding:
        message.wait_for_publish(STEP_TIMEOUT_SECONDS)
    if not all(message.is_published() for message in outstanding):
        raise StepFailed("the broker did not acknowledge every reading")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError):
            detail = response.text[:200]
        raise StepFailed(f"{response.request.method} {response.request.url.path}: {response.status_code} {detail}")
    return response


def _wait(condition: Callable[[], bool], failure: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StepFailed(f"{failure} within {seconds:.0f} s")
        time.sleep(0.3)


def _figures(analysis_type: str, result: dict[str, Any]) -> dict[str, Any]:
    """The few numbers of a result that fit on a line."""
    results, accuracy = result["results"], result["accuracy_metrics"]
    if analysis_type == "anomaly":
        return {"events": len(results["events"]), "anomalies": len(results["anomalies"])}
    wanted: Iterable[str] = ("mae", "mase", "coverage_95", "beats_baseline")
    return {name: accuracy.get(name) for name in wanted}
