"""Reports of the demo's whole house series (16 days and a half, 23,980 readings): seconds, peak memory, size.

Each report is made in a process of its own, as a run makes it; seconds are those of `build_report` with the imports it
needs, memory is the process's peak and that of its largest child (pandoc, Typst). Baselines: the figures alone, which
is the report as JSON, and the readings alone in a workbook, cell by cell with XlsxWriter's defaults.
"""

import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from assets.reports import ReportInput, build_report
from tests.assets.reports.house import house, series

RUNS = 5
BASELINES = {"pdf": "json", "excel": "readings alone", "json": "json", "readings alone": "readings alone"}


def main() -> None:
    found = {kind: [_measured(kind) for _ in range(RUNS)] for kind in BASELINES}
    for kind, baseline in BASELINES.items():
        seconds, own, child, size = (sorted(run[i] for run in found[kind]) for i in range(4))
        ratio = statistics.median(seconds) / statistics.median(run[0] for run in found[baseline])
        print(
            f"{kind:15} {statistics.median(seconds):6.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}),"
            f" {own[-1]:4.0f} MB, largest child {child[-1]:4.0f} MB, {size[0] / 1e3:6.0f} kB,"
            f" {ratio:6.2f} times {baseline}"
        )


def _measured(kind: str) -> tuple[float, float, float, float]:
    command = [sys.executable, "-c", f"from benchmarks.reports import one; one({kind!r})"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, own, child, size = json.loads(said)
    return seconds, own, child, size


def one(kind: str) -> None:
    """Make one and print seconds, MB of the process and of its largest child, bytes."""
    times = [datetime.fromisoformat(row["timestamp"]) for row in series()]
    data = house(times[0], times[-1] + timedelta(minutes=1))
    make: Callable[[ReportInput], int] = _readings_alone if kind == "readings alone" else lambda d: _report(d, kind)
    began = time.perf_counter()
    size = make(data)
    seconds = time.perf_counter() - began
    peaks = [resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps([seconds, *peaks, size]))


def _report(data: ReportInput, kind: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = build_report(
            data,
            kind,
            folder=Path(folder),
            quarto=None,
            timeout_seconds=300,
            max_bytes=100_000_000,
            progress=lambda *_: None,
        )
    return len(report.content)


def _readings_alone(data: ReportInput) -> int:
    import xlsxwriter  # noqa: PLC0415 - its import counts, as it does in a report

    sink = io.BytesIO()
    names = [name for name in data.readings.column_names if name != "device_id"]
    with xlsxwriter.Workbook(sink, {"remove_timezone": True}) as book:
        sheet = book.add_worksheet()
        for column, name in enumerate(names):
            sheet.write(0, column, name)
        for row, values in enumerate(data.readings.select(names).to_pylist(), 1):
            for column, value in enumerate(values.values()):
                sheet.write(row, column, value)
    return len(sink.getvalue())
