"""What a detector looks at: channels freed of what is no news, ratios that physics ties, shapes of a single series."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses import readings

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

FULL_ENOUGH = 0.5  # a channel with fewer values tells more about its sender than about the machine
DRIFT = 1.0  # between blocks, in standard deviations within them
_TIED = ("voltage", "current", "power", "reactive_power", "power_factor")
HELD = 5  # rows that a value stands for when a device sends its metrics in turn


@dataclass(frozen=True)
class Features:
    """`values`: what may be unusual anywhere; `sizes`: what is unusual only beyond what was seen, as a load is.

    Both are standardised robustly (0 is usual, 1 the usual spread). `metric` is what each column shows, `left_out` has
    the channels that were not looked at, with the reason. `step` is the usual distance of two rows.
    """

    values: pd.DataFrame
    sizes: pd.DataFrame
    step: timedelta
    metric: dict[str, str]
    left_out: dict[str, str]

    @property
    def all(self) -> pd.DataFrame:
        return pd.concat([part for part in (self.values, self.sizes) if len(part.columns)], axis=1)


def features(rows: pd.DataFrame, training: Flags) -> Features:
    """Features of every row; what is usual is learnt from the training rows only.

    V, I and P of one moment obey P = V·I·cos φ, and with reactive power (V·I)² = P² + Q²: what is left over shows a
    sensor or a machine that breaks it, whatever the load does; the load itself comes and goes. The mains' voltage
    moves over a day; its deviation from the day's median does not.
    """
    held = rows.ffill(limit=HELD)
    step = readings.cadence(rows.index)
    left_out: dict[str, str] = {}
    usable: dict[str, pd.Series] = {}
    for name, column in held.items():
        if name in readings.LABELS:
            left_out[str(name)] = readings.IS_LABEL
        elif column.notna().mean() < FULL_ENOUGH:
            left_out[str(name)] = "fewer than half of the rows have a value"
        elif column[training].nunique() < 2:
            left_out[str(name)] = "constant"
        else:
            usable[str(name)] = column
    if len(usable) == 1:
        ((name, column),) = usable.items()
        shapes = _shapes(column)
        return Features(_standardised(shapes, training), rows[[]], step, dict.fromkeys(shapes, name), left_out)
    electrical = {"voltage", "current", "power"} <= set(usable)
    made = _electrical(usable) if electrical else {}
    metric = {name: shown for name, (_, shown) in made.items()}
    values = {name: column for name, (column, _) in made.items() if column[training].round(6).nunique() > 1}
    sizes: dict[str, pd.Series] = {}
    for name, column in usable.items():
        if electrical and name in ("current", "power"):
            sizes[name], metric[name] = column, name
        elif electrical and name in _TIED:
            continue
        elif drifts(column[training].to_numpy()):
            left_out[name] = "drifts slowly, so that its level says little"
        else:
            values[name], metric[name] = column, name
    return Features(_standardised(values, training), _standardised(sizes, training), step, metric, left_out)


def _electrical(usable: dict[str, pd.Series]) -> dict[str, tuple[pd.Series, str]]:
    """Features of V, I, P (and Q), each with the metric that shows it."""
    voltage, current, power = usable["voltage"], usable["current"], usable["power"]
    apparent = voltage * current
    ratio = (power / apparent.where(apparent > 0)).where(power > 0)
    made = {
        "log P/(V·I)": (np.log(ratio), "power_factor" if "power_factor" in usable else "current"),
        "voltage from its day's median": (voltage - _day_median(voltage), "voltage"),
    }
    if "reactive_power" in usable:
        drawn = np.hypot(power, usable["reactive_power"]) / voltage.where(voltage > 0)
        made["I - √(P²+Q²)/V"] = (current - drawn, "current")
    return made


def _shapes(column: pd.Series) -> dict[str, pd.Series]:
    """Six shapes of a lone series: alone, a value is too little to be unusual."""
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
    """Of the day before each row; rows of the first day have that day's."""
    medians = column.rolling("1D", min_periods=1).median()
    first_day = column.index < column.index[0] + timedelta(days=1)
    return medians.where(~first_day, column[first_day].median())


def drifts(column: Vector, blocks: int = 10) -> bool:
    """Whether the level moves between blocks more than it varies within them: then each new level looks unusual."""
    column = column[~np.isnan(column)]
    if len(column) < 2 * blocks:
        return False
    parts = np.array_split(column, blocks)
    within = float(np.median([np.std(part) for part in parts]))
    between = float(np.std([np.median(part) for part in parts]))
    return between > DRIFT * max(within, 1e-12)


def _standardised(columns: dict[str, pd.Series], training: Flags) -> pd.DataFrame:
    """By the training rows' median and spread; what is missing is usual."""
    if not columns:
        return pd.DataFrame(index=range(len(training)))
    values = pd.DataFrame(columns)
    known = values[training]
    middle = known.median()
    spread = (known.quantile(0.84) - known.quantile(0.16)) / 2
    spread = spread.where(spread > 0, known.std()).where(lambda s: s > 0, 1.0)
    return ((values - middle) / spread).fillna(0.0)
