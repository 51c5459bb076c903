"""Energy by the day and the month: what was measured so far, and what the coming hours add."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assets.analyses.context import DeviceContext
from assets.analyses.forecasting.bands import SHARES
from assets.analyses.history import ENERGY_EXPORT
from assets.energy import EnergyFigures
from storage.arrays import Floats, Indices


@dataclass(frozen=True)
class Ahead:
    """The coming UTC hours: expected kWh, what is possible, and how large errors usually are in them.

    The errors of the test and how large they usually are have the shape (origins, tested hours).
    """

    times: pd.DatetimeIndex
    values: Floats
    lowest: Floats
    highest: Floats
    usual_errors: Floats
    signed_errors_in_test: Floats
    usual_errors_in_test: Floats


def totals(energy: EnergyFigures, metric: str, ahead: Ahead, context: DeviceContext, unit: str) -> list[dict[str, Any]]:
    """One entry for each local day (`unit` "day") or month that the coming hours reach into.

    `measured_kwh` is what `assets.energy` counted between the beginning of the day or month, or of the analysed
    range, and the first coming hour; `expected_kwh` is that and the forecast of the hours that follow.
    """
    local = ahead.times.tz_convert(context.zone).tz_localize(None)
    labels = local.to_period("D" if unit == "day" else "M")
    found = []
    for label in labels.unique():
        at = np.flatnonzero(labels == label)
        begin = label.start_time.tz_localize(context.zone, ambiguous=True, nonexistent="shift_forward")
        measured = _measured(energy, metric, begin, ahead.times[0]) if at[0] == 0 else 0.0
        found.append({
            unit: str(label),
            "from": begin.tz_convert("UTC").isoformat().replace("+00:00", "Z"),
            "hours_forecast": len(at),
            "measured_kwh": measured,
            "forecast_kwh": float(ahead.values[at].sum()),
            "expected_kwh": (measured or 0.0) + float(ahead.values[at].sum()),
            **_bounds(ahead, at, measured or 0.0),
        })  # fmt: skip
    return found


def _measured(energy: EnergyFigures, metric: str, begin: pd.Timestamp, until: pd.Timestamp) -> float | None:
    start, end = max(_us(begin), energy.start), min(_us(until), energy.end)
    if start >= end:
        return None
    part = energy.part(start, end)
    return part.export_kwh if metric == ENERGY_EXPORT else part.kwh


def _us(moment: pd.Timestamp) -> int:
    return int(moment.value // 1000)


def _bounds(ahead: Ahead, at: Indices, measured: float) -> dict[str, float]:
    """Bounds of the sum, from how far sums over as many hours were off in the test, in units of their usual errors.

    Errors of hours further ahead than the test went are taken to be those of its last hours, all in one direction.
    """
    tested = ahead.signed_errors_in_test.shape[1]
    span = min(len(at), tested)
    first = min(int(at[0]), tested - span)
    in_test = slice(first, first + span)
    usual = ahead.usual_errors_in_test[:, in_test].sum(axis=1)
    off = np.abs(np.nansum(ahead.signed_errors_in_test[:, in_test], axis=1)) / np.maximum(usual, 1e-12)
    expected = float(ahead.values[at].sum())
    lowest, highest = float(ahead.lowest[at].sum()), float(ahead.highest[at].sum())
    bounds = {}
    for share, end in zip(SHARES, ("_80", ""), strict=True):
        width = float(np.quantile(off, min(share * (1 + 1 / len(off)), 1.0)) * ahead.usual_errors[at].sum())
        bounds[f"lower{end}"] = measured + max(expected - width, lowest)
        bounds[f"upper{end}"] = measured + min(expected + width, highest)
    return bounds
