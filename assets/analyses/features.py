"""The features in which a detector looks for anomalies.

They leave out what is expected: the load, the mains' daily course, slow drifts.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from assets.analyses import readings
from assets.analyses.daily import hourly_residual
from storage.arrays import Floats, Mask

MIN_FILLED = 0.5  # a channel with fewer values says more about its sender than about the machine
MAX_DRIFT = 1.0  # between blocks, in standard deviations within them
MAX_HELD_ROWS = 5  # a device may send its metrics in turn: a value holds for so many rows
SHORT_ROWS, LONG_ROWS = 6, 48
MIN_DAYS = 4  # of training for a daily course; a drifting metric would be left out otherwise, so fewer do
MIN_DAYS_IF_DRIFTING = 2
UTC = ZoneInfo("UTC")
_ELECTRICAL = ("voltage", "current", "power", "reactive_power", "power_factor")


@dataclass(frozen=True)
class Feature:
    """What a column of features shows.

    `metric`: the metric that it stands for. `kind`: `level`, a value to compare with the usual ones; `residual`, the
    distance of the metric from what was expected; `ratio`, the logarithm of that ratio. `words`: what the level is of,
    or what the expectation rests on.
    """

    metric: str
    kind: Literal["level", "residual", "ratio"]
    words: str


# Features by name, each with what it shows.
Columns = dict[str, tuple[pd.Series, Feature]]


@dataclass(frozen=True)
class Features:
    """The features of every row, standardised robustly: 0 is usual, 1 is the usual spread.

    `values`: features that may be unusual at any value. `sizes`: features that are unusual only beyond the training
    rows, such as a load. `centre` and `spread`: what each column was standardised by. `step`: the usual time between
    two rows. `about`: what each column shows. `left_out`: the channels without a feature, each with the reason.
    `judged`: the rows whose features are complete; those before them warm up the rolling windows.
    """

    values: pd.DataFrame
    sizes: pd.DataFrame
    centre: pd.Series
    spread: pd.Series
    step: timedelta
    about: dict[str, Feature]
    left_out: dict[str, str]
    judged: Mask

    @property
    def all(self) -> pd.DataFrame:
        return pd.concat([part for part in (self.values, self.sizes) if len(part.columns)], axis=1)


def features(rows: pd.DataFrame, training: Mask, zone: ZoneInfo = UTC) -> Features:
    """The features of every row; what is usual is learnt from the training rows only.

    Voltage, current and power of one moment obey P = V · I · cos φ and, with reactive power, (V · I)² = P² + Q². What
    is left over shows a sensor or a machine that breaks the relation at any load, while the load itself comes and
    goes. The mains voltage moves over a day; its deviation from the day's median does not. Other metrics that follow
    the time of the day are also compared with what is usual then.
    """
    usable, left_out = _usable(rows.ffill(limit=MAX_HELD_ROWS), training)
    judged = np.ones(len(rows), bool)
    if len(usable) == 1:
        judged[: LONG_ROWS - 1] = False
        columns = _lone_series(usable, training, zone)
    else:
        columns = _channels(usable, training, zone, left_out)
    is_electrical = {"voltage", "current", "power"} <= set(usable)
    loads = {"current", "power"} if is_electrical else set()
    values = {name: column for name, (column, _) in columns.items() if name not in loads}
    sizes = {name: column for name, (column, _) in columns.items() if name in loads}
    (standard_values, *of_values), (standard_sizes, *of_sizes) = (
        _standardised(part, training) for part in (values, sizes)
    )
    centre, spread = (pd.concat(parts) for parts in zip(of_values, of_sizes, strict=True))
    return Features(
        values=standard_values,
        sizes=standard_sizes,
        centre=centre,
        spread=spread,
        step=readings.cadence(rows.index),
        about={name: feature for name, (_, feature) in columns.items()},
        left_out=left_out,
        judged=judged,
    )


def _lone_series(usable: dict[str, pd.Series], training: Mask, zone: ZoneInfo) -> Columns:
    ((metric, column),) = usable.items()
    columns = {
        name: (shape, Feature(metric, "level", words.format(metric)))
        for name, (shape, words) in _shapes(column).items()
    }
    return columns | _from_usual_hour(metric, column, training, zone, MIN_DAYS)


def _channels(usable: dict[str, pd.Series], training: Mask, zone: ZoneInfo, left_out: dict[str, str]) -> Columns:
    """The features of several metrics. Those without any are added to `left_out`."""
    is_electrical = {"voltage", "current", "power"} <= set(usable)
    electrical = _electrical(usable) if is_electrical else {}
    columns = {name: shown for name, shown in electrical.items() if shown[0][training].round(6).nunique() > 1}
    for metric, column in usable.items():
        if is_electrical and metric in _ELECTRICAL and metric not in ("current", "power"):
            continue
        level = column, Feature(metric, "level", metric)
        if is_electrical and metric in ("current", "power"):
            columns[metric] = level
            continue
        is_drifting = drifts(column[training].to_numpy())
        residual = _from_usual_hour(metric, column, training, zone, MIN_DAYS_IF_DRIFTING if is_drifting else MIN_DAYS)
        columns |= residual
        if not is_drifting:
            columns[metric] = level
        elif not residual:
            left_out[metric] = "drifts slowly, so its level says little"
    return columns


def _from_usual_hour(metric: str, column: pd.Series, training: Mask, zone: ZoneInfo, min_days: int) -> Columns:
    """The distance from what is usual at that time of the day, if the metric follows it."""
    residual = hourly_residual(column, training, zone, min_days)
    if residual is None or drifts(residual[training].to_numpy()):
        return {}
    return {f"{metric} from its hour's usual": (residual, Feature(metric, "residual", "is usual at that time of day"))}


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


def _electrical(usable: dict[str, pd.Series]) -> Columns:
    """The features of V, I, P and Q, by name, each with what it shows."""
    voltage, current, power = usable["voltage"], usable["current"], usable["power"]
    apparent = voltage * current
    ratio = (power / apparent.where(apparent > 0)).where(power > 0)
    shown_by = "power_factor" if "power_factor" in usable else "current"
    electrical = {
        "log P/(V·I)": (np.log(ratio), Feature(shown_by, "ratio", "voltage and current usually give")),
        "voltage from its day's median": (
            voltage - _day_median(voltage),
            Feature("voltage", "residual", "was usual in the 24 hours before"),
        ),
    }
    if "reactive_power" in usable:
        expected = np.hypot(power, usable["reactive_power"]) / voltage.where(voltage > 0)
        feature = Feature("current", "residual", "this voltage and power explain")
        electrical["I - √(P²+Q²)/V"] = (current - expected, feature)
    return electrical


def _shapes(column: pd.Series) -> dict[str, tuple[pd.Series, str]]:
    """Six features of a single series, whose values alone say too little, each with its words."""
    filled = column.interpolate(limit_direction="both")
    short, long = filled.rolling(SHORT_ROWS, min_periods=1), filled.rolling(LONG_ROWS, min_periods=1)
    return {
        "value": (filled, "{}"),
        "mean": (short.mean(), f"the mean of {{}} over {SHORT_ROWS} readings"),
        "spread": (short.std().fillna(0.0), f"the spread of {{}} over {SHORT_ROWS} readings"),
        "long spread": (long.std().fillna(0.0), f"the spread of {{}} over {LONG_ROWS} readings"),
        "change": (filled.diff().abs().fillna(0.0), "the change of {} between two readings"),
        "from its mean": (
            filled - long.mean(),
            f"the distance of {{}} from its mean over {LONG_ROWS} readings",
        ),
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


def _standardised(columns: dict[str, pd.Series], training: Mask) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """The columns scaled by the training rows' median and spread, and these two; missing values count as usual."""
    if not columns:
        nothing = pd.Series(dtype=float)
        return pd.DataFrame(index=range(len(training))), nothing, nothing
    values = pd.DataFrame(columns)
    known = values[training]
    median = known.median()
    spread = (known.quantile(0.84) - known.quantile(0.16)) / 2
    spread = spread.where(spread > 0, known.std()).where(lambda s: s > 0, 1.0)
    return ((values - median) / spread).fillna(0.0), median, spread
