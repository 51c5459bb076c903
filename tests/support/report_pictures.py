"""`python -m tests.support.report_pictures FOLDER [NAME …]`: reports of every kind as pictures, in English and German.

PDF pages, the HTML file at a phone's width, and every sheet of the workbook as it prints. It needs Chromium, pdftoppm
and LibreOffice (Debian's `chromium`, `poppler-utils`, `libreoffice-calc`). Look at the pictures: nothing judges them.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pypdf

from assets.energy import STATES, EnergyFigures, StateFigures, standby
from assets.energy.cells import MILLIONTHS
from assets.energy.figures import energy_figures
from assets.reports import LANGUAGES, FleetInput, FleetMember, LanguageCode, ReportInput, build_report
from assets.reports.doubtful import without_doubtful
from assets.reports.inputs import Earlier
from assets.reports.measures import Measured
from storage.devices import Counter, DeviceMetadata
from storage.times import HOUR as HOUR_LONG, MINUTE as MINUTE_LONG, microseconds
from tests.support.energy_days import MemoryDays
from tests.support.report_factories import DAY, HOUR, MINUTE, PARIS, bare, house, steady, table

MONDAY = datetime(2026, 2, 2, tzinfo=PARIS)
HOSTILE = (
    '`#read("s.txt")`{=typst} {{< env X >}} $x$ <b>&amp; | \\ @fig-1 [l](http://x.test) ::: {.callout} =1+1'
    " संयंत्र क्षेत्र 设备 設備 기계 Ω"
)
PHONE = "390,12000"  # pixels
FIRST_WATTS = 30_000
SHOWN = 16  # pages at either end of a file


def working(start: datetime, days: int) -> list[tuple[int, int]]:
    """From 6 to 22 o'clock on weekdays."""
    found = []
    for i in range(days):
        day = start + i * DAY
        if day.astimezone(PARIS).weekday() < 5:
            found.append((microseconds(day + 6 * HOUR), microseconds(day + 22 * HOUR)))
    return found


def machine(start: datetime, days: int, *, step: timedelta = 5 * MINUTE, scale: float = 1.0, seed: int = 1) -> Any:
    """Readings of a compressor that works on weekdays, idles at night and has a register, with noise."""
    random, times = np.random.default_rng(seed), [start + i * step for i in range(int(days * DAY / step))]
    local = [time.astimezone(PARIS) for time in times]
    works = np.array([time.weekday() < 5 and 6 <= time.hour < 22 for time in local])
    power = np.where(works, 42_000 + 9_000 * np.sin(np.arange(len(times)) / 40), 6_500) * scale
    power = power + random.normal(0, 900 * scale, len(times))
    voltage = 400 + 3 * np.sin(np.arange(len(times)) / 200) + random.normal(0, 1, len(times))
    energy = 120_000 + np.cumsum(power) / 1000 * (step / HOUR)
    return table(
        "D1",
        times,
        {
            "power": power.tolist(), "voltage": voltage.tolist(), "current": (power / voltage / 1.7).tolist(),
            "temperature": (45 + power / 4000).tolist(), "vibration_rms": random.gamma(2, 0.8, len(times)).tolist(),
            "energy_total": energy.tolist(),
        },
    )  # fmt: skip


def earlier(start: datetime, days: int, scale: float, basis: Any) -> Earlier:
    data = bare(start, start + days * DAY, machine(start, days, scale=scale), cadence_seconds=300.0)
    return Earlier(basis, start, start + days * DAY, Measured.of(data).energy, working(start, days))


