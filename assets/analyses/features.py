"""The features in which a detector looks for anomalies.

They leave out what is expected: the load, the mains' daily course, slow drifts.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses import readings
from storage.arrays import Floats, Mask

MIN_FILLED = 0.5  # a channel with fewer values says more about its sender than about the machine
MAX_DRIFT = 1.0  # between blocks, in standard deviations within them
MAX_HELD_ROWS = 5  # a device may send its metrics in turn: a value holds for so many rows
_ELECTRICAL = ("voltage", "current", "power", "reactive_power", "power_factor")


@dataclass(frozen=True)
class Features:
    """The features of every row, standardised robustly: 0 is usual, 1 is the usual spread.

    `values`: features that may be unusual at any value. `sizes`: features that are unusual only beyond the training
    rows, such as a load. `step`: the usual time between two rows. `metric`: the metric that each column stands for.
    `left_out`: the channels without a feature, each with the reason.
    """

    values: pd.DataFrame
    sizes: pd.DataFrame
    step: timedelta
    metric: dict[str, str]
    left_out: dict[str, str]

    @property
    def all(self) -> pd.DataFrame:
        return pd.concat([part for part in (self.values, self.sizes) if len(part.columns)], axis=1)


def features(rows: pd.DataFrame, training: Mask) -> Features:
    """The features of every row; what is usual is learnt from the training rows only.

    Voltage, current and power of one moment obey P = V · I · cos φ and, with reactive power, (V · I)² = P² + Q². What
    is left over shows a sensor or a machine that breaks the relation at any load, while the load itself comes and
    goes. The mains voltage moves over a day; its deviation from the day's median does not.
    """
    step = readings.cadence(rows.index)
    usable, left_out = _usable(rows.ffill(limit=MAX_HELD_ROWS), training)
    if len(usable) == 1:
        ((name, column),) = usable.items()
        shapes = _shapes(column)
        return Features(_standardised(shapes, training), rows[[]], step, dict.fromkeys(shapes, name), left_out)
    is_electrical = {"voltage", "current", "power"} <= set(usable)
    electrical = _electrical(usable) if is_electrical else {}
    metric = {name: shown for name, (_, shown) in electrical.items()}
    values = {name: column for name, (column, _) in electrical.items() if column[training].round(6).nunique() > 1}
    sizes: dict[str, pd.Series] = {}
    for name, column in usable.items():
        if is_electrical and name in ("current", "power"):
            sizes[name], metric[name] = column, name
        elif is_electrical and name in _ELECTRICAL:
            continue
        elif drifts(column[training].to_numpy()):
            left_out[name] = "drifts slowly, so its level says little"
        else:
            values[name], metric[name] = column, name
    return Features(_standardised(values, training), _standardised(sizes, training), step, metric, left_out)


def _usable(rows: pd.DataFrame, training: Mask) -> tuple[dict[str, pd.Series], dict[str, str]]:
    """The channels to make features of, and the others with the reason."""
    usable: dict[str, pd.Series] = {}
    left_out: dict[str, str] = {}
    for name, column in rows.items():
        if name in readings.LABELS:
            left_out[str(name)] = readings.IS_LABEL
        elif column.notna().mean() < MIN_FILLED:
            left_out[str(name)] = "fewer than half of the rows have a value"
        elif column[training].nunique() < 2:
            left_out[str(name)] = "constant"
        else:
            usable[str(name)] = column
    return usable, left_out


def _electrical(usable: dict[str, pd.Series]) -> dict[str, tuple[pd.Series, str]]:
    """The features of V, I, P and Q, each with the metric that it stands for."""
    voltage, current, power = usable["voltage"], usable["current"], usable["power"]
    apparent = voltage * current
    ratio = (power / apparent.where(apparent > 0)).where(power > 0)
    electrical = {
        "log P/(V·I)": (np.log(ratio), "power_factor" if "power_factor" in usable else "current"),
        "voltage from its day's median": (voltage - _day_median(voltage), "voltage"),
    }
    if "reactive_power" in usable:
        expected = np.hypot(power, usable["reactive_power"]) / voltage.where(voltage > 0)
        electrical["I - √(P²+Q²)/V"] = (current - expected, "current")
    return electrical


def _shapes(column: pd.Series) -> dict[str, pd.Series]:
    """Six features of a single series, whose values alone say too little."""
    filled = column.interpolate(limit_direction="both")
    short, long = filled.rolling(6, min_periods=1), filled.rolling(48, min_periods=1)
    return {
        "value": filled,
        "mean": short.mean(),
        "spread": short.std().fillna(0.0),
        "long spread": long.std().fillna(0.0),
        "change": filled.diff().abs().fillna(0.0),
        "from its mean": filled - long.mean(),
    }


def _day_median(column: pd.Series) -> pd.Series:
    """The median of the 24 hours before each row; rows of the first 24 hours have the median of these."""
    medians = column.rolling("1D", min_periods=1).median()
    first_day = column.index < column.index[0] + timedelta(days=1)
    return medians.where(~first_day, column[first_day].median())


def drifts(column: Floats, blocks: int = 10) -> bool:
    """Whether the level moves between blocks more than the values vary within them: each new level looks unusual."""
    column = column[~np.isnan(column)]
    if len(column) < 2 * blocks:
        return False
    parts = np.array_split(column, blocks)
    within = float(np.median([np.std(part) for part in parts]))
    between = float(np.std([np.median(part) for part in parts]))
    return between > MAX_DRIFT * max(within, 1e-12)


def _standardised(columns: dict[str, pd.Series], training: Mask) -> pd.DataFrame:
    """Scaled by the training rows' median and spread; missing values count as usual."""
    if not columns:
        return pd.DataFrame(index=range(len(training)))
    values = pd.DataFrame(columns)
    known = values[training]
    median = known.median()
    spread = (known.quantile(0.84) - known.quantile(0.16)) / 2
    spread = spread.where(spread > 0, known.std()).where(lambda s: s > 0, 1.0)
    return ((values - median) / spread).fillna(0.0)
