"""C-MAPSS, engines run to failure: each a device of one type, a cycle an hour. Split by engine, never by row.

The models learn from the older 70 % of the engines and are judged on every cycle of the others (of 60 engines: on 43 to
60). A failure is to be foreseen 30 cycles ahead. The remaining life is told up to 125 cycles, with an interval for 90 %
of cases; `unlike` is the share of the judged engines of which it is said, at their last cycle, that they fail unlike
the known ones. A. Saxena, K. Goebel: Turbofan Engine Degradation Simulation Data Set (NASA, 2008).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from assets.analyses import ANALYSES
from assets.evaluation.cases import Case, Figures

if TYPE_CHECKING:
    from assets.analyses.prognostics.steps import Steps

FITTED_SHARE = 0.7
HORIZON = 30  # cycles
LIMIT = 125.0  # cycles


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "failure").glob("cmapss*.csv*"))[::every]
    return [Case("cmapss", ANALYSES["prediction"].models, lambda model: _figures(model, files[0]))] if files else []


def _figures(model: str, file: Path) -> Figures:
    from datetime import timedelta  # noqa: PLC0415 - the list of cases needs no library

    import numpy as np  # noqa: PLC0415
    from sklearn.metrics import average_precision_score  # noqa: PLC0415

    from assets.analyses.fitted_prediction import LIFE_FEATURES  # noqa: PLC0415
    from assets.analyses.prognostics import remaining_life  # noqa: PLC0415
    from assets.analyses.prognostics.backtest import choose  # noqa: PLC0415
    from assets.analyses.prognostics.classifiers import fitted  # noqa: PLC0415
    from assets.analyses.prognostics.features import features  # noqa: PLC0415
    from assets.analyses.prognostics.novelty import KnownWays  # noqa: PLC0415

    steps = _steps(file)
    engines = np.unique(steps.unit)
    is_fitted = steps.unit < round(FITTED_SHARE * len(engines))
    fails = steps.fails(timedelta(hours=HORIZON))
    choice = choose(model, steps, fails, is_fitted, seed=1)
    classifier = fitted(model, choice.features, fails, is_fitted, seed=1)
    guessed, true = classifier.probability(choice.features.frame[~is_fitted]), fails[~is_fitted]
    constant = float(np.mean((true - fails[is_fitted].mean()) ** 2))
    warned, of_engine = guessed >= choice.threshold, steps.unit[~is_fitted]
    known, lives = features(steps, LIFE_FEATURES), np.unique(steps.life[is_fitted])
    of_life = remaining_life.figures(remaining_life.fit(steps, known, lives, LIMIT, seed=1), steps, known, ~is_fitted)
    judged = np.unique(steps.life[~is_fitted])
    ways = KnownWays.of(known, lives)
    unlike = [ways.novelty(known.frame[steps.life == life])["is_unlike"] for life in judged]
    return {
        "failures_tested": len(judged),
        "pr_auc": float(average_precision_score(true, guessed)),
        "base_rate": float(true.mean()),
        "brier_skill": 1 - float(np.mean((true - guessed) ** 2)) / constant,
        "failures_found": len(np.unique(of_engine[warned & true])),
        "false_alarm_share": float(warned[~true].mean()),
        "features": " + ".join(choice.parts),
        "rul_rmse": of_life["rmse_hours"],
        "rul_interval_held": of_life["interval_held"],
        "rul_width": of_life["mean_width_hours"],
        "unlike": float(np.mean(unlike)),
    }


def _steps(file: Path) -> "Steps":
    import pandas as pd  # noqa: PLC0415 - the list of cases needs no library

    from assets.analyses.prognostics.recorded import RecordedFailure  # noqa: PLC0415
    from assets.analyses.prognostics.steps import Unit, steps_of  # noqa: PLC0415
    from assets.evaluation.tables import read_rows  # noqa: PLC0415

    fleet = read_rows(file)
    sensors = [str(name) for name in fleet if str(name)[1:].isdigit() and fleet[name].nunique() > 5]
    begin, hour = pd.Timestamp("2026-01-01", tz="UTC"), pd.Timedelta(hours=1)
    units = []
    for _, cycles in fleet.groupby("unit", sort=True):
        rows = cycles[sensors].astype(float).set_index(begin + hour * cycles["cycle"])
        failed = rows.index[-1] + pd.Timedelta(seconds=1)
        units.append(Unit(rows, (RecordedFailure(failed.to_pydatetime()),)))
    return steps_of(units, hour)
