"""How a report writes numbers, times and names in its language. The template has these methods as its filters."""

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from assets.reports.texts import LanguageCode, Texts

if TYPE_CHECKING:
    from babel import Locale

    from assets.reports.content import Kpi, Period
    from assets.reports.sections import Compared, EnergyRow

# A unit stays with its number: U+00A0 between them.
SPACE = "\u00a0"
DASH = "\u2013"
MINUS = "\u2212"
MANY = 1e7
# Key figures that are a share from 0 to 1.
SHARES = ("voltage_outside_band", "completeness", "outside_working_hours_share", "base_load_share")
MONDAY = date(2024, 1, 1)
# What stands at the end of a metric's name: a phase, or a unit.
_PHASE = re.compile(r"_(l[123](?:_?n)?)$")
_UNIT = re.compile(r"_(?:[kmg]?wh|k?varh|[kmg]?w|k?va|k?var|m?v|m?a|hz|bar|mbar|m3|c|degc|rpm|pct|percent)$")
_SCALES = {
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W")),
    "kWh": ((1e4, "MWh"), (1.0, "kWh")),
}


class Language:
    """A report's language: its texts, and how it writes numbers and dates."""

    def __init__(self, code: LanguageCode, texts: Texts) -> None:
        self.code = code
        self.texts = texts

    def say(self, key: str, **values: object) -> str:
        """The text of a key; numbers among its values are written as `plain` does."""
        return self.texts.say(key, **{name: self._written(value) for name, value in values.items()})

    def name_of(self, kind: str, name: str) -> str:
        """The text of a kind's name, such as `severity` and `high`; the name itself if there is none."""
        key = f"{kind}.{name}"
        return self.say(key) if key in self.texts else name.replace("_", " ")

    def _written(self, value: object) -> object:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.plain(value) if is_number else value  # type: ignore[arg-type] # mypy does not follow is_number

    @cached_property
    def _locale(self) -> "Locale":
        from babel import Locale  # noqa: PLC0415 - most processes make no reports

        return Locale.parse(self.code)

    @cached_property
    def _separators(self) -> dict[int, str]:
        from babel.numbers import get_decimal_symbol, get_group_symbol  # noqa: PLC0415 - as above

        return {
            ord(","): get_group_symbol(self._locale),
            ord("."): get_decimal_symbol(self._locale),
            ord("-"): MINUS,
        }

    def number(self, value: float, digits: int) -> str:
        """A number with that many digits after the point."""
        return f"{value:,.{digits}f}".translate(self._separators)

    def figure(self, value: float | None) -> str:
        """A measured number, with as many digits as a person needs. None is a dash."""
        if value is None:
            return DASH
        size = abs(value)
        digits = 0 if size >= 1000 or size == 0 else 1 if size >= 10 else 2 if size >= 1 else 3
        if 0 < size < 0.1:  # two digits that say something, and no more than people can read
            digits = min(1 - math.floor(math.log10(size)), 6)
        if size < 5e-7 and size:
            return f"{value:.2g}".translate(self._separators)
        return self.number(value, digits)

    def compact(self, value: float | None) -> str:
        """A measured number for a narrow column: `figure`, with millions as such from ten of them on."""
        if value is None or abs(value) < MANY:
            return self.figure(value)
        from babel.numbers import format_compact_decimal  # noqa: PLC0415 - as above

        return str(format_compact_decimal(value, locale=self._locale, fraction_digits=1)).replace("-", MINUS)

    def plain(self, value: float | None) -> str:
        """A number that people set or counted, such as a limit, as they would write it. None is a dash."""
        return DASH if value is None else f"{value:,.10g}".translate(self._separators)

    def quantity(self, value: float | None, unit: str) -> str:
        """A value with its unit. W and kWh take the multiple that suits the value; the unit `1` is left out."""
        if value is None:
            return DASH
        if unit in _SCALES:
            factor, unit = next((f, u) for f, u in _SCALES[unit] if abs(value) >= f or f == 1.0)
            value = value / (1000.0 if unit == "MWh" else factor)
        return self.figure(value) + (SPACE + unit if unit not in ("", "1") else "")

    def percent(self, share: float | None) -> str:
        """A share (0 to 1) in percent. A share just below one is never rounded up to 100 %."""
        if share is None:
            return DASH
        shown = round(share * 100, 1) + 0.0  # without the sign of -0.0
        if share < 1 and shown == 100:
            shown = 99.9
        if share > 0 and shown == 0:
            return self.say("number.under", number=self.number(0.1, 1) + f"{SPACE}%")
        return f"{shown:.1f}".removesuffix(".0").translate(self._separators) + f"{SPACE}%"

    def change(self, share: float | None) -> str:
        """A relative change in whole percent with its sign, such as `+12 %`. None is a dash."""
        if share is None:
            return DASH
        shown = round(share * 100)
        sign = "+" if shown > 0 else "±" if shown == 0 else ""
        return f"{sign}{self.number(shown, 0)}{SPACE}%"

    def points(self, difference: float | None) -> str:
        """A difference of two shares in percentage points with its sign, such as `+1.5 % points`. None is a dash."""
        if difference is None:
            return DASH
        shown = round(difference * 100, 1) + 0.0  # without the sign of -0.0
        sign = "+" if shown > 0 else "±" if shown == 0 else ""
        written = f"{shown:.1f}".removesuffix(".0").translate(self._separators)
        return self.say("number.points", number=f"{sign}{written}{SPACE}")

    def compared(self, figure: "Compared | None") -> str:
        """How a key figure differs from an earlier one: a share by percentage points, others relatively."""
        if figure is None:
            return DASH
        return self.points(figure.difference) if figure.key in SHARES else self.change(figure.change)

    def kpi(self, kpi: "Kpi | Compared") -> str:
        """The value of a key figure with its unit."""
        return self.value_of(kpi.key, kpi.value, kpi.unit)

    def value_of(self, key: str, value: float | None, unit: str) -> str:
        """The value of the key figure with this key, with its unit."""
        if value is None:
            return DASH
        if key in SHARES:
            return self.percent(value)
        if key == "load_factor":
            return self.number(value, 2)
        if unit == "V":
            return f"{self.number(value, 1)}{SPACE}V"
        return self.quantity(value, unit)

    def caveat(self, kpi: "Kpi") -> str | None:
        """What to know of a key figure: its note, or what readings that may be wrong would make of it."""
        if kpi.without_doubtful is None:
            return kpi.note
        if kpi.shown is kpi:
            without = self.value_of(kpi.key, kpi.without_doubtful.value, kpi.unit)
            return self.say("note.counted", without=without)
        return self.say("note.left_out", counted=self.value_of(kpi.key, kpi.value, kpi.unit))

    def duration(self, seconds: float) -> str:
        """A length of time in its two largest units, rounded to the smaller one."""
        exact = round(seconds, 1)
        if exact < 60:
            return f"{self.plain(exact)}{SPACE}s"
        smaller = next(part for size, part in ((86_400, 3600), (3600, 60), (60, 1)) if exact >= size)
        rest, words = round(exact / smaller) * smaller, []
        for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
            number, rest = divmod(rest, size)
            if number:
                words.append(f"{self.plain(number)}{SPACE}{unit}")
        return " ".join(words)

    def hours(self, hours: float) -> str:
        """A number of hours: with its minutes below a day, else whole, since people add them up over days."""
        return self.duration(hours * 3600) if hours < 24 else f"{self.number(hours, 0)}{SPACE}h"

    def interval(self, seconds: float) -> str:
        """How often something comes: `every minute`, `every 15 min`."""
        key = f"interval.{round(seconds)}"
        if round(seconds, 1) == round(seconds) and key in self.texts:
            return self.say(key)
        return self.say("interval.other", duration=self.duration(seconds))

    def count(self, number: int, thing: str) -> str:
        """The number with the noun of that key in its singular or plural."""
        return self.say(f"count.{thing}.{'one' if number == 1 else 'other'}", n=number)

    def tally(self, counts: Mapping[str, int], kind: str) -> str:
        """The numbers by name, such as `5 high, 2 low`; `kind` is that of the names."""
        return ", ".join(f"{self.plain(number)} {self.name_of(kind, name)}" for name, number in counts.items())

    def enumerated(self, names: list[str]) -> str:
        """The names in a row: `a, b and c`."""
        if len(names) < 2:
            return "".join(names)
        return self.say("list.and", first=", ".join(names[:-1]), last=names[-1])

    def dated(self, day: date, pattern: str) -> str:
        """A day in one of the `format` patterns."""
        from babel.dates import format_date  # noqa: PLC0415 - as above

        return str(format_date(day, self.say(f"format.{pattern}"), locale=self._locale))

    def day(self, day: date) -> str:
        """A day without its year, such as `Sat 23 Dec`."""
        return self.dated(day, "day")

    def month(self, day: date) -> str:
        """The month of a day, such as `December 2006`."""
        return self.dated(day, "month")

    def clock(self, moment: datetime | None, zone: ZoneInfo) -> str:
        """A time on the zone's wall clock without its year, such as `Sat 23 Dec, 23:36`. None is a dash."""
        if moment is None:
            return DASH
        local = moment.astimezone(zone)
        return f"{self.day(local.date())}, {local:%H:%M}"

    def date_time(self, moment: datetime, zone: ZoneInfo) -> str:
        """A time on the zone's wall clock, such as `23 Dec 2006, 23:36`."""
        local = moment.astimezone(zone)
        return f"{self.dated(local.date(), 'date')}, {local:%H:%M}"

    def period(self, period: "Period") -> str:
        """The period on the zone's wall clock; whole days are written without hours."""
        zone = ZoneInfo(period.tz)
        # People write 23:59:59 for the end of a day.
        start, end = period.start.astimezone(zone), (period.end + timedelta(seconds=1)).astimezone(zone)
        if f"{start:%H%M%S}" != "000000" or f"{end:%H%M}" != "0000":
            return f"{self.date_time(period.start, zone)} {DASH} {self.date_time(period.end, zone)}"
        last = end.date() - timedelta(days=1)
        if start.date() == last:
            return self.dated(last, "long")
        if start.year != last.year:
            begin = self.dated(start.date(), "long")
        else:
            begin = self.dated(start.date(), "day_number" if start.month == last.month else "day_month")
        return f"{begin} {DASH} {self.dated(last, 'long')}"

    def zone(self, period: "Period") -> str:
        """The time zone with its offsets at the start and the end of the period."""
        zone = ZoneInfo(period.tz)
        names = self.enumerated(sorted({_offset(moment.astimezone(zone)) for moment in (period.start, period.end)}))
        return period.tz if period.tz == names else f"{period.tz} ({names})"

    def energy_label(self, row: "EnergyRow", unit: str, zone: ZoneInfo) -> str:
        """The name of a day, week or month of energy; a day that is not of 24 hours has its length."""
        day = row.start.astimezone(zone).date()
        if unit == "month":
            return self.month(day)
        if unit == "week":
            return self.say("energy.week_of", day=self.dated(day, "short"))
        return self.day(day) + ("" if row.hours == 24 else f" ({self.plain(round(row.hours, 1))}{SPACE}h)")

    def weekday(self, number: int) -> str:
        """The name of a weekday; 0 is Monday."""
        return self.dated(MONDAY + timedelta(days=number), "weekday_long")

    def state(self, name: str) -> str:
        """A machine's state with a capital."""
        words = self.name_of("state", name)
        return words[:1].upper() + words[1:]

    def metric(self, metric: str | None) -> str:
        """A metric's name for people: without the unit at its end, which stands beside it. None is a dash."""
        if metric is None:
            return DASH
        phase = _PHASE.search(metric)
        name = metric.removesuffix(phase[0]) if phase else metric
        bare = _UNIT.sub("", name)
        known = name if f"metric.{name}" in self.texts or f"metric.{bare}" not in self.texts else bare
        return self.name_of("metric", known) + (f"{SPACE}{phase[1].upper().replace('_', '-')}" if phase else "")

    def title(self, metric: str | None) -> str:
        """A metric's name with a capital, as a heading has it."""
        name = self.metric(metric)
        return name[:1].upper() + name[1:]


def _offset(local: datetime) -> str:
    hours, minutes = f"{local:%z}"[:3], f"{local:%z}"[3:5]
    return "UTC" if hours + minutes == "+0000" else f"UTC{hours}" + ("" if minutes == "00" else f":{minutes}")
