"""How good a model was in the test on the past, beside the best baseline."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from assets.analyses.forecasting.backtest import Backtest
from assets.analyses.forecasting.bands import SHARES, bands_of
from assets.analyses.forecasting.best_baseline import BASELINE_PREFIX, best_baseline
from assets.analyses.forecasting.calendar import DAY
from storage.arrays import Floats
from storage.devices import with_unit

CALIBRATED_SHARE = 2 / 3  # of the origins calibrate the bands that the others test


def mase_scale(values: Floats, first_origin: int) -> float:
    """The mean absolute difference to the value 24 hours before, over the hours before the first origin.

    R. J. Hyndman, A. B. Koehler: Another look at measures of forecast accuracy (2006).
    """
    before = values[:first_origin]
    return float(np.mean(np.abs(before[DAY:] - before[:-DAY])))


def accuracy(test: Backtest, paths: Floats, baselines: Mapping[str, Floats], scale: float) -> dict[str, Any]:
    """Errors of the forecasts and of the baselines, in the metric's unit, and the coverage of the bands.

    MASE is the mean absolute error divided by `mase_scale`. Coverage is the share of newer values within bands that
    were calibrated on older origins whose hours do not overlap.
    """
    errors = test.errors(paths)
    mae = float(np.nanmean(errors))
    of_baselines = {name: test.mae(path) for name, path in baselines.items()}
    best = min(of_baselines, key=of_baselines.__getitem__)
    return {
        "mae": mae,
        "rmse": float(np.sqrt(np.nanmean(errors**2))),
        "mase": mae / scale if scale else None,
        "mase_scale": scale,
        "baseline_mae": of_baselines[best],
        "baseline_mase": of_baselines[best] / scale if scale else None,
        "beats_baseline": mae < of_baselines[best],
        **_coverage(test, errors),
        "baseline": BASELINE_PREFIX + best,
        "baselines": [
            {"name": name, "mae": value, "mase": value / scale if scale else None}
            for name, value in of_baselines.items()
        ],
        "origins": len(test.origins),
    }


def _coverage(test: Backtest, errors: Floats) -> dict[str, Any]:
    origins, horizon = test.origins, errors.shape[1]
    calibrated = max(int(len(origins) * CALIBRATED_SHARE), 1)
    newer = [i for i in range(calibrated, len(origins)) if origins[i] >= origins[calibrated - 1] + horizon]
    if not newer:
        reason = "the history is too short to test the bands on hours that did not calibrate them"
        return {"coverage_80": None, "coverage_95": None, "coverage_reason": reason}
    bands = bands_of(errors[:calibrated], test.slots[:calibrated])
    coverage = {}
    for share in SHARES:
        widths = np.stack([bands.half_widths(share, test.slots[i]) for i in newer])
        held = (errors[newer] <= widths)[np.isfinite(errors[newer])]
        coverage[f"coverage_{share * 100:.0f}"] = float(held.mean()) if held.size else None
    return coverage


def warning_of(figures: Mapping[str, Any], unit: str | None) -> str | None:
    """What to do where the model was worse than the best baseline; `unit` is that of the metric."""
    if figures["beats_baseline"]:
        return None
    plain = best_baseline(figures)
    mae, of_plain = (with_unit(f"{figures[name]:.4g}", unit) for name in ("mae", "baseline_mae"))
    return (
        f"In the test on the past this model was off by {mae} on average; {plain} was off by {of_plain}."
        f" Plan with {plain} instead."
    )
