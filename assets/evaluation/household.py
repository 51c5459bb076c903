"""A household's voltage, current and power at a minute, with injected faults: the first 40 % hold none.

Each file is judged twice: told that the first 40 % are normal (`trained_until`), and told nothing, as the night does
it. Figures are of the other 60 %.
"""

from pathlib import Path

from assets.analyses import ANALYSES, AnomalyParameters, analyse
from assets.evaluation.cases import Case, Figures

NORMAL_SHARE = 0.4


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "anomaly" / "household_injected").glob("*.csv*"))[::every]
    return [_case(file, is_told=is_told) for file in files for is_told in (True, False)]


def _case(file: Path, *, is_told: bool) -> Case:
    name = f"household/{file.name.partition('.csv')[0]}" + ("" if is_told else "/untold")
    return Case(name, ANALYSES["anomaly"].models, lambda model: _figures(model, file, is_told=is_told))


def _figures(model: str, file: Path, *, is_told: bool) -> Figures:
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    import pandas as pd  # noqa: PLC0415

    from assets.evaluation.tables import ignore_progress, read_rows, share, table  # noqa: PLC0415
    from storage.arrays import runs  # noqa: PLC0415

    rows = read_rows(file)
    times = pd.DatetimeIndex(rows["timestamp"])
    normal = int(NORMAL_SHARE * len(rows))
    until = times[normal].to_pydatetime() if is_told else None
    result = analyse("anomaly", model, table(rows), AnomalyParameters(trained_until=until), ignore_progress)
    spans = [(pd.Timestamp(event["start"]), pd.Timestamp(event["end"])) for event in result.results["events"]]
    events = [slice(*times.searchsorted([start, end + pd.Timedelta(1, "us")]).tolist()) for start, end in spans]
    flagged = np.zeros(len(rows), bool)
    for event in events:
        flagged[event] = True
    judged = np.arange(len(rows)) >= normal
    faulty = rows["anomaly"].astype(bool).to_numpy()
    faults = runs(faulty & judged)
    missed = [str(rows["anomaly_kind"].iloc[fault.start]) for fault in faults if not flagged[fault].any()]
    false = sum(not faulty[event].any() for event in events if event.start >= normal)
    return {
        "faults": len(faults),
        "faults_found": len(faults) - len(missed),
        "far": share((flagged & judged & ~faulty).sum(), (judged & ~faulty).sum()),
        "false_events_a_day": false / ((times[-1] - times[normal]).total_seconds() / 86_400),
        "series": {"missed": {kind: missed.count(kind) for kind in sorted({*missed})}},
    }
