"""Why an event is one, in a plain sentence."""

import math
from datetime import timedelta

import numpy as np
import pandas as pd

from assets.analyses.events import Event
from assets.analyses.features import Features
from storage.devices import UNITS, with_unit

USUAL_SPREADS = 2.0  # around the median: what a sentence calls usual
SHORT_ROWS = 3  # of an event: it is described by its strangest reading
MIN_SHARE = 0.005  # of the expected value; less is said without percent


def why(event: Event, rows: pd.DataFrame, prepared: Features) -> str:
    """Such as "Current was 2 A (40 %) above what this voltage and power explain, for 2 hours"."""
    times = pd.DatetimeIndex(rows.index)
    lasted = duration((times[event.last] - times[event.first]).to_pytimedelta() + prepared.step)
    if not event.features:
        return f"All metrics held exactly the same values for {lasted}."
    said = _deviation(event, event.features[0], rows, prepared)
    if event.kind == "level_change":
        return f"The device runs otherwise from here on: within {lasted}, {said}."
    return f"{said[0].upper()}{said[1:]}, for {lasted}."


def _deviation(event: Event, name: str, rows: pd.DataFrame, prepared: Features) -> str:
    about, within = prepared.about[name], slice(event.first, event.last + 1)
    centre, spread = float(prepared.centre[name]), float(prepared.spread[name])
    standard = prepared.shown[name].iloc[within].to_numpy()
    # A reading or two may be part of a short event only because of the one beside them.
    size = np.median(np.abs(standard)) if len(standard) > SHORT_ROWS else np.max(np.abs(standard))
    deviation = spread * float(np.sign(np.sum(standard)) * size)
    side = "above" if deviation >= 0 else "below"
    unit = UNITS.get(about.metric, "")
    if about.kind == "ratio":
        return f"power was {_percent(math.expm1(deviation))} {side} what {about.words}"
    if about.kind == "mean":
        return f"{about.words} was {_with_unit(abs(deviation), unit)} {side} what was usual before"
    if about.kind == "residual":
        expected = float(rows[about.metric].iloc[within].median()) - deviation
        amount = _with_unit(abs(deviation), unit)
        if expected > 0 and "temperature" not in about.metric and abs(deviation) >= MIN_SHARE * expected:
            amount += f" ({_percent(deviation / expected)})"
        return f"{about.metric} was {amount} {side} what {about.words}"
    if abs(deviation) <= USUAL_SPREADS * spread:
        return _together(event, prepared)
    low, high = centre - USUAL_SPREADS * spread, centre + USUAL_SPREADS * spread
    if rows[about.metric].min() >= 0 or about.words != about.metric:
        low = max(low, min(0.0, centre))
    usual = f"{_number(low)} to {_with_unit(high, unit)}"
    return f"{about.words} was {_with_unit(centre + deviation, unit)} where {usual} is usual"


def _together(event: Event, prepared: Features) -> str:
    """What is said if even the feature that deviates most is within its usual range."""
    metrics = list(dict.fromkeys(prepared.about[name].metric for name in event.features))
    if len(metrics) == 1:
        return f"{metrics[0]} changed in an unusual way, though its values were usual"
    return f"{', '.join(metrics[:-1])} and {metrics[-1]} were unusual together, though each was as usual by itself"


def duration(lasted: timedelta) -> str:
    """The time in its largest unit, such as "12 minutes"."""
    seconds = lasted.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= (2 * size if unit == "day" else size):
            count = _number(seconds / size)
            return f"{count} {unit}" if count == "1" else f"{count} {unit}s"
    return f"{_number(seconds)} seconds"


def _percent(share: float) -> str:
    return f"{_number(abs(share) * 100)} %"


def _with_unit(value: float, unit: str) -> str:
    return with_unit(_number(value), unit)


def _number(value: float) -> str:
    """With two or more significant digits, never as a power of ten."""
    if value == 0 or not math.isfinite(value):
        return "0"
    digits = max(1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
