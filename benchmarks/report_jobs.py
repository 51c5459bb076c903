"""From the POST of a report to its file, on `energy up`: 30 days of minute data, a year, and ten reports at once.

The device of 30 days has an anomaly analysis, a forecast and, named as missing, a failure prediction. Seconds are by
the clock, from the POST to the status `completed`; the run's part is from the claim of the job to its end.
Ten at once are of ten devices, in all formats; each file is read, and must be of its own device with its own energy.
`--days N` for the long one (366).
"""

import argparse
import io
import json
import math
import os
import time
import zipfile
from datetime import date, datetime, timedelta
from typing import Any
from unittest.mock import patch

import httpx
import psycopg
import pypdf

from assets.datasets import export_day
from benchmarks.floors import say
from benchmarks.jobs import running
from benchmarks.load import folder
from orchestration.resources import Platform
from storage import dirty_days
from storage.devices import Device
from storage.settings import Settings
from storage.stores import Stores
from storage.telemetry import Reading
from storage.times import MINUTE, microseconds, midnight
from tests.cli.conftest import LocalPlatform

LAST = date(2026, 10, 31)
DAYS, AT_ONCE = 30, 10
FORMATS = ("pdf", "html", "excel", "json")
BAR_SECONDS, YEAR_BAR_SECONDS = 12.0, 30.0
LOOK = 0.05  # seconds between two looks
TIMEOUT_SECONDS = 240.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=366)
    asked, _ = parser.parse_known_args()
    with folder() as place, running("embedded", place) as platform:
        fill(platform, asked.days)
        with httpx.Client(base_url=platform.api, timeout=60) as rest:
            wait(rest, [ask(rest, "MONTH", DAYS, "json", compute_missing=True)])  # makes the analyses
            for format_ in FORMATS:
                seconds, (job,) = timed(rest, [("MONTH", DAYS, format_)])
                run = run_seconds(platform, job["job_id"])
                print(f"  {format_}: {seconds:.1f} s, of which the run {run:.1f} s, {job['size_bytes'] / 1e3:.0f} kB")
                say(
                    f"POST to {format_}, {DAYS} days",
                    f"{seconds:.1f} s",
                    f"{BAR_SECONDS:g} s",
                    met=seconds <= BAR_SECONDS,
                )
            seconds, (job,) = timed(rest, [("YEAR", asked.days, "pdf")])
            met = seconds <= YEAR_BAR_SECONDS
            say(f"POST to pdf, {asked.days} days", f"{seconds:.1f} s", f"{YEAR_BAR_SECONDS:g} s", met=met)
            wanted = [(f"D{i}", 2, FORMATS[i % len(FORMATS)]) for i in range(AT_ONCE)]
            seconds, jobs = timed(rest, wanted)
            right = sum(is_right(rest, job, i) for i, job in enumerate(jobs))
            say(
                f"{AT_ONCE} reports at once",
                f"{right} right in {seconds:.1f} s",
                f"{AT_ONCE} right",
                met=right == AT_ONCE,
            )


def fill(platform: LocalPlatform, days: int) -> None:
    """A device with a month, one with `days` days, and ten with two days, each with a power of its own."""
    with patch.dict(os.environ, platform.environment), Platform().stores() as stores:
        add(stores, "MONTH", DAYS, 1000.0)
        add(stores, "YEAR", days, 700.0)
        for i in range(AT_ONCE):
            add(stores, f"D{i}", 2, watts(i))


def watts(number: int) -> float:
    return 100.0 * (number + 1)


def add(stores: Stores, device_id: str, days: int, power: float) -> None:
    stores.session.add(Device(device_id=device_id, device_name=f"Machine {device_id}", device_type="pump"))
    stores.session.commit()
    for day in (LAST - timedelta(days=ago) for ago in reversed(range(days))):
        start = microseconds(midnight(day))
        readings = []
        for m in range(1440):
            values = {
                "power": power + 0.3 * power * math.sin(m / 229),
                "voltage": 230 + m % 7,
                "temperature": 40 + m % 11,
            }
            time_ = start + m * MINUTE
            readings.append(Reading(device_id=device_id, time=time_, metrics=values, received_at=time_))
        stores.telemetry.write(readings)
        dirty_days.mark_dirty(stores.session, ((r.device_id, r.time) for r in readings))
        stores.session.commit()
        export_day(stores, device_id, day)
        stores.session.commit()


def ask(rest: httpx.Client, device_id: str, days: int, format_: str, **more: Any) -> str:
    body = {
        "device_id": device_id, "format": format_, "analysis_types": ["anomaly", "forecast", "prediction"],
        "date_range_start": midnight(LAST - timedelta(days=days - 1)).isoformat(),
        "date_range_end": midnight(LAST + timedelta(days=1)).isoformat(), **more,
    }  # fmt: skip
    job_id: str = rest.post("/api/reports/generate", json=body).raise_for_status().json()["job_id"]
    return job_id


def timed(rest: httpx.Client, wanted: list[tuple[str, int, str]]) -> tuple[float, list[dict[str, Any]]]:
    """Ask for reports, all at once; the seconds until the last is completed, and their states."""
    began = time.perf_counter()
    jobs = wait(rest, [ask(rest, *one) for one in wanted])
    return time.perf_counter() - began, jobs


def wait(rest: httpx.Client, job_ids: list[str]) -> list[dict[str, Any]]:
    states: dict[str, dict[str, Any]] = {}
    until = time.perf_counter() + TIMEOUT_SECONDS
    while len(states) < len(job_ids):
        if time.perf_counter() > until:
            raise TimeoutError(f"reports did not end within {TIMEOUT_SECONDS:g} s")
        for job_id in set(job_ids) - states.keys():
            state = rest.get(f"/api/reports/status/{job_id}").raise_for_status().json()
            if state["status"] not in ("pending", "running"):
                assert state["status"] == "completed", state["error_message"]
                states[job_id] = state
        time.sleep(LOOK)
    return [states[job_id] for job_id in job_ids]


def is_right(rest: httpx.Client, job: dict[str, Any], number: int) -> bool:
    """Whether the file of a report is of its device alone, and has that device's energy."""
    link = rest.get(f"/api/reports/download/{job['job_id']}").raise_for_status().json()["download_url"]
    content = rest.get(link).raise_for_status().content
    others = [f"Machine D{i}" for i in range(AT_ONCE) if i != number]
    text = text_of(content, job["format"])
    is_own = f"Machine D{number}" in text and job["job_id"] in text and not any(other in text for other in others)
    if job["format"] != "json":
        return is_own
    kwh = next(kpi["value"] for kpi in json.loads(content)["kpis"] if kpi["key"] == "energy")
    return is_own and math.isclose(kwh, watts(number) * 48 / 1000, rel_tol=0.05)


def text_of(content: bytes, format_: str) -> str:
    if format_ == "pdf":
        return " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
    if format_ == "excel":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "".join(archive.read(name).decode() for name in archive.namelist() if "sheet" in name)
    return content.decode()


def run_seconds(platform: LocalPlatform, job_id: str) -> float:
    """Seconds from the start of the job's run to its end, as its row has them."""
    with patch.dict(os.environ, platform.environment):
        url = Settings.load().database_url
    query = "SELECT started_at, completed_at FROM report_jobs WHERE job_id = %s"
    with psycopg.connect(url) as connection:
        row: Any = connection.execute(query, (job_id,)).fetchone()
    started: datetime = row[0]
    return float((row[1] - started).total_seconds())


if __name__ == "__main__":
    main()