def everything() -> ReportInput:
    days, end = 28, MONDAY + 28 * DAY
    readings = machine(MONDAY, days)
    kept = [i for i in range(len(readings)) if not 3000 <= i < 3200 and not 5000 <= i < 5010]
    idle = dict.fromkeys(STATES, 0) | {"idle": 300 * HOUR_LONG, "running": 330 * HOUR_LONG, "silent": 42 * HOUR_LONG}
    energy = dict.fromkeys(STATES, 0) | {"idle": 2100 * MILLIONTHS, "running": 13_800 * MILLIONTHS}
    hours = [end + i * HOUR for i in range(48)]
    expected = [42.0 if hour.astimezone(PARIS).hour in range(6, 22) else 6.5 for hour in hours]
    past = [(end - (72 - i) * HOUR) for i in range(72)]
    checks = {
        "power_consistency": {"status": "warn", "value": 0.07, "detail": ""},
        "duplicates": {"status": "error", "value": 0.6, "detail": ""},
        "flatline": {"status": "warn", "value": 300, "detail": "voltage did not move for 300 min"},
    }
    events = [
        {"start": (MONDAY + (3 * i + 1) * DAY + 9 * HOUR).isoformat(), "metric": ("power", "vibration_rms")[i % 2],
         "end": (MONDAY + (3 * i + 1) * DAY + (11 + i) * HOUR).isoformat(), "score": 4.5 - i / 3, "points": 24 + 12 * i,
         "kind": "unusual", "drivers": [{"metric": ("power", "vibration_rms")[(i + j) % 2]} for j in range(1 + i % 2)],
         "why": ("Power", "Vibration_rms")[i % 2] + f" was 12 (24 %) above what is usual, for {2 + i} hours.",
         "energy": {"kwh": 96.0 + i, "excess_kwh": 12.0 - 5 * i}}
        for i in range(6)
    ]  # fmt: skip
    made = {"completed_at": (end + 3 * HOUR).isoformat(), "dataset_key": None, "date_range_end": end.isoformat(),
            "date_range_start": (MONDAY + 2 * DAY).isoformat()}  # fmt: skip
    rule = {"rule_name": "Temperature too high", "property": "temperature", "condition": ">", "threshold": 60.0}
    alerts = [
        {"alert_id": f"00000000-0000-4000-8000-{i:012d}", "severity": ("critical", "high", "low")[i % 3], "rule": rule,
         "message": f"Device D1: temperature is {60 + i / 3:.1f} (threshold: > 60.0)", "actual_value": 60 + i / 3,
         "threshold_value": 60.0, "status": ("open", "acknowledged", "resolved")[i % 3],
         "created_at": (end - i * 17 * HOUR).isoformat(), "reading_time": (end - i * 17 * HOUR - MINUTE).isoformat(),
         "acknowledged_at": (end - i * 17 * HOUR + 12 * MINUTE).isoformat() if i % 3 else None,
         "resolved_at": (end - i * 17 * HOUR + 3 * HOUR).isoformat() if i % 3 == 2 else None}
        for i in range(1, 31)
    ]  # fmt: skip
    failures = [
        {"failed_at": MONDAY + 9 * DAY + 4 * HOUR, "repaired_at": MONDAY + 9 * DAY + 11 * HOUR,
         "description": "The oil separator was clogged and the machine switched off."},
        {"failed_at": MONDAY + 20 * DAY, "repaired_at": None, "description": None},
    ]  # fmt: skip
    correction = {
        "metric": "energy_total", "starts_at": MONDAY + DAY, "ends_at": MONDAY + 2 * DAY, "action": "replace",
        "value": 700.0, "unit": "kWh", "reason": "the meter was read by hand", "created_by": "anna",
        "created_at": MONDAY + 3 * DAY,
    }  # fmt: skip
    return bare(
        MONDAY, end, readings.take(kept), device_name="Compressor 3, hall B", device_type="compressor",
        location="Hall B, north wall", maker="Atlas Copco GA 55", max_power_w=75_000.0, cadence_seconds=300.0,
        counters={"energy_total": Counter(unit="kWh")}, bands={"voltage": (390.0, 402.0), "temperature": (20.0, 56.0)},
        usual_bands={"temperature"}, working=working(MONDAY, days), outside_hours_of_year=4600.0,
        states=StateFigures(microseconds(MONDAY), microseconds(end), (), idle, energy),
        earlier=[
            earlier(MONDAY - days * DAY, days, 0.9, "period_before"),
            earlier(MONDAY - 364 * DAY, days, 1.1, "year_before"),
        ],
        checks=[(date(2026, 2, 3 + i), checks) for i in range(3)], corrections=[correction], alerts=alerts,
        failures=failures,
        datasets=[{"key": f"datasets/D1/202602{i:02}_202602{i:02}.parquet", "sha256": f"{i:02}ab" * 16, "rows": 288}
                  for i in range(2, 29)],
        analyses={
            "anomaly": {"job_id": "job-aaaaaaaaaaaa", "model_name": "isolation_forest", **made, "changed_days": 2,
                        "results": {"events": events, "summary": {"step_seconds": 300.0}}, "accuracy_metrics": {}},
            "forecast": {"job_id": "job-ffffffffffff", "model_name": "auto", **made, "results": {
                "metric": "energy", "unit": "kWh",
                "history": [{"timestamp": hour.isoformat(), "value": 30.0 + 9.0 * (i % 24 > 6)}
                            for i, hour in enumerate(past)],
                "forecast": [{"timestamp": hour.isoformat(), "value": value, "lower": value - 5,
                              "upper": value + 8, "lower_80": value - 2.5, "upper_80": value + 4}
                             for hour, value in zip(hours, expected, strict=True)],
                "months": [{"month": "2026-03", "from": (end - DAY).isoformat(), "hours_forecast": 48,
                            "measured_kwh": 181.2, "forecast_kwh": sum(expected), "expected_kwh": 181.2 + sum(expected),
                            "lower": 1400.0, "upper": 1900.0, "lower_80": 1500.0, "upper_80": 1800.0}]},
                "accuracy_metrics": {"mae": 2.312, "coverage_95": 0.947, "coverage_80": 0.81, "beats_baseline": True,
                                     "baseline": "seasonal naive: the value 168 hours before"}},
            "prediction": {"job_id": "job-pppppppppppp", "model_name": "random_forest", **made, "results": {
                "failure_probability": 0.18, "as_of": end.isoformat(), "horizon_hours": 168,
                "drivers": [{"metric": "vibration_rms", "share": 0.62}, {"metric": "temperature", "share": 0.27}],
                "summary": {"failures_learnt_from": 7}},
                "accuracy_metrics": {"failures_tested": 3, "failures_found": 2, "false_alarm_share": 0.04}},
        },
    )  # fmt: skip


