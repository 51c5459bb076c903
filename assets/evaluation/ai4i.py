"""AI4I, a milling machine: fitted on rows 1 to 5,000, judged on those after them. Each row is a case of its own.

S. Matzka: Explainable Artificial Intelligence for Predictive Maintenance Applications (2020).
"""

from pathlib import Path

from assets.analyses import ANALYSES
from assets.evaluation.cases import Case, Figures

FITTED_ROWS = 5_000
NOT_FEATURES = ("UDI", "Product ID", "Type", "Machine failure", "TWF", "HDF", "PWF", "OSF", "RNF")  # the label's parts


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "failure").glob("ai4i*.csv*"))[::every]
    return [Case("ai4i", ANALYSES["prediction"].models, lambda model: _figures(model, files[0]))] if files else []


def _figures(model: str, file: Path) -> Figures:
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    from sklearn.metrics import average_precision_score  # noqa: PLC0415

    from assets.analyses.prediction import CLASSIFIERS  # noqa: PLC0415
    from assets.evaluation.tables import read_rows  # noqa: PLC0415

    rows = read_rows(file)
    fails = rows["Machine failure"].astype(bool).to_numpy()
    features = rows.drop(columns=[name for name in NOT_FEATURES if name in rows]).astype(float).to_numpy()
    fitted = rows["UDI"].to_numpy() <= FITTED_ROWS
    classifier = CLASSIFIERS[model](1).fit(features[fitted], fails[fitted])
    probability = classifier.predict_proba(features[~fitted])[:, 1]
    constant = float(np.mean((fails[~fitted] - fails[fitted].mean()) ** 2))
    return {
        "failures": int(fails[~fitted].sum()),
        "pr_auc": float(average_precision_score(fails[~fitted], probability)),
        "base_rate": float(fails[~fitted].mean()),
        "brier_skill": 1 - float(np.mean((fails[~fitted] - probability) ** 2)) / constant,
    }
