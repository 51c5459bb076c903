"""Files of data sets as the tables that analyses take."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

NOT_METRICS = {"timestamp", "device_id", "anomaly", "anomaly_kind", "changepoint"}


def read_rows(file: Path) -> pd.DataFrame:
    """The rows of a CSV file, which may be compressed, with a UTC `timestamp` if they have one."""
    rows = pd.read_csv(file)
    if "timestamp" in rows:
        rows["timestamp"] = pd.to_datetime(rows["timestamp"], utc=True)
    return rows


def table(rows: pd.DataFrame) -> pa.Table:
    """Rows as a dataset's table; labels stay out."""
    times = pa.array(pd.to_datetime(rows["timestamp"], utc=True)).cast(pa.timestamp("us", tz="UTC"))
    metrics = {str(name): rows[name].astype(float).to_numpy() for name in rows if name not in NOT_METRICS}
    return pa.table({"timestamp": times, **metrics})


def stem(file: Path) -> str:
    """The file's name without `.csv` and `.csv.gz`."""
    return file.name.partition(".csv")[0]


def ignore_progress(_percent: float, _message: str) -> None:
    """Nobody waits for words here."""


def share(part: Any, whole: Any) -> float | None:
    """Part by whole; None of nothing."""
    return float(part) / float(whole) if whole else None
