"""C-MAPSS, engines run to failure: one after the other as the lives of one machine, a cycle an hour.

The model learns from the older 70 % of the lives and is judged on the others (of 60 engines: on 43 to 60); a failure is
to be foreseen 30 cycles ahead. A. Saxena, K. Goebel: Turbofan Engine Degradation Simulation Data Set (NASA, 2008).
"""

from pathlib import Path

from assets.analyses import ANALYSES, PredictionParameters, analyse
from assets.evaluation.cases import Case, Figures

HORIZON = 30  # cycles


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "failure").glob("cmapss*.csv*"))[::every]
    return [Case("cmapss", ANALYSES["prediction"].models, lambda model: _figures(model, files[0]))] if files else []


def _figures(model: str, file: Path) -> Figures:
    import pandas as pd  # noqa: PLC0415 - the list of cases needs no library

    from assets.evaluation.tables import ignore_progress, read_rows, table  # noqa: PLC0415

    fleet = read_rows(file)
    sensors = [str(name) for name in fleet if str(name)[1:].isdigit() and fleet[name].nunique() > 5]
    fleet["timestamp"] = pd.date_range("2026-01-01", periods=len(fleet), freq="h", tz="UTC")
    last = fleet.groupby("unit")["timestamp"].max() + pd.Timedelta(minutes=30)
    parameters = PredictionParameters(failures=last.dt.to_pydatetime().tolist(), horizon_hours=HORIZON)
    accuracy = analyse(
        "prediction", model, table(fleet[["timestamp", *sensors]]), parameters, ignore_progress
    ).accuracy_metrics
    names = ("failures_tested", "pr_auc", "base_rate", "brier_skill", "failures_found", "false_alarm_share")
    return {name: accuracy[name] for name in names}
