"""Times as files write them: ISO 8601, numbers since 1970, formats of `strptime`, and local times of a zone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ingest.intake.decode import EARLIEST
from storage.times import iso8601, microseconds

MILLISECONDS_PER_UNIT = {"s": 1e3, "ms": 1.0, "us": 1e-3}

_number = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+]?\d+)?", re.ASCII)
_end_of_day = re.compile(r"(?<!\d)24:00(?=$|\D)(:00)?(?!\d)")
_dotted = re.compile(r"\d{1,2}\.\d{1,2}\.(\d{4}|\d{2})(,? +\d{1,2}:\d{2}(:\d{2})?)?")
_slashed = re.compile(r"\d{1,2}/\d{1,2}/(\d{4}|\d{2})(,? +\d{1,2}:\d{2}(:\d{2})?( *[AaPp][Mm])?)?")


class UnreadableTime(ValueError):
    """A time that cannot be read; the message says why."""


@dataclass(frozen=True)
class TimeFormat:
    """How a file writes times. `zone` is the zone of those without an offset, `pattern` a format of `strptime`."""

    unit: str = "ms"
    pattern: str | None = None
    zone: ZoneInfo | None = None

    def parse(self, value: Any) -> float | datetime:
        """Milliseconds since 1970, or a datetime that may have no offset.

        Raises:
            UnreadableTime: it is neither.

        """
        if isinstance(value, datetime):
            return value
        text = value.strip() if isinstance(value, str) else value
        if text is None or text == "":
            raise UnreadableTime("timestamp is missing")
        if isinstance(text, str):
            if self.pattern is not None:
                return self._by_pattern(text, self.pattern)
            if not _number.fullmatch(text):
                try:
                    return iso8601(text)
                except (ValueError, OverflowError):
                    advice = f"set --time-format {format_hint(text) or 'to its format'}, or write ISO 8601"
                    raise UnreadableTime(f"timestamp {text!r:.60} cannot be read: {advice}") from None
        elif isinstance(text, bool) or not isinstance(text, int | float):
            raise UnreadableTime(f"timestamp {text!r:.60} cannot be read")
        return float(text) * MILLISECONDS_PER_UNIT[self.unit]

    @staticmethod
    def _by_pattern(text: str, pattern: str) -> datetime:
        try:
            return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is known elsewhere
        except ValueError:
            midnight, ends = _end_of_day.subn(lambda match: f"00:00{match[1] or ''}", text)
            if ends:
                try:
                    return datetime.strptime(midnight, pattern) + timedelta(days=1)  # noqa: DTZ007 - as above
                except (ValueError, OverflowError):
                    pass
            raise UnreadableTime(f"timestamp {text!r:.60} cannot be read as {pattern}") from None


@dataclass(frozen=True)
class Half:
    """In which half of a repeated hour (0 or 1) rows are that pass it only once, and whether the file shows that."""

    lines: range
    fold: int
    is_known: bool


def both_moments(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The moments in UTC that a local time may mean.

    They are equal if the zone has that time once, in order if it repeats it, and the other way round if it skips it.

    Raises:
        OverflowError: they are beyond what a datetime can be.

    """
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


class LocalTimes:
    """Finds the moments of one device's local times, in the order of the file.

    In the hour that a zone repeats in autumn, a time that was passed already is in the other half: the second one in a
    file that ascends, the first one in a file that descends. Rows that pass the hour once are in the half that `halves`
    says.
    """

    def __init__(self, zone: ZoneInfo, *, descending: bool, halves: Sequence[Half] = ()) -> None:
        self._zone = zone
        self._halves = halves
        self._descending = descending
        self._last: datetime | None = None  # of the repeated hour that the last row was in
        self._fold = 0

    def resolve(self, local: datetime, line: int = 0) -> datetime:
        """The moment of a local time that stands in a line of the file, in UTC.

        Raises:
            UnreadableTime: the zone skips it in spring.

        """
        try:
            moment, other = both_moments(local, self._zone)
        except OverflowError:
            raise UnreadableTime(f"timestamp {local} is out of range") from None
        if moment == other:
            self._last = None
            return moment
        if moment > other:
            raise UnreadableTime(f"timestamp {local} is a non-existing local time, which {self._zone.key} skips")
        if self._last is None or abs(local - self._last) > other - moment:
            half = next((half for half in self._halves if line in half.lines), None)
            self._fold = half.fold if half else int(self._descending)
        elif (local >= self._last) if self._descending else (local <= self._last):
            self._fold = 0 if self._descending else 1
        self._last = local
        return other if self._fold else moment


def format_hint(text: str) -> str | None:
    """The format of `strptime` that a text seems to have."""
    for pattern, day in ((_dotted, "%d.%m."), (_slashed, "%d/%m/")):
        if match := pattern.fullmatch(text):
            year = "%Y" if len(match[1]) == 4 else "%y"
            twelve = text[-1] in "mM"
            comma = "," if "," in text else ""
            clock = "%I:%M" if twelve else "%H:%M"
            clock += ":%S" if match[3] else ""
            clock += f"{' ' if text[-3] == ' ' else ''}%p" if twelve else ""
            hint = f"'{day}{year}{f'{comma} {clock}' if match[2] else ''}'"
            return hint if day == "%d.%m." else f"{hint} or {hint.replace('%d/%m', '%m/%d')}"
    return None


def unit_hint(value: float, now: datetime) -> str | None:
    """The unit that makes a number of milliseconds a time between 2000 and now, if another one does."""
    for unit, factor in MILLISECONDS_PER_UNIT.items():
        if EARLIEST <= value * factor * 1000 <= microseconds(now):
            return unit
    return None
