"""Makes `release-1.0.tar.xz`: the home of a plant that an older release ran for 30 days.

It runs in a checkout of that release (commit 20efae6, "Simpler: a part of a day …"), with that release's packages and
by that release's code, which is why its imports are not of this checkout:

    git worktree add /tmp/old 20efae6 && cd /tmp/old && make install
    PYTHONPATH=. .venv/bin/python NEW_CHECKOUT/tests/homes/make.py NEW_CHECKOUT/tests/homes/release-1.0.tar.xz

The archive has `database.sql` (pg_dump), the folder `objects`, the `link-secret`, and `known.json`: what the old API
answered, and keys and links that it gave out.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from fastapi.testclient import TestClient
from sqlmodel import Session

START = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 30
HOUR = timedelta(hours=1)
DEVICES = {
    # Read every half hour; on the fourth day the bus returns 0 once, on the tenth the plant stands still for 8 hours.
    "meter": {"counters": {"energy_total": {"unit": "kWh"}}, "timezone": "Europe/Berlin"},
    "press": {"cadence_seconds": 1800, "bands": {"temperature": [20, 60]}},
    "prosumer": {"counters": {"import_kwh": {"unit": "kWh"}, "export_kwh": {"unit": "kWh"}}},
    # What later releases refuse: a unit of power, and pulses of which nobody says how many kWh they are.
    "odd": {"counters": {"energy_kw": {"unit": "kW"}, "ticks": {"unit": "pulses"}}},
}


def readings(device_id: str) -> list[dict[str, Any]]:
    made = []
    for i in range(DAYS * 48):
        at = START + i * HOUR / 2
        work = 1.0 if 6 <= at.hour < 18 else 0.1
        metrics: dict[str, float] = {"power": 2000.0 * work, "temperature": 30 + 25 * work}
        if device_id == "meter":
            if 9 * 48 + 20 <= i < 9 * 48 + 36:
                continue
            metrics = {"energy_total": 0.0 if i == 3 * 48 + 20 else 7000 + i / 2, "power": 1000.0}
        elif device_id == "prosumer":
            metrics = {"import_kwh": 100 + i / 4, "export_kwh": 5000 + i / 2}
        elif device_id == "odd":
            metrics = {"energy_kw": float(i), "ticks": float(10 * i), "power": 500.0}
        elif i % 480 == 100:
            metrics["temperature"] = 95.0
        made.append({"timestamp": at.isoformat(), **metrics})
    return made


def fill(settings: Any, client: TestClient, admin: dict[str, str]) -> None:
    from ingest.alerts import AlertRaiser
    from ingest.counts import IntakeCounts
    from ingest.intake import Intake
    from ingest.notifications.outbox import Outbox
    from ingest.presence import Presence
    from ingest.registry import Registry
    from ingest.subscription import Message
    from storage.database import open_engine
    from storage.telemetry import microseconds
    from storage.telemetry_stores import open_telemetry_store

    for device_id, metadata in DEVICES.items():
        body = {"device_id": device_id, "device_name": device_id.title(), "device_type": "machine"}
        body |= {"metadata_json": metadata, "tenant_id": "acme" if device_id == "press" else None}
        assert client.post("/api/v1/devices", json=body, headers=admin).status_code == 201
    hot = {"rule_name": "Hot", "device_ids": ["press"], "property": "temperature", "condition": ">", "threshold": 80}
    rules = [
        {**hot, "tenant_id": "acme", "notification_channels": ["email", "pager"], "cooldown_minutes": 0},
        {"rule_name": "Silent", "scope": "all_devices", "condition": "no_data", "threshold": 600},
    ]
    for rule in rules:
        assert client.post("/api/v1/rules", json=rule, headers=admin).status_code == 201
    window = {"device_id": "meter", "from": "2026-09-20T06:00:00Z", "to": "2026-09-20T10:00:00Z", "reason": "Belt"}
    assert client.post("/api/v1/maintenance-windows", json=window, headers=admin).status_code == 201
    engine, store = open_engine(settings), open_telemetry_store(settings)
    registry = Registry(settings, engine)
    registry.load()
    raiser = AlertRaiser(registry, Presence(), Outbox(settings))
    intake = Intake(settings.mqtt_topic, store, engine, registry, IntakeCounts(), raiser=raiser)

    def send(device_id: str, payload: bytes, at: datetime) -> None:
        message = Message(
            topic=f"devices/{device_id}/telemetry", payload=payload, received_at=microseconds(at), redelivered=False,
            packet_id=0, connection=0,
        )  # fmt: skip
        assert intake.process([message], threading.Event())

    for device_id in DEVICES:
        items = readings(device_id)
        for i in range(0, len(items), 48):
            part = items[i : i + 48]
            send(device_id, json.dumps(part).encode(), datetime.fromisoformat(part[-1]["timestamp"]) + HOUR / 60)
    send("press", b'{"timestamp": "2026-09-05T10:15:00Z", "voltage": "high"}', START + 5 * 24 * HOUR)
    send("stranger", b'{"timestamp": "2026-09-05T10:15:00Z", "power": 5}', START + 5 * 24 * HOUR)
    store.close()
    engine.dispose()


def make_results(settings: Any, client: TestClient, admin: dict[str, str]) -> dict[str, str]:
    """Datasets, an analysis, an export and a report, and links; the names that clients know them by."""
    from assets.datasets import Workshop, export_day
    from orchestration.definitions import defs
    from storage.database import open_engine
    from storage.jobs import ID_TAG
    from storage.objects import open_object_store
    from storage.telemetry_stores import open_telemetry_store

    engine, telemetry, objects = open_engine(settings), open_telemetry_store(settings), open_object_store(settings)
    with Session(engine, expire_on_commit=False) as session:
        workshop = Workshop(session, telemetry, objects, settings.zone, run_id="run-1")
        for device_id in DEVICES:
            for day in range(DAYS):
                assert export_day(workshop, device_id, date(2026, 9, 1) + timedelta(days=day))
    start, end = START.isoformat(), (START + DAYS * 24 * HOUR).isoformat()
    bodies = {
        "analysis": ("/api/v1/analytics/run", {
            "device_id": "press", "analysis_type": "anomaly", "model_name": "isolation_forest",
            "start_date": "2026-09-01", "end_date": "2026-09-29"}),
        "export": ("/api/v1/exports/run", {"device_id": "meter", "start_date": "2026-09-01", "end_date": "2026-09-07"}),
        "report": ("/api/reports/generate", {
            "device_id": "press", "date_range_start": start, "date_range_end": end, "format": "json"}),
    }  # fmt: skip
    made: dict[str, str] = {}
    jobs = {"analysis": "anomaly_job", "export": "export_job", "report": "report_job"}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("devices", ["meter", "press"])
        for name, (path, body) in bodies.items():
            answer = client.post(path, json=body, headers=admin)
            assert answer.status_code == 202, answer.text
            made[name] = answer.json()["job_id"]
            partition = {} if name == "export" else {"partition_key": "press"}
            job = defs().resolve_job_def(jobs[name])
            assert job.execute_in_process(instance=instance, tags={ID_TAG: made[name]}, **partition).success
    key = "datasets/meter/20260901_20260901.parquet"
    found = client.get("/api/v1/analytics/datasets", params={"device_id": "meter"}, headers=admin).json()["datasets"]
    key = found[0]["key"]
    made["dataset"] = key
    made["link"] = objects.download_url(key, timedelta(days=36500))
    telemetry.close()
    engine.dispose()
    return made


def known(client: TestClient, admin: dict[str, str], made: dict[str, str]) -> dict[str, Any]:
    """What the old API answers, and must be answered still."""
    month = {"start_time": START.isoformat(), "end_time": (START + DAYS * 24 * HOUR).isoformat()}

    def get(path: str, **params: Any) -> Any:
        answer = client.get(path, params=params, headers=admin)
        assert answer.status_code == 200, answer.text
        return answer.json()

    alerts = get("/api/v1/alerts")["data"]
    acknowledged = client.patch(f"/api/v1/alerts/{alerts[0]['alert_id']}/acknowledge", headers=admin)
    assert acknowledged.status_code == 200
    return {
        "devices": get("/api/v1/devices")["data"],
        "rules": get("/api/v1/rules")["data"],
        "alerts": get("/api/v1/alerts")["data"],
        "windows": get("/api/v1/maintenance-windows")["data"],
        "quarantine": get("/api/v1/data/quarantine")["data"],
        "unregistered": get("/api/v1/data/unregistered")["data"],
        "datasets": {d: get("/api/v1/analytics/datasets", device_id=d)["datasets"] for d in DEVICES},
        "analysis": get(f"/api/v1/analytics/results/{made['analysis']}"),
        "export": get(f"/api/v1/exports/jobs/{made['export']}"),
        "report": get(f"/api/reports/status/{made['report']}"),
        "statistics": {d: get(f"/api/v1/data/stats/{d}", **month)["data"] for d in DEVICES},
        "audit": get("/api/v1/audit", page_size=100)["data"],
    }


def main(archive: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="old-home-", dir="/dev/shm"))
    home.chmod(0o755)
    os.environ |= {"ENERGY_HOME": str(home), "POSTGRES_PORT": "57651"}
    from cli import postgres
    from serving.app import create_app
    from storage import access
    from storage.database import migrate, open_engine
    from storage.settings import Settings

    settings = Settings.load()
    server = postgres.prepare(settings)
    process = subprocess.Popen(server.command, cwd="/", **server.identity)
    try:
        for _ in range(100):
            try:
                psycopg.connect(settings.database_url).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        migrate(settings)
        engine = open_engine(settings)
        with Session(engine) as session:
            keys = {
                "admin": access.create_key(session, "boss", "admin"),
                "acme": access.create_key(session, "acme-reader", "read", "acme"),
                "revoked": access.create_key(session, "gone", "operate"),
            }
            access.revoke_key(session, "gone")
        engine.dispose()
        admin = {"X-API-Key": keys["admin"]}
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            fill(settings, client, admin)
            made = make_results(settings, client, admin)
            document = {"keys": keys, "made": made, "answers": known(client, admin, made)}
        dump = [Path(server.command[0]).with_name("pg_dump"), "--no-owner", "--no-privileges", settings.database_url]
        text = subprocess.run(dump, check=True, capture_output=True).stdout
        with tarfile.open(archive, "w:xz", preset=9) as tar:
            files = {"database.sql": text, "known.json": json.dumps(document, indent=1).encode()}
            files["link-secret"] = (home / "link-secret").read_bytes()
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            tar.add(home / "objects", "objects", filter=_anonymous)
        print(archive, archive.stat().st_size)
    finally:
        process.send_signal(2)
        process.wait(20)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
