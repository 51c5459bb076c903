"""The features in which a detector looks for anomalies.

They leave out what is expected: the load, the mains' daily course, slow drifts.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from assets.analyses import readings
from assets.analyses.daily import from_usual_hour, hourly_residual
from assets.analyses.single_series import HALF_DAY_MEAN, LONG_ROWS, HalfDays, shapes
from storage.arrays import Floats, Mask

MIN_FILLED = 0.5  # a channel with fewer values says more about its sender than about the machine
MAX_DRIFT = 1.0  # between blocks, in standard deviations within them
MIN_RATIO_SPREAD = 0.001  # meters are not better than that: less is how they round
MAX_HELD_ROWS = 5  # a device may send its metrics in turn: a value holds for so many rows
MIN_DAYS = 4  # of training for a daily course; a drifting metric would be left out otherwise, so fewer do
MIN_DAYS_IF_DRIFTING = 2
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FROM_HOUR = "voltage from its hour's median"
UTC = ZoneInfo("UTC")
_ELECTRICAL = ("voltage", "current", "power", "reactive_power", "power_factor")


@dataclass(frozen=True)
class Feature:
    """What a column of features shows.

    `metric`: the metric that it stands for. `kind`: `level`, a value to compare with the usual ones; `residual`, the
    distance of the metric from what was expected; `ratio`, the logarithm of that ratio; `mean`, the distance of a mean
    from earlier ones. `words`: what the level or the mean is of, or what the expectation rests on.
    """

    metric: str
    kind: Literal["level", "residual", "ratio", "mean"]
    words: str


# Features by name, each with what it shows.
Columns = dict[str, tuple[pd.Series, Feature]]


@dataclass(frozen=True)
class FittedFeatures:
    """What features learn from training rows: enough to compute those of other rows.

    `metrics`: the metrics that features are made of. `since`: the first training row. `by_hour`: what is usual at each
    hour of the day, by metric.
    """

    metrics: tuple[str, ...]
    since: pd.Timestamp
    by_hour: dict[str, Floats]
    centre: pd.Series
    spread: pd.Series
    about: dict[str, Feature]
    left_out: dict[str, str]

    @property
    def is_electrical(self) -> bool:
        return {"voltage", "current", "power"} <= set(self.metrics)

    def is_size(self, name: str) -> bool:
        """Whether a feature is unusual only beyond the training rows."""
        return self.is_electrical and name in ("current", "power")


@dataclass(frozen=True)
class Features:
    """The features of every row, standardised robustly: 0 is usual, 1 is the usual spread.

    `values`: features that may be unusual at any value. `sizes`: features that are unusual only beyond the training
    rows, such as a load. `centre` and `spread`: what each column was standardised by. `step`: the usual time between
    two rows. `about`: what each column shows. `left_out`: the channels without a feature, each with the reason.
    `judged`: the rows whose features are complete; those before them warm up the rolling windows. `half_days`: the
    means of a single series, which no model learns.
    """

    values: pd.DataFrame
    sizes: pd.DataFrame
    centre: pd.Series
    spread: pd.Series
    step: timedelta
    about: dict[str, Feature]
    left_out: dict[str, str]
    judged: Mask
    fitted: FittedFeatures
    half_days: HalfDays | None

    @property
    def all(self) -> pd.DataFrame:
        return pd.concat([part for part in (self.values, self.sizes) if len(part.columns)], axis=1)

    @property
    def shown(self) -> pd.DataFrame:
        """What events are described by."""
        if self.half_days is None:
            return self.all
        return self.all.assign(**{HALF_DAY_MEAN: self.half_days.distances / self.half_days.spread})

    @property
    def window(self) -> int:
        """How many rows a feature looks back."""
        return LONG_ROWS if len(self.fitted.metrics) == 1 else 1


def features(rows: pd.DataFrame, training: Mask, zone: ZoneInfo = UTC) -> Features:
    """The features of every row; what is usual is learnt from the training rows only.

    Voltage, current and power of one moment obey P = V · I · cos φ and, with reactive power, (V · I)² = P² + Q². What
    is left over shows a sensor or a machine that breaks the relation at any load, while the load itself comes and
    goes. The mains voltage moves over a day, and less within an hour; its deviations from the medians of both do not.
    Other metrics that follow the time of the day are also compared with what is usual then.
    """
    usable, left_out = _usable(rows.ffill(limit=MAX_HELD_ROWS), training)
    by_hour: dict[str, Floats] = {}
    if len(usable) == 1:
        columns = _lone_series(usable, training, zone, by_hour)
    else:
        columns = _channels(usable, training, zone, (left_out, by_hour))
    table = pd.DataFrame({name: column for name, (column, _) in columns.items()}, rows.index)
    centre, spread = _centre_and_spread(table[training])
    about = {name: feature for name, (_, feature) in columns.items()}
    ratios = [name for name, feature in about.items() if feature.kind == "ratio"]
    spread[ratios] = spread[ratios].clip(lower=MIN_RATIO_SPREAD)
    since = rows.index[int(np.argmax(training))]
    return _standardised(table, FittedFeatures(tuple(usable), since, by_hour, centre, spread, about, left_out))


def features_by(rows: pd.DataFrame, fitted: FittedFeatures, zone: ZoneInfo = UTC) -> Features:
    """The features of rows by what is usual already; a metric that the rows lack counts as usual."""
    held = rows.ffill(limit=MAX_HELD_ROWS)
    missing = pd.Series(np.nan, rows.index)
    usable = {name: held.get(name, missing) for name in fitted.metrics}
    columns = dict(usable)
    if len(usable) == 1:
        ((_, column),) = usable.items()
        columns = {name: shape for name, (shape, _) in shapes(column).items()}
    elif fitted.is_electrical:
        columns |= {name: column for name, (column, _) in _electrical(usable).items()}
    for metric, usual in fitted.by_hour.items():
        columns[_residual_name(metric)] = from_usual_hour(usable[metric], usual, zone)
    return _standardised(pd.DataFrame({name: columns[name] for name in fitted.about}, rows.index), fitted)


def _standardised(columns: pd.DataFrame, fitted: FittedFeatures) -> Features:
    """The columns scaled by the training rows' centre and spread; missing values count as usual."""
    standard = ((columns - fitted.centre) / fitted.spread).fillna(0.0)
    sizes = [name for name in columns if fitted.is_size(str(name))]
    found = Features(
        values=standard.drop(columns=sizes),
        sizes=standard[sizes],
        centre=fitted.centre,
        spread=fitted.spread,
        step=readings.cadence(columns.index),
        about=fitted.about,
        left_out=fitted.left_out,
        judged=np.ones(len(columns), bool),
        fitted=fitted,
        half_days=None,
    )
    if len(fitted.metrics) != 1:
        return found
    found.judged[: found.window - 1] = False
    since = min(int(columns.index.searchsorted(fitted.since)), len(columns) - 1)
    half_days = HalfDays.of(columns["value"], found.step, since)
    mean = Feature(fitted.metrics[0], "mean", f"the {HALF_DAY_MEAN} of {fitted.metrics[0]}")
    return replace(
        found,
        spread=pd.concat([fitted.spread, pd.Series({HALF_DAY_MEAN: half_days.spread})]),
        centre=pd.concat([fitted.centre, pd.Series({HALF_DAY_MEAN: 0.0})]),
        about=fitted.about | {HALF_DAY_MEAN: mean},
        half_days=half_days,
    )


