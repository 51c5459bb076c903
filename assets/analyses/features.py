"""What a detector looks at: channels freed of what is no news, ratios that physics ties, shapes of a single series."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses import readings

FULL_ENOUGH = 0.5  # a channel with fewer values tells more about its sender than about the machine
DRIFT = 3.0
_TIED = ("voltage", "current", "power", "reactive_power", "power_factor")
HELD = 5  # rows that a value stands for when a device sends its metrics in turn


@dataclass(frozen=True)
class Features:
    """`values` are standardised robustly (0 is usual, 1 the usual spread); `metric` is what each column shows.

    `left_out` has the channels that were not looked at, with the reason.
    """

    values: pd.DataFrame
    metric: dict[str, str]
    left_out: dict[str, str]


def features(rows: pd.DataFrame, training: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Features:
    """Features of every row; what is usual is learnt from the training rows only.

    V, I and P in one row obey P = V·I·cos φ: the logarithm of P/(V·I) shows a sensor or a machine that breaks it,
    whatever the load does. The mains' voltage moves over a day; its deviation from a day's median does not.
    """
    step = readings.cadence(rows.index)
    held = rows.ffill(limit=HELD)
    left_out: dict[str, str] = {}
    usable: dict[str, pd.Series] = {}
    for name, column in held.items():
        if column.notna().mean() < FULL_ENOUGH:
            left_out[str(name)] = "fewer than half of the rows have a value"
        elif column[training].nunique() < 2:
            left_out[str(name)] = "constant"
        else:
            usable[str(name)] = column
    made, metric = _shapes(usable, step) if len(usable) == 1 else _channels(held, usable, step, training, left_out)
    values = pd.DataFrame(made, index=rows.index)
    return Features(_standardised(values, training), metric, left_out)


def _channels(
    held: pd.DataFrame,
    usable: dict[str, pd.Series],
    step: timedelta,
    training: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    left_out: dict[str, str],
) -> tuple[dict[str, pd.Series], dict[str, str]]:
    made: dict[str, pd.Series] = {}
    metric: dict[str, str] = {}
    electrical = {"voltage", "current", "power"} <= set(usable)
    for name, column in usable.items():
        if electrical and name in _TIED:
            continue  # their size is the load's; what ties them is looked at instead
        if drifts(column[training].to_numpy()):
            left_out[name] = "drifts slowly, so that its level says little"
            continue
        made[name], metric[name] = column, name
    if electrical:
        apparent = usable["voltage"] * usable["current"]
        ratio = (usable["power"] / apparent.where(apparent > 0)).where(usable["power"] > 0)
        if ratio[training].round(6).nunique() > 1:
            made["log P/(V·I)"] = np.log(ratio)
            metric["log P/(V·I)"] = "power_factor" if "power_factor" in held else "current"
        if "reactive_power" in usable:
            drawn = np.hypot(usable["power"], usable["reactive_power"]) / usable["voltage"].where(usable["voltage"] > 0)
            made["I - √(P²+Q²)/V"], metric["I - √(P²+Q²)/V"] = usable["current"] - drawn, "current"
        made["voltage from its day"] = usable["voltage"] - _day_median(usable["voltage"], step)
        metric["voltage from its day"] = "voltage"
    return made, metric


def _shapes(usable: dict[str, pd.Series], step: timedelta) -> tuple[dict[str, pd.Series], dict[str, str]]:
    """Six shapes of a lone series: alone, a value is too little to be unusual."""
    ((name, column),) = usable.items()
    filled = column.interpolate(limit_direction="both")
    short, long = filled.rolling(6, min_periods=1), filled.rolling(48, min_periods=1)
    change = filled.diff().fillna(0.0)
    made = {
        "value": filled,
        "mean": short.mean(),
        "spread": short.std().fillna(0.0),
        "long spread": long.std().fillna(0.0),
        "change": change.abs(),
        "from its mean": filled - long.mean(),
    }
    return made, dict.fromkeys(made, name)


def _day_median(column: pd.Series, step: timedelta) -> pd.Series:
    return column.rolling("1D", min_periods=1).median()


def drifts(column: "np.ndarray[tuple[int], np.dtype[np.float64]]", blocks: int = 10) -> bool:
    """Whether the level moves between blocks much more than within them: then each new level looks unusual."""
    column = column[~np.isnan(column)]
    if len(column) < 2 * blocks:
        return False
    parts = np.array_split(column, blocks)
    within = float(np.median([np.std(part) for part in parts]))
    between = float(np.std([np.median(part) for part in parts]))
    return between > DRIFT * max(within, 1e-12)


def _standardised(values: pd.DataFrame, training: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> pd.DataFrame:
    """By the training rows' median and spread; what is missing is usual."""
    known = values[training]
    middle = known.median()
    spread = (known.quantile(0.84) - known.quantile(0.16)) / 2
    spread = spread.where(spread > 0, known.std()).where(lambda s: s > 0, 1.0)
    return ((values - middle) / spread).fillna(0.0)
