"""NAB, single series with labelled windows: fitted on the first min(15 %, 750) rows, judged on the rest.

An alarm is the first row of an event: flagged rows with at most five others between two of them. The NAB score is that
of the standard profile: an alarm in a window counts more the earlier it comes, a false alarm costs 0.11 at most, a
missed window 1; 100 is perfect and 0 is what a detector without alarms gets. A. Lavin, S. Ahmad: Evaluating Real-time
Anomaly Detection Algorithms (2015).
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.analyses import ANALYSES
from assets.evaluation.cases import Case, Figures

if TYPE_CHECKING:
    from storage.arrays import Mask

FITTED_SHARE, FITTED_ROWS = 0.15, 750
FALSE_ALARM_WEIGHT = 0.11
WEEK_SECONDS = 7 * 86_400


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "anomaly" / "nab").glob("*.csv*"))[::every]
    return [Case("nab", ANALYSES["anomaly"].models, lambda model: _figures(model, files))] if files else []


def _figures(model: str, files: list[Path]) -> Figures:
    labelled = json.loads((files[0].parent / "windows.json").read_text())
    windows = {Path(name).stem: value for name, value in labelled.items()}
    series = {file.name.partition(".csv")[0]: file for file in files}
    parts = {name: _of_series(model, file, windows.get(name, [])) for name, file in series.items()}

    def total(name: str) -> float:
        return float(sum(part[name] for part in parts.values()))

    return {
        "series_judged": len(parts),
        "windows": total("windows"),
        "windows_hit": total("windows_hit"),
        "windows_begun_inside": total("windows_begun_inside"),
        "false_alarms_a_week": total("false_alarms") / total("weeks"),
        "outside_flagged": total("rows_outside_flagged") / total("rows_outside"),
        "nab_score": 100 * (total("score") + total("windows")) / (2 * total("windows")) if total("windows") else None,
        "series": parts,
    }


def _of_series(model: str, file: Path, labelled: list[list[str]]) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    import pandas as pd  # noqa: PLC0415

    from assets.analyses.events import runs  # noqa: PLC0415
    from assets.evaluation.rows import flags_and_scores  # noqa: PLC0415
    from assets.evaluation.tables import read_rows  # noqa: PLC0415

    rows = read_rows(file)
    times = pd.DatetimeIndex(rows["timestamp"])
    fitted = min(int(FITTED_SHARE * len(rows)), FITTED_ROWS)
    flag, _ = flags_and_scores(model, rows, fitted)
    flag = flag & (np.arange(len(rows)) >= fitted)
    edges = [[pd.Timestamp(edge, tz="UTC") for edge in window] for window in labelled]
    inside = [np.asarray((times >= start) & (times <= end)) for start, end in edges]
    in_any = np.any(inside, axis=0) if inside else np.zeros(len(rows), bool)
    flagged = runs(flag)
    alarms = [run.start for run in flagged]
    outside = ~in_any & (np.arange(len(rows)) >= fitted)
    return {
        "windows": len(inside),
        "windows_hit": sum(bool((flag & window).any()) for window in inside),
        "windows_begun_inside": sum(any(window[alarm] for alarm in alarms) for window in inside),
        "false_alarms": sum(not in_any[run].any() for run in flagged),
        "weeks": (times[-1] - times[fitted]).total_seconds() / WEEK_SECONDS,
        "rows_outside": int(outside.sum()),
        "rows_outside_flagged": int((flag & outside).sum()),
        "score": nab_score(alarms, inside),
    }


def nab_score(alarms: list[int], windows: "list[Mask]") -> float:
    """The raw score of the standard profile for alarms at these rows; `windows` say which rows each window holds."""
    spans = [(int(window.argmax()), len(window) - 1 - int(window[::-1].argmax())) for window in windows if window.any()]
    score, found = 0.0, dict.fromkeys(range(len(spans)), -1.0)
    for alarm in alarms:
        within = next((i for i, (first, last) in enumerate(spans) if first <= alarm <= last), None)
        if within is not None:
            first, last = spans[within]
            gained = _sigmoid(-(last - alarm + 1) / (last - first + 1)) / _sigmoid(-1.0)
            found[within] = max(found[within], gained)
            continue
        before = [(first, last) for first, last in spans if last < alarm]
        position = (alarm - before[-1][1]) / max(before[-1][1] - before[-1][0], 1) if before else math.inf
        score += FALSE_ALARM_WEIGHT * _sigmoid(position)
    return score + sum(found.values())


def _sigmoid(position: float) -> float:
    """From 1 long before position 0 to -1 from position 3 on."""
    return -1.0 if position > 3 else 2 / (1 + math.exp(5 * position)) - 1
