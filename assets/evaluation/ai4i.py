"""AI4I, a milling machine: fitted on rows 1 to 5,000, judged on those after them. Each row is a case of its own.

The rows are those of one machine, one an hour, which fails half an hour after a row with a failure. The features are
chosen within the fitted rows, as a prediction chooses them. The case `ai4i/canary` adds two metrics that are known only
after the fact: a ticket that is open for three rows after a failure, and the mode of the row's own failure, filled in
afterwards. They must not help. S. Matzka: Explainable Artificial Intelligence for Predictive Maintenance Applications
(2020).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.analyses import ANALYSES
from assets.evaluation.cases import Case, Figures

if TYPE_CHECKING:
    import pandas as pd

FITTED_ROWS = 5_000
LABEL, MODES = "Machine failure", ("TWF", "HDF", "PWF", "OSF", "RNF")  # the modes are the label's parts
NOT_FEATURES = ("UDI", "Product ID", "Type", LABEL, *MODES)
QUALITY = {"L": 0.0, "M": 1.0, "H": 2.0}
TICKET_ROWS = 3


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "failure").glob("ai4i*.csv*"))[::every]
    models = ANALYSES["prediction"].models
    return [
        Case(name, models, lambda model, add=add: _figures(model, files[0], with_canary=add))  # type: ignore[misc] # a default of its own
        for name, add in (("ai4i", False), ("ai4i/canary", True))
        if files
    ]


def _figures(model: str, file: Path, *, with_canary: bool) -> Figures:
    from assets.evaluation.tables import read_rows  # noqa: PLC0415 - the list of cases needs no library

    rows = read_rows(file)
    metrics = rows.drop(columns=[name for name in NOT_FEATURES if name in rows]).astype(float)
    metrics["quality"] = rows["Type"].map(QUALITY)
    figures = _judged(model, rows, metrics)
    if not with_canary:
        return figures
    failed = rows[LABEL].astype(float)
    after = failed.shift(1).rolling(TICKET_ROWS, min_periods=1).max().fillna(0.0)
    mode = sum((number + 1) * rows[name].astype(float) for number, name in enumerate(MODES))
    told = _judged(model, rows, metrics.assign(ticket=after, failure_mode=mode))
    return {"pr_auc": told["pr_auc"], "pr_auc_without": figures["pr_auc"], "left_out": told["left_out"]}


def _judged(model: str, rows: "pd.DataFrame", metrics: "pd.DataFrame") -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415 - as above
    import pandas as pd  # noqa: PLC0415
    from sklearn.metrics import average_precision_score  # noqa: PLC0415

    from assets.analyses.prognostics.after_the_fact import known_afterwards  # noqa: PLC0415
    from assets.analyses.prognostics.backtest import choose  # noqa: PLC0415
    from assets.analyses.prognostics.classifiers import fitted  # noqa: PLC0415
    from assets.analyses.prognostics.recorded import RecordedFailure  # noqa: PLC0415
    from assets.analyses.prognostics.steps import Unit, steps_of  # noqa: PLC0415

    hour = pd.Timedelta(hours=1)
    times = pd.date_range("2026-01-01", periods=len(rows), freq=hour, tz="UTC")
    metrics = metrics.set_index(times)
    failed = times[rows[LABEL].astype(bool)] + hour / 2
    steps = steps_of([Unit(metrics, tuple(RecordedFailure(at) for at in failed.to_pydatetime()))], hour)
    afterwards = known_afterwards(steps)
    steps, fails = steps.without(afterwards), steps.fails(hour)
    is_fitted = rows["UDI"].to_numpy() <= FITTED_ROWS
    choice = choose(model, steps, fails, is_fitted, seed=1)
    classifier = fitted(model, choice.features, fails, is_fitted, seed=1)
    guessed, true = classifier.probability(choice.features.frame[~is_fitted]), fails[~is_fitted]
    constant = float(np.mean((true - fails[is_fitted].mean()) ** 2))
    return {
        "failures": int(true.sum()),
        "pr_auc": float(average_precision_score(true, guessed)),
        "base_rate": float(true.mean()),
        "brier_skill": 1 - float(np.mean((true - guessed) ** 2)) / constant,
        "features": " + ".join(choice.parts),
        "left_out": ", ".join(afterwards) or "nothing",
    }
