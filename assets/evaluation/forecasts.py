"""Forecasts of 24 hours from 40 moments of each series, which know only what came before.

| series | origins |
| --- | --- |
| `ETT*.csv`: `OT` and `HUFL`, hourly | every 71 h from hour 11,520 on, before hour 14,400 |
| any other: `power_kw`, `power` or `value`, as hourly means | spread over the newest 30 % |
| `press`, made here: works on weekdays from 6 to 18 and idles on Saturdays | as the others |

The step shares no divisor with a day or a week, so the origins go around the clock. The history is the 400 days before
an origin. MASE is the mean absolute error divided by that of the value 24 hours before, over all rows before the first
origin (R. J. Hyndman, A. B. Koehler, 2006).
"""

from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.analyses import ANALYSES, ForecastParameters, analyse
from assets.evaluation.cases import Case, Figures, NoCases

if TYPE_CHECKING:
    import pandas as pd

HORIZON, DAY, WEEK = 24, 24, 168  # hours
ORIGINS = 40
HISTORY = 400 * DAY
COLUMNS = ("OT", "HUFL", "power_kw", "power", "value")
ETT_TEST = (11_520, 14_400)  # hours


@dataclass(frozen=True)
class Source:
    """A column of a file; without a file, the made series."""

    name: str
    file: Path | None = None
    column: str = ""


def cases(folder: Path, every: int) -> list[Case]:
    found = [Source("forecast/press")] if (folder / "forecast").is_dir() else []
    for file in sorted((folder / "forecast").glob("*.csv*")):
        with_columns = [name for name in COLUMNS if name in _header(file)]
        is_ett = file.name.startswith("ETT")
        name = file.name.partition(".csv")[0].partition("_")[0]
        found += [
            Source(f"forecast/{name}-{column}" if is_ett else f"forecast/{name}", file, column)
            for column in (with_columns if is_ett else with_columns[:1])
        ]
    return [_case(source, every) for source in found]


def _case(source: Source, every: int) -> Case:
    return Case(source.name, ANALYSES["forecast"].models, lambda model: _figures(model, source, every))


def _header(file: Path) -> list[str]:
    import pandas as pd  # noqa: PLC0415 - it also opens what is compressed

    try:
        return [str(name) for name in pd.read_csv(file, nrows=0).columns]
    except (EOFError, OSError, ValueError) as error:
        raise NoCases(f"{file} cannot be read as CSV: {error}") from error


def origins_of(hours: int, *, is_ett: bool) -> list[int]:
    """The 40 hours of a series to forecast from."""
    first, end = ETT_TEST if is_ett and hours >= ETT_TEST[1] else (int(0.7 * hours), hours)
    step = (end - first) // ORIGINS
    while step > 1 and gcd(step, WEEK) > 1:
        step -= 1
    return [first + i * step for i in range(ORIGINS)]


def _figures(model: str, source: Source, every: int) -> Figures:
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    import pandas as pd  # noqa: PLC0415

    from assets.evaluation.tables import ignore_progress, table  # noqa: PLC0415

    series = _series(source)
    values = series.to_numpy()
    origins = origins_of(len(series), is_ett=source.column in ("OT", "HUFL"))
    scale = float(np.mean(np.abs(values[DAY : origins[0]] - values[: origins[0] - DAY])))
    errors, baselines, within, widths, hours = [], [], [], [], []
    for origin in origins[::every]:
        history = series.iloc[max(0, origin - HISTORY) : origin]
        rows = table(pd.DataFrame({"timestamp": history.index, "power": history.to_numpy()}))
        result = analyse("forecast", model, rows, ForecastParameters(horizon_hours=HORIZON), ignore_progress)
        points = pd.DataFrame(result.results["forecast"])
        true = values[origin : origin + HORIZON]
        errors.append(np.abs(points["value"].to_numpy() - true))
        baselines.append({name: np.abs(path - true) for name, path in _baselines(series, origin).items()})
        within.append([
            (points[f"lower{end}"] <= true) & (true <= points[f"upper{end}"]) for end in ("_80", "")
        ])  # fmt: skip
        widths.append(_widths(result.accuracy_metrics))
        hours.append(pd.DatetimeIndex(points["timestamp"]).hour)
    held = np.array(within, float)  # of shape (origins, 2 shares, horizon)
    of_baselines = {name: float(np.mean([b[name] for b in baselines])) / scale for name in baselines[0]}
    of_model = float(np.mean(errors)) / scale
    ratios = [of_model_ / of_baseline for of_model_, of_baseline in widths if of_model_ and of_baseline]
    quarter = np.array(hours) // 6
    by_quarter = {
        f"coverage_{percent}": [float(held[:, share][quarter == i].mean()) for i in range(4)]
        for share, percent in enumerate((80, 95))
    }
    return {
        "mase": of_model,
        "best_baseline_mase": min(of_baselines.values()),
        "coverage_80": float(held[:, 0].mean()),
        "coverage_95": float(held[:, 1].mean()),
        **{f"{name}_by_quarter": [min(part), max(part)] for name, part in by_quarter.items()},
        "band_width_to_baseline": float(np.mean(ratios)) if ratios else None,
        "origins": len(errors),
        "series": {"baseline_mase": of_baselines, "by_quarter": by_quarter},
    }


def _widths(accuracy: dict[str, Any]) -> tuple[Any, Any]:
    return accuracy.get("band_width_95"), accuracy.get("baseline_band_width_95")


def _baselines(series: "pd.Series", origin: int) -> "dict[str, Any]":
    """What 24 hours before, a week before, and the same hour of the last day of the same kind tell."""
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    import pandas as pd  # noqa: PLC0415

    values, weekend = series.to_numpy(), pd.DatetimeIndex(series.index).day_of_week >= 5
    ahead = np.arange(origin, origin + HORIZON)
    earlier = [[at - d * DAY for d in range(1, 8) if at - d * DAY < origin] for at in ahead.tolist()]
    same_kind = np.array([
        values[next(before for before in days if weekend[before] == weekend[at])]
        for at, days in zip(ahead, earlier, strict=True)
    ])  # fmt: skip
    return {"24 h before": values[ahead - DAY], "168 h before": values[ahead - WEEK], "same day type": same_kind}


def _series(source: Source) -> "pd.Series":
    """Hourly means with a UTC index and without holes."""
    import numpy as np  # noqa: PLC0415 - the list of cases needs no library
    import pandas as pd  # noqa: PLC0415

    if source.file is None:
        index = pd.date_range("2026-01-05", periods=20 * WEEK, freq="h", tz="UTC")
        is_shift = (index.hour >= 6) & (index.hour < 18)
        level = np.where(is_shift & (index.day_of_week < 5), 9_000.0, np.where(is_shift, 1_500.0, 400.0))
        return pd.Series(level * np.random.default_rng(1).normal(1, 0.03, len(index)), index)
    rows = pd.read_csv(source.file)
    times = pd.to_datetime(rows["timestamp" if "timestamp" in rows else "date"], utc=True)
    return pd.Series(rows[source.column].to_numpy(float), times).resample("1h").mean().interpolate()