def _lone_series(usable: dict[str, pd.Series], training: Mask, zone: ZoneInfo, by_hour: dict[str, Floats]) -> Columns:
    ((metric, column),) = usable.items()
    columns = {
        name: (shape, Feature(metric, "level", words.format(metric))) for name, (shape, words) in shapes(column).items()
    }
    return columns | _from_usual_hour(column.rename(metric), training, zone, MIN_DAYS, by_hour)


def _channels(
    usable: dict[str, pd.Series], training: Mask, zone: ZoneInfo, found: tuple[dict[str, str], dict[str, Floats]]
) -> Columns:
    """The features of several metrics. Those without any, and what is usual by hour, are added to `found`."""
    left_out, by_hour = found
    is_electrical = {"voltage", "current", "power"} <= set(usable)
    electrical = _electrical(usable) if is_electrical else {}
    if electrical:
        times = usable["voltage"].index
        if times[-1] - times[0] < DAY:
            electrical.pop(FROM_HOUR, None)
    columns = {name: shown for name, shown in electrical.items() if shown[0][training].round(6).nunique() > 1}
    for metric, column in usable.items():
        if is_electrical and metric in _ELECTRICAL and metric not in ("current", "power"):
            continue
        level = column, Feature(metric, "level", metric)
        if is_electrical and metric in ("current", "power"):
            columns[metric] = level
            continue
        is_drifting = drifts(column[training].to_numpy())
        min_days = MIN_DAYS_IF_DRIFTING if is_drifting else MIN_DAYS
        residual = _from_usual_hour(column.rename(metric), training, zone, min_days, by_hour)
        columns |= residual
        if not is_drifting:
            columns[metric] = level
        elif not residual:
            left_out[metric] = "drifts slowly, so its level says little"
    return columns


def _from_usual_hour(
    column: pd.Series, training: Mask, zone: ZoneInfo, min_days: int, by_hour: dict[str, Floats]
) -> Columns:
    """The distance from what is usual at that time of the day, if the metric follows it; `by_hour` gets the usual."""
    metric = str(column.name)
    found = hourly_residual(column, training, zone, min_days)
    if found is None or drifts(found[0][training].to_numpy()):
        return {}
    residual, by_hour[metric] = found
    return {_residual_name(metric): (residual, Feature(metric, "residual", "is usual at that time of day"))}


def _residual_name(metric: str) -> str:
    return f"{metric} from its hour's usual"


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
    from_day = voltage - _day_median(voltage)
    from_hour = voltage - voltage.rolling(HOUR, min_periods=1).median()
    # After a fault, the hour's median is that of the fault, and the day's is not.
    nearer = from_hour.where(from_hour.abs() < from_day.abs(), from_day)
    electrical = {
        "log P/(V·I)": (np.log(ratio), Feature(shown_by, "ratio", "voltage and current usually give")),
        "voltage from its day's median": (from_day, Feature("voltage", "residual", "was usual in the 24 hours before")),
        FROM_HOUR: (nearer, Feature("voltage", "residual", "was usual in the hour before")),
    }
    if "reactive_power" in usable:
        expected = np.hypot(power, usable["reactive_power"]) / voltage.where(voltage > 0)
        feature = Feature("current", "residual", "this voltage and power explain")
        electrical["I - √(P²+Q²)/V"] = (current - expected, feature)
    return electrical


def _day_median(column: pd.Series) -> pd.Series:
    """The median of the 24 hours before each row; rows of the first 24 hours have the median of these."""
    medians = column.rolling(DAY, min_periods=1).median()
    first_day = column.index < column.index[0] + DAY
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


def _centre_and_spread(known: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The median and the spread of each column."""
    if not len(known.columns):
        return pd.Series(dtype=float), pd.Series(dtype=float)
    spread = (known.quantile(0.84) - known.quantile(0.16)) / 2
    spread = spread.where(spread > 0, known.std()).where(lambda s: s > 0, 1.0)
    return known.median(), spread
