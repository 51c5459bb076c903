"""SKAB, a pump testbed: each file is fitted on its first 400 rows and judged on the rest.

The counts are pooled over the files, and ROC-AUC is the mean over the files. `far` is the share of normal rows that are
flagged, `mar` the share of faulty rows that are not. I. D. Katser, V. O. Kozitsin: Skoltech Anomaly Benchmark (2020).
"""

from pathlib import Path

from assets.analyses import ANALYSES
from assets.evaluation.cases import Case, Figures

FITTED_ROWS = 400


def cases(folder: Path, every: int) -> list[Case]:
    files = sorted((folder / "anomaly" / "skab").glob("*_[0-9][0-9].csv*"))[::every]
    return [Case("skab", ANALYSES["anomaly"].models, lambda model: _figures(model, files))] if files else []


def _figures(model: str, files: list[Path]) -> Figures:
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    from assets.evaluation.rows import flags_and_scores  # noqa: PLC0415
    from assets.evaluation.tables import read_rows, share  # noqa: PLC0415

    flags, labels, areas = [], [], []
    for file in files:
        rows = read_rows(file)
        flag, score = flags_and_scores(model, rows, FITTED_ROWS)
        label = rows["anomaly"].astype(bool).to_numpy()[FITTED_ROWS:]
        flags.append(flag[FITTED_ROWS:])
        labels.append(label)
        if 0 < label.sum() < len(label):
            areas.append(roc_auc_score(label, score[FITTED_ROWS:]))
    flag, label = np.concatenate(flags), np.concatenate(labels)
    hits, false, missed = int((flag & label).sum()), int((flag & ~label).sum()), int((~flag & label).sum())
    return {
        "files": len(files),
        "f1": share(2 * hits, 2 * hits + false + missed),
        "far": share(false, (~label).sum()),
        "mar": share(missed, label.sum()),
        "roc_auc": float(np.mean(areas)) if areas else None,
    }
