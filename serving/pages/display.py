"""Figures as people read them: three digits that matter, a prefix that fits, the unit beside them."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from storage.devices import UNITS
from storage.times import midnight, utc_now

# Between a number and its unit, and between a number's thousands: a line never ends there.
BLANK, THIN = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
NOTHING = "\N{EN DASH}"
PREFIXED = {
    "W": ("W", "kW", "MW", "GW"),
    "kWh": ("Wh", "kWh", "MWh", "GWh"),
    "B": ("B", "kB", "MB", "GB", "TB"),
    "s": ("ms", "s"),
}
# The prefix that a unit stands with in `PREFIXED`.
OWN_PREFIX = {"kWh": 1, "s": 1}
MAX_DIGITS = 9
# Larger numbers are written with an exponent: nobody reads so many digits, and a float does not have them.
MAX_WRITTEN_OUT = 1e12
# Datasets name no unit of the others, but the names leave no doubt.
KNOWN_UNITS = {**UNITS, "reactive_power": "var", "apparent_power": "VA", "frequency": "Hz"}
AGES = {"age": " ago", "since": " so far"}
SPANS = ((86_400 * 2, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))


def number(value: float | None, unit: str = "", *, digits: int = 3) -> str:
    """The number with so many digits that matter, and its unit: `1.23 kW`; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if unit in PREFIXED and value:
        value, unit = _prefixed(value, unit)
    text = _digits(value, digits)
    return f"{text}{BLANK}{unit}" if unit and unit != "1" else text


def metric(value: float | None, name: str, apart_from: float | None = None) -> str:
    """A value of a metric, with the unit that the metric has, and with the digits that tell it from another value."""
    return quantity(value, KNOWN_UNITS.get(name, ""), digits=_digits_apart(value, apart_from))


def told_apart(value: float | None, other: float | None, unit: str) -> str:
    """A number with as many digits as tell it from another one."""
    return number(value, unit, digits=_digits_apart(value, other))


def quantity(value: float | None, unit: str, *, digits: int = 3) -> str:
    """A measured value; in the browser a temperature becomes one in the reader's unit."""
    text = number(value, unit, digits=digits)
    if unit != "°C" or value is None:
        return text
    return Markup('<data value="{}" data-unit="{}">{}</data>').format(value, unit, text)


def percent(share: float | None) -> str:
    """A share of 0 to 1 in percent. Nearly nothing is not rounded to 0 %, nor nearly all to 100 %."""
    if share is None:
        return NOTHING
    if 0 < share < 0.0005:
        return f"< 0.1{BLANK}%"
    if 0.9995 <= share < 1:
        return f"> 99.9{BLANK}%"
    return f"{share * 100:.1f}".removesuffix(".0") + f"{BLANK}%"


def duration(seconds: float | None) -> str:
    """A length of time in its largest unit: `3 min`, `2 d`."""
    if seconds is None:
        return NOTHING
    size, name = next((size, name) for least, size, name in SPANS if abs(seconds) >= least)
    return f"{round(seconds / size)}{BLANK}{name}"


def time(moment: datetime | None, kind: str = "time", zone: str = "") -> str:
    """An element with a time; in the browser it becomes local time, or that of `zone`, with UTC on hover.

    `kind`: `time`, `day`, `age` for how long ago it is, or `since` for how long something has lasted so far.
    """
    if moment is None:
        return NOTHING
    utc = moment.astimezone(UTC)
    text = f"{utc:%Y-%m-%d %H:%M}{BLANK}UTC"
    if zone:
        text = f"{utc.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
    elif kind in AGES:
        text = duration((utc_now() - utc).total_seconds()) + AGES[kind]
    title = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    in_zone = Markup(' data-zone="{}"').format(zone) if zone else ""
    return Markup('<time datetime="{}" data-time="{}"{} title="{}">{}</time>').format(
        f"{utc:%Y-%m-%dT%H:%M:%S.%fZ}", kind, in_zone, title, text
    )