def year() -> ReportInput:
    start = datetime(2025, 1, 1, tzinfo=PARIS)
    hours, end = 15 * MINUTE, datetime(2026, 1, 1, tzinfo=PARIS)
    return bare(start, end, machine(start, 365, step=hours), working=working(start, 365), device_name="Press 7")


def sun() -> ReportInput:
    times = [MONDAY + i * 5 * MINUTE for i in range(7 * 288)]
    power = [400 - 9_000 * max(np.sin((time.astimezone(PARIS).hour - 6) / 12 * np.pi), 0) for time in times]
    return bare(MONDAY, MONDAY + 7 * DAY, table("D1", times, {"power": power}), cadence_seconds=300.0, working=[])


def noise() -> ReportInput:
    random = np.random.default_rng(3)
    times = [MONDAY + i * MINUTE for i in range(7 * 1440)]
    columns: dict[str, Any] = {f"channel_{i}": random.normal(0, 10**i, len(times)).tolist() for i in range(9)}
    columns |= {"power": random.exponential(2000, len(times)).tolist()}
    return bare(MONDAY, MONDAY + 7 * DAY, table("D1", times, columns))


def hostile() -> ReportInput:
    alert = {**house().alerts[0], "message": HOSTILE, "rule": {"rule_name": HOSTILE}}
    names = {"device_name": HOSTILE, "device_type": HOSTILE, "location": HOSTILE, "alerts": [alert] * 3}
    return bare(MONDAY, MONDAY + DAY, steady(MONDAY, MONDAY + DAY), analyses={"anomaly": {"missing": HOSTILE}}, **names)


def glitch() -> ReportInput:
    """Everything, with one reading of 9.9 MW on a night in the middle, and nothing but power to measure energy."""
    data = everything()
    readings = data.readings.drop_columns(["energy_total"])
    power = readings["power"].to_pylist()
    power[2500] = 9.9e6
    index = readings.schema.get_field_index("power")
    readings = readings.set_column(index, readings.schema.field(index), pa.array(power))
    return replace(data, readings=readings, counters={}, states=None)


