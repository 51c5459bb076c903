"""Reports of the demo's whole house series (16 days and a half, 23,980 readings): seconds, peak memory, size.

Each report is made in a process of its own, as a run makes it; seconds are those of `build_report` with the imports it
needs, by the clock and of the processor, memory is the peak of the process and its children (pandoc, Typst) together,
the series included. Ratios are of processor seconds. Baselines: the figures alone, which is the report as JSON, and
the readings alone in a workbook, cell by cell with XlsxWriter's defaults.
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
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from assets.reports import ReportInput, build_report
from tests.support.report_factories import house, series

RUNS = 3
BASELINES = {"pdf": "json", "excel": "readings alone", "json": "json", "readings alone": "readings alone"}


def main() -> None:
    found = {kind: [_measured(kind) for _ in range(RUNS)] for kind in BASELINES}
    for kind, baseline in BASELINES.items():
        wall, used, size, peak = (sorted(run[i] for run in found[kind]) for i in range(4))
        ratio = statistics.median(used) / statistics.median(run[1] for run in found[baseline])
        print(
            f"{kind:15} {statistics.median(wall):5.2f} s ({wall[0]:.2f} to {wall[-1]:.2f}),"
            f" processor {statistics.median(used):5.2f} s ({used[0]:.2f} to {used[-1]:.2f}),"
            f" {peak[-1]:4.0f} MB, {size[0] / 1e3:5.0f} kB, {ratio:5.1f} times {baseline}"
        )


def _measured(kind: str) -> tuple[float, float, float, float]:
    """Seconds by the clock and of the processor, bytes, peak MB of the process and its children together."""
    command = [sys.executable, "-c", f"from benchmarks.reports import one; one({kind!r})"]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, sum(p.memory_info().rss for p in (watched, *watched.children(recursive=True))) / 1e6)
            time.sleep(0.02)
        assert process.stdout is not None
        wall, used, size = json.loads(process.stdout.read())
    return wall, used, size, peak


def one(kind: str) -> None:
    """Make one and print seconds by the clock and of the processor, and bytes."""
    times = [datetime.fromisoformat(row["timestamp"]) for row in series()]
    data = house(times[0], times[-1] + timedelta(minutes=1))
    make: Callable[[ReportInput], int] = _readings_alone if kind == "readings alone" else lambda d: _report(d, kind)
    began, used = time.perf_counter(), _processor_seconds()
    size = make(data)
    print(json.dumps([time.perf_counter() - began, _processor_seconds() - used, size]))


def _processor_seconds() -> float:
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


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
