"""How fast the analyses are, in how much memory, and how good: `python -m benchmarks analytics`.

Speed is measured on made series, each time in a fresh process and on one thread. How good the models are is measured on
the demo's series, or on a folder of data (`--data FOLDER`); `energy evaluate` does the same for chosen cases and
models. `--speed` leaves that out.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa

from assets.analyses import ANALYSES, analyse
from assets.datasets.means import GRIDS, max_rows, means_over
from assets.evaluation import Evaluation, evaluate
from assets.evaluation.run import peak_mb
from benchmarks.floors import say, spread
from storage.arrays import Floats
from storage.times import SECOND

DEMO = Path(__file__).parent.parent / "cli" / "demo" / "house-a.csv.gz"
REPEATS = 3
MAX_PEAK_MB = 600.0
DAYS = 400
BLOCK = 14_400  # rows of ten days, a minute apart


@dataclass(frozen=True)
class Load:
    """An analysis of a made table of so many rows and metrics, and how many seconds it may take."""

    analysis: str
    model: str
    rows: int
    metrics: int
    seconds: float
    repeats: int = REPEATS

    @property
    def name(self) -> str:
        return f"{self.analysis} {self.model}, {self.rows:,} x {self.metrics}"


LOADS = [
    Load("forecast", "auto", DAYS * 24, 1, 15),
    Load("forecast", "auto", DAYS * 1440, 4, 15),
    Load("forecast", "prophet", DAYS * 24, 1, 6),
    Load("forecast", "arima", DAYS * 24, 1, 6),
    *(Load("anomaly", model, 10_000, 8, 5) for model in ("isolation_forest", "autoencoder", "covariance", "auto")),
    *(
        Load("anomaly", model, 1_000_000, 8, 60, 1)
        for model in ("isolation_forest", "autoencoder", "covariance", "auto")
    ),
    *(Load("anomaly", model, 1_000_000, 40, 60, 1) for model in ("isolation_forest", "autoencoder", "auto")),
]


def main() -> None:
    """Measure speed and memory, and evaluate on the folder, or on the demo's series alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", action="store_true", help="measure only speed and memory")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a folder laid out as `energy evaluate` reads it")
    asked, _ = parser.parse_known_args()
    for load in LOADS:
        _measure(load)
    if asked.speed:
        return
    if asked.data:
        for found in evaluate(asked.data):
            _say(found)
        return
    with tempfile.TemporaryDirectory() as made:
        household = Path(made) / "anomaly" / "household_injected"
        household.mkdir(parents=True)
        shutil.copy(DEMO, household)
        for found in evaluate(Path(made)):
            _say(found)


def _measure(load: Load) -> None:
    runs = [_in_a_process(load) for _ in range(load.repeats)]
    seconds, peaks = [run["seconds"] for run in runs], [run["peak_mb"] for run in runs]
    is_met = median(seconds) <= load.seconds and max(peaks) <= MAX_PEAK_MB
    busy = median(run["processor_seconds"] for run in runs)
    value = f"{spread(seconds, 's')}, {busy:.3g} s of a processor, {max(peaks):.0f} MB"
    say(f"{load.name:44}", value, f"at most {load.seconds:g} s, {MAX_PEAK_MB:.0f} MB", met=is_met)


def _in_a_process(load: Load) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.analytics", str(LOADS.index(load))]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    run: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return run


def _run(load: Load) -> None:
    """Run a load in this process, and print its seconds and the peak of memory."""
    table = _as_read(load)
    started, on_processor = time.perf_counter(), time.process_time()
    parameters = ANALYSES[load.analysis].parameters()
    analyse(load.analysis, load.model, table, parameters, lambda _percent, _message: None)
    seconds, on_processor = time.perf_counter() - started, time.process_time() - on_processor
    print(json.dumps({"seconds": seconds, "processor_seconds": on_processor, "peak_mb": peak_mb()}))


def _as_read(load: Load) -> pa.Table:
    """The made table as a job reads it: that of an anomaly analysis, if it is large, file by file as means."""
    step = 3600 if load.rows == DAYS * 24 else 60
    starts = range(0, load.rows, BLOCK)
    blocks = (_table(range(start, min(start + BLOCK, load.rows)), step, load.metrics) for start in starts)
    most = max_rows(load.metrics)
    if load.analysis == "anomaly" and load.rows > most:
        grid = next(grid for grid in GRIDS if load.rows * step * SECOND / grid <= most)
        blocks = (means_over(block, grid) for block in blocks)
    return pa.concat_tables(blocks)


def _table(numbers: range, step: int, metrics: int) -> pa.Table:
    """A machine's readings, `step` seconds apart: a load with days and weeks, and metrics that follow it."""
    random, rows = np.random.default_rng(numbers.start + 1), len(numbers)
    seconds = np.arange(numbers.start, numbers.stop) * step
    times = pa.array(1_767_225_600_000_000 + seconds * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
    hour = seconds / 3600
    load = 5000 + 3000 * np.sin(2 * np.pi * hour / 24) * (hour // 24 % 7 < 5) + random.normal(0, 200, rows)
    columns: dict[str, Callable[[], Floats]] = {
        "power": lambda: load,
        "voltage": lambda: 230 + random.normal(0, 1, rows),
        "current": lambda: load / 230 + random.normal(0, 0.1, rows),
        "temperature": lambda: 40 + load / 1000 + random.normal(0, 0.5, rows),
        **{
            f"metric_{i}": lambda i=i: load / (i + 1) + random.normal(0, 50, rows)  # type: ignore[misc] # a default binds i
            for i in range(metrics - 4)
        },
    }
    return pa.table({"timestamp": times, **{name: columns[name]() for name in list(columns)[:metrics]}})


def _say(found: Evaluation) -> None:
    figures = {name: value for name, value in found.figures.items() if name != "series"}
    shown = "  ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )
    print(f"  {found.case:26} {found.model:18} {found.seconds:6.1f} s  {found.error or shown}", flush=True)


if __name__ == "__main__":
    _run(LOADS[int(sys.argv[1])])