def fleet(devices: int = 24, days: int = 28, *, has_glitch: bool = False) -> FleetInput:
    end = MONDAY + days * DAY

    def energy(watts: float, start: datetime, until: datetime) -> EnergyFigures:
        since, to = microseconds(start), microseconds(until)
        readings = [(at, watts * (1.0 if at // HOUR_LONG % 24 in range(5, 21) else 0.3))
                    for at in range(since, to + 1, 15 * MINUTE_LONG)]  # fmt: skip
        if has_glitch and watts == FIRST_WATTS / 3 and start == MONDAY:
            readings[500] = (readings[500][0], 9.9e6)
        return energy_figures(MemoryDays({"power": readings}), DeviceMetadata(), since, to, to)

    members = []
    for i in range(devices):
        now = energy(FIRST_WATTS / (i + 1), MONDAY, end - (9 * DAY if i == 4 else 0 * DAY))
        members.append(
            FleetMember(
                device_id=f"MACHINE-{i:02}", name=f"Machine {i}, hall {'ABC'[i % 3]}",
                type=("press", "pump", "oven")[i % 3], location=None, energy=replace(now, end=microseconds(end),
                known_until=microseconds(end)), before=energy(26_000 / (i + 1), MONDAY - days * DAY, MONDAY),
                standby=standby(without_doubtful(now), working(MONDAY, days), PARIS), alerts=i % 4, alerts_open=i % 2,
                waiting_days=0, files=days, files_sha256="ab" * 32,
            )
        )  # fmt: skip
    return FleetInput(
        report_id="report-0123456789ab", zone=PARIS, start=MONDAY, end=end, members=members,
        parents={"MACHINE-07": "MACHINE-00", "MACHINE-08": "MACHINE-00"}, generated_at=end + HOUR, code_version="1.0.0",
        left_out=["OLD-1"],
    )  # fmt: skip


CASES: dict[str, Callable[[], ReportInput | FleetInput]] = {
    "everything": everything,
    "house": house,
    "empty": lambda: bare(MONDAY, MONDAY + 7 * DAY, analyses={"anomaly": {"missing": None}}),
    "one-reading": lambda: bare(MONDAY, MONDAY + 7 * DAY, table("D1", [MONDAY + DAY], {"power": [1000.0]})),
    "long-day": lambda: _day(date(2026, 10, 25)),
    "short-day": lambda: _day(date(2026, 3, 29)),
    "year": year,
    "sun": sun,
    "noise": noise,
    "hostile": hostile,
    "glitch": glitch,
    "fleet": fleet,
    "fleet-glitch": lambda: fleet(has_glitch=True),
    "fleet-of-two": lambda: fleet(2, 7),
}


def _day(day: date) -> ReportInput:
    start, end = (datetime(d.year, d.month, d.day, tzinfo=PARIS) for d in (day, day + timedelta(days=1)))
    return bare(start, end, steady(start, end))


def pictures(name: str, language: LanguageCode, folder: Path) -> Iterator[Path]:
    """Make a case's reports, and a picture of each page, sheet and screen."""
    data, stem = CASES[name](), f"{name}-{language}"
    for kind in ("pdf", "html", "excel"):
        with tempfile.TemporaryDirectory() as work:
            report = build_report(
                data, kind, folder=Path(work), quarto=None, language=language, timeout_seconds=300,
                max_bytes=100_000_000, progress=lambda *_: None,
            )  # fmt: skip
        file = folder / f"{stem}.{report.suffix}"
        file.write_bytes(report.content)
        if kind == "html":
            _photograph(file)
        elif kind == "excel":
            command = ["soffice", "--headless", "--convert-to", "pdf", "--outdir", str(folder / "sheets"), str(file)]
            subprocess.run(command, check=True, timeout=300, capture_output=True)
            _print(folder / "sheets" / f"{stem}.pdf")
        else:
            _print(file)
    yield from sorted(folder.rglob(f"{stem}*.png"))


def _photograph(file: Path) -> None:
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={PHONE}")
    picture = f"--screenshot={file.with_suffix('.phone.png')}"
    subprocess.run(["chromium", *options, picture, file.as_uri()], check=True, timeout=120, capture_output=True)


def _print(pdf: Path) -> None:
    """Turn the first and the last pages into pictures; between them are those of the readings."""
    pages = len(pypdf.PdfReader(pdf).pages)
    for first, last in {(1, min(pages, SHOWN)), (max(pages - SHOWN, 0) + 1, pages)}:
        command = [
            "pdftoppm",
            "-r",
            "60",
            "-f",
            str(first),
            "-l",
            str(last),
            "-png",
            str(pdf),
            str(pdf.with_suffix("")),
        ]
        subprocess.run(command, check=True, timeout=120)


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        for language in LANGUAGES:
            for picture in pictures(name, language, folder):
                print(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".pictures"), sys.argv[2:])