def days(start: datetime, end: datetime, zone: str = "UTC") -> str:
    """The days of a half-open range, the last one included: of UTC or of `zone` if it begins and ends with them.

    Others are days of the reader's zone.
    """
    ends = [start, max(start, end - timedelta(microseconds=1))]
    shown: list[str] = [time(moment, "day") for moment in ends]
    for clock in (UTC, ZoneInfo(zone)):
        if all(midnight(moment.astimezone(clock).date(), clock) == moment for moment in (start, end)):
            dates = [moment.astimezone(clock).date() for moment in ends]
            shown = [Markup('<time datetime="{0}" data-time="date">{0}</time>').format(date) for date in dates]
            break
    return Markup(" \N{EN DASH} ").join(shown if shown[0] != shown[1] else shown[:1])


def source(name: str | None) -> str:
    """What an energy was worked out from: `integral:power`, or `counter:` and its name."""
    return (name or "nothing").replace("integral:power", "its power").replace("counter:", "the counter ")


def moment(text: str) -> datetime:
    """The time that a result names as text."""
    return datetime.fromisoformat(text)


def words(name: Any) -> str:
    """A name of the API's as words: `failure_prediction` is `failure prediction`."""
    return str(name).replace("_", " ").replace("-", " ")


def analysis_name(kind: str) -> str:
    """A kind of analysis as people call it."""
    return {"anomaly": "unusual behaviour", "prediction": "risk of a failure"}.get(kind, kind)


def format_name(name: str) -> str:
    """The format of a report as people write it: `PDF`, `Excel`."""
    return "Excel" if name == "excel" else name.upper()


def short(identifier: UUID | str) -> str:
    """The beginning of a long id, enough to tell it from others."""
    return str(identifier)[:8]


def sparkline(values: Sequence[float | None], label: str) -> str:
    """A small line chart for beside a figure; where nothing is known the line is broken."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup('<span class="muted">no data</span>')
    low, high = min(known), max(known)
    # What differs by less than sums of floats do is equal.
    scale = 26 / (high - low) if high - low > 1e-6 * max(abs(high), abs(low)) else 0.0
    step = 100 / max(1, len(values) - 1)
    path, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        height = 29 - (value - low) * scale if scale else 15.0
        path.append(f"{pen}{index * step:.1f} {height:.1f}")
        pen = "L"
    # A point between two gaps would not be seen: a line of no length with round ends is a dot.
    path = [f"{part}h0" if part[0] == "M" else part for part in path]
    shape = escape("".join(path))
    return Markup(
        '<svg class="sparkline" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path d="{}"/></svg>'
    ).format(label, shape)


def strip(counts: Sequence[int], label: str) -> str:
    """A bar for each day, beside a figure; a day without any is a line at the ground."""
    width, most = 100 / max(1, len(counts)), max([1, *counts])
    bars = Markup("").join(
        Markup('<rect x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}"/>').format(
            i * width, 31 - (30 * count / most if count else 0), width * 0.8, 1 + (30 * count / most if count else 0)
        )
        for i, count in enumerate(counts)
    )
    return Markup(
        '<svg class="sparkline strip" viewBox="0 0 100 32" preserveAspectRatio="none" role="img" aria-label="{}">{}'
        "</svg>"
    ).format(label, bars)


def _digits_apart(value: float | None, other: float | None) -> int:
    digits = 3
    while value is not None and other not in (None, value) and digits < MAX_DIGITS:
        if f"{value:.{digits}g}" != f"{other:.{digits}g}":
            break
        digits += 1
    return digits


def _prefixed(value: float, unit: str) -> tuple[float, str]:
    names, index = PREFIXED[unit], OWN_PREFIX.get(unit, 0)
    while abs(value) >= 999.5 and index + 1 < len(names):
        value, index = value / 1000, index + 1
    while abs(value) < 0.9995 and index > 0:
        value, index = value * 1000, index - 1
    return value, names[index]


def _digits(value: float, digits: int) -> str:
    if abs(value) >= MAX_WRITTEN_OUT:
        return f"{value:.{digits - 1}e}"
    if value == int(value):
        return f"{int(value):,}".replace(",", THIN)
    if abs(value) >= 10**digits:
        return f"{round(value):,}".replace(",", THIN)
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "metric": metric,
    "quantity": quantity,
    "percent": percent,
    "duration": duration,
    "time": time,
    "days": days,
    "source": source,
    "moment": moment,
    "words": words,
    "analysis_name": analysis_name,
    "format_name": format_name,
    "short": short,
    "sparkline": sparkline,
    "strip": strip,
}
