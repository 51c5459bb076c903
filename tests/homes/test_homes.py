"""Homes that live: one that an older release ran for 30 days (`make.py`) starts after the upgrade and loses nothing."""

import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import psycopg
import pytest
from fastapi.testclient import TestClient

from assets.datasets import export_day
from orchestration.datasets.energy import refill_energy
from orchestration.definitions import defs
from orchestration.resources import Platform
from serving.app import create_app
from storage import day_figures, dirty_days
from storage.database import migrate
from storage.settings import Settings
from storage.stores import Stores, open_stores
from storage.telemetry import Reading
from storage.times import microseconds
from tests.support.servers import free_port

ARCHIVE = Path(__file__).with_name("release-1.0.tar.xz")
OLD_REVISION = "0005"
START = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 30
MONTH = {"start_time": "2026-09-01T00:00:00Z", "end_time": "2026-10-01T00:00:00Z"}
# What changes with the release, and rightly so: energy, and what rests on it.
OF_ENERGY = ("energy", "demand", "load_factor", "mean_power", "consumption", "power_total", "peak")


class Home:
    """The old home in a database and a folder of the test's own, upgraded; `known` is what the old API answered."""

    def __init__(self, settings: Settings, known: dict[str, Any], client: TestClient, stores: Stores) -> None:
        self.settings, self.stores = settings, stores
        self.answers, self.made, self.keys = known["answers"], known["made"], known["keys"]
        self._client = client

    def get(self, path: str, key: str = "admin", status: int = 200, *, raw: bool = False, **params: Any) -> Any:
        answer = self._client.get(path, params=params or None, headers={"X-API-Key": self.keys[key]})
        assert answer.status_code == status, answer.text
        return answer.content if raw else answer.json()

    def statistics(self, device_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/v1/data/stats/{device_id}?{urlencode(MONTH)}")["data"]
        return found


def restore(url: str, sql: str) -> None:
    """Run what `pg_dump` wrote, whose rows follow their COPY statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        lines = iter(sql.splitlines(keepends=True))
        statements = ""
        for line in lines:
            if line.startswith("COPY "):
                connection.execute(statements)
                statements = ""
                with connection.cursor().copy(line) as copy:
                    for row in iter(lambda: next(lines), "\\.\n"):
                        copy.write(row)
            elif not line.startswith("\\"):  # a command of psql
                statements += line
        connection.execute(statements)


@pytest.fixture
def old_home(postgres_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Home]:
    name = f"home_{secrets.token_hex(6)}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    monkeypatch.setenv("DATABASE_URL", f"{postgres_server}/{name}")
    monkeypatch.setenv("ENERGY_HOME", str(tmp_path))
    for variable in ("API_PORT", "MQTT_BROKER_PORT", "INGEST_METRICS_PORT", "DAGSTER_PORT"):
        monkeypatch.setenv(variable, str(free_port()))
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    restore(f"{postgres_server}/{name}", (tmp_path / "database.sql").read_text())
    settings = Settings.load()
    migrate(settings)
    known = json.loads((tmp_path / "known.json").read_text())
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client, open_stores(settings) as stores:
        yield Home(settings, known, client, stores)
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def kept(old: Any, new: Any, where: str = "") -> list[str]:
    """What an old answer says and the new one does not; new fields and items are fine, and means have 12 digits now."""
    if isinstance(old, dict):
        return [lost for name in old for lost in kept(old[name], new.get(name, "missing"), f"{where}.{name}")]
    if isinstance(old, list) and len(old) == len(new):
        return [lost for i, item in enumerate(old) for lost in kept(item, new[i], f"{where}.{i}")]
    is_mean = where.endswith("_avg") and isinstance(new, float)
    return [] if old == (pytest.approx(new, rel=1e-11) if is_mean else new) else [f"{where}: {old} is {new}"]


def test_every_answer_is_kept(old_home: Home) -> None:
    job = old_home.made
    lists = {"devices": "devices", "rules": "rules", "alerts": "alerts", "windows": "maintenance-windows",
             "quarantine": "data/quarantine", "unregistered": "data/unregistered"}  # fmt: skip
    for name, path in lists.items():
        assert len(old_home.answers[name]) > 0
        assert kept(old_home.answers[name], old_home.get(f"/api/v1/{path}")["data"], name) == []
    assert old_home.answers["alerts"][0]["status"] == "acknowledged"
    for device_id, old in old_home.answers["datasets"].items():
        new = old_home.get("/api/v1/analytics/datasets", device_id=device_id)["datasets"]
        assert len(new) >= DAYS
        assert kept(old, new, "datasets") == []
    assert kept(old_home.answers["analysis"], old_home.get(f"/api/v1/analytics/results/{job['analysis']}")) == []
    assert kept(old_home.answers["export"], old_home.get(f"/api/v1/exports/jobs/{job['export']}")) == []
    assert kept(old_home.answers["report"], old_home.get(f"/api/reports/status/{job['report']}")) == []
    audit = old_home.get("/api/v1/audit", page_size=100)["data"]
    assert kept(old_home.answers["audit"], audit[-len(old_home.answers["audit"]) :], "audit") == []


def test_every_reading_is_kept(old_home: Home) -> None:
    for device_id, old in old_home.answers["statistics"].items():
        new = old_home.statistics(device_id)
        same = {name: value for name, value in old.items() if not name.startswith(OF_ENERGY)}
        assert len(same) > 10
        assert kept(same, new, device_id) == []


def test_keys_and_links_are_kept(old_home: Home) -> None:
    assert [device["device_id"] for device in old_home.get("/api/v1/devices", "acme")["data"]] == ["press"]
    old_home.get("/api/v1/devices/meter", "acme", status=404)
    old_home.get("/api/v1/devices", "revoked", status=401)
    dataset = next(d for d in old_home.answers["datasets"]["meter"] if d["key"] == old_home.made["dataset"])
    assert hashlib.sha256(old_home.get(old_home.made["link"], raw=True)).hexdigest() == dataset["sha256"]
    link = old_home.get(f"/api/reports/download/{old_home.made['report']}")["download_url"]
    assert hashlib.sha256(old_home.get(link, raw=True)).hexdigest() == old_home.answers["report"]["sha256"]


def test_energy_is_right_at_once_and_the_catalogue_is_refilled_in_the_background(old_home: Home) -> None:
    devices = list(old_home.answers["statistics"])
    before = {device_id: old_home.statistics(device_id) for device_id in devices}
    assert [before[device_id]["energy_outdated_days"] for device_id in devices] == [DAYS] * len(devices)
    # A dip of the register counted as use in that release.
    assert old_home.answers["statistics"]["meter"]["energy_kwh"] > 7000
    assert before["meter"]["energy_kwh"] == 719.5
    assert {finding["kind"] for finding in before["meter"]["energy_findings"]} == {"outlier", "gap"}
    told = [(finding["metric"], finding["kind"]) for finding in before["odd"]["energy_findings"]]
    assert told == [("energy_kw", "unit"), ("ticks", "unit")]
    assert before["odd"]["energy_source"] == "integral:power"
    assert (before["prosumer"]["energy_kwh"], before["prosumer"]["energy_export_kwh"]) == (359.75, 719.5)
    with dg.DagsterInstance.ephemeral() as instance:
        with dg.build_sensor_context(instance=instance, resources={"platform": Platform()}) as context:
            assert isinstance(refill_energy(context), dg.RunRequest)
            assert isinstance(refill_energy(context), dg.SkipReason), (
                "what a run could not do is not tried again at once"
            )
        job = defs().resolve_job_def("energy_job")
        run = job.execute_in_process(instance=instance)
        assert run.success
        said = [entry.user_message for entry in instance.all_logs(run.run_id)]
        total = len(devices) * DAYS
        assert f"The figures of 100 of {total} days are made again." in said
        assert f"The figures of {total} of {total} days are made again." in said
        with dg.build_sensor_context(instance=instance, resources={"platform": Platform()}) as context:
            assert isinstance(refill_energy(context), dg.SkipReason)
    after = {device_id: old_home.statistics(device_id) for device_id in devices}
    assert after == {device_id: before[device_id] | {"energy_outdated_days": 0} for device_id in devices}


def test_a_catalogue_that_is_half_refilled_mixes_nothing(old_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old_home.statistics("meter")
    half = day_figures.outdated_files(old_home.stores.session, after=0, limit=1000)[::2]
    batches = [half, []]
    monkeypatch.setattr(day_figures, "outdated_files", lambda *_, **__: batches.pop(0))
    assert defs().resolve_job_def("energy_job").execute_in_process().success
    during = old_home.statistics("meter")
    assert during == before | {"energy_outdated_days": during["energy_outdated_days"]}
    assert 0 < during["energy_outdated_days"] < DAYS


def test_late_readings_join_the_files_of_the_old_release(old_home: Home) -> None:
    at = microseconds(START + timedelta(days=9, hours=13, minutes=45))
    late = Reading(device_id="meter", time=at, metrics={"energy_total": 7225.0, "power": 1000.0}, received_at=at)
    old_home.stores.telemetry.write([late])
    dirty_days.mark_dirty(old_home.stores.session, [("meter", at)])
    old_home.stores.session.commit()
    before = old_home.statistics("meter")
    exported = export_day(old_home.stores, "meter", (START + timedelta(days=9)).date())
    assert exported is not None
    assert exported.changed
    after = old_home.statistics("meter")
    assert after["data_points"] == old_home.answers["statistics"]["meter"]["data_points"] + 1
    assert after | {"energy_outdated_days": DAYS} == before | {"energy_outdated_days": DAYS}


def test_the_older_release_can_come_back(old_home: Home) -> None:
    answers = old_home.get("/api/v1/devices")
    old_home.stores.session.rollback()
    migrate(old_home.settings, OLD_REVISION)
    migrate(old_home.settings)
    assert old_home.get("/api/v1/devices") == answers
    assert old_home.statistics("meter")["energy_kwh"] == 719.5


def test_the_archive_is_small() -> None:
    assert ARCHIVE.stat().st_size < 300_000
    with tarfile.open(ARCHIVE) as archive:
        assert {"database.sql", "known.json", "link-secret", "objects"} <= set(archive.getnames())
        sql = archive.extractfile("database.sql")
        assert isinstance(sql, io.BufferedReader)
        assert OLD_REVISION.encode() in sql.read()
