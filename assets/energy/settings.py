"""When the site works: SITE_WORKING_HOURS and SITE_HOLIDAYS."""

import re
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, ValidationError

from storage.rules import ActiveHours
from storage.settings import EnvironmentSettings

if TYPE_CHECKING:
    from holidays import HolidayBase

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FORM = "give days and times such as Mon-Fri 06:00-22:00, Sat 08:00-12:00"


def working_hours_of(text: str) -> list[ActiveHours]:
    """The ranges of a text such as `Mon-Fri 06:00-22:00, Sat 08:00-12:00`.

    Raises:
        ValueError: it has another form.

    """
    found = []
    for part in text.replace("\u2013", "-").split(","):
        match = re.fullmatch(r"\s*([A-Za-z]{3})(?:-([A-Za-z]{3}))?\s+(\d\d:\d\d)-(\d\d:\d\d)\s*", part)
        names = [name.lower() for name in match.groups()[:2] if name] if match else []
        if match is None or not set(names) <= set(DAYS):
            raise ValueError(FORM)
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        days = [(first + i) % 7 for i in range((last - first) % 7 + 1)]
        try:
            found.append(ActiveHours.model_validate({"days": days, "from": match[3], "to": match[4]}))
        except ValidationError:
            raise ValueError(FORM) from None
    return found


def _working_hours(text: str) -> str:
    working_hours_of(text)
    return text


def _holidays(text: str) -> str:
    if regions := _parts(text)[1]:
        from holidays import country_holidays  # noqa: PLC0415 - slow to import, and most sites name none

        for region in regions:
            country, _, subdivision = region.partition("-")
            try:
                country_holidays(country, subdiv=subdivision or None)
            except NotImplementedError:
                raise ValueError(
                    f"{region!r} is not a date, nor a country or region of the package holidays, such as DE or DE-BY"
                ) from None
    return text


def _parts(text: str) -> tuple[set[date], list[str]]:
    """The dates, and the countries or regions, that are named."""
    dates, regions = set(), []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            dates.add(date.fromisoformat(part))
        except ValueError:
            regions.append(part)
    return dates, regions


class SiteSettings(EnvironmentSettings):
    """When the site works, for devices that do not say so themselves."""

    site_working_hours: Annotated[str, AfterValidator(_working_hours)] = "Mon-Fri 06:00-22:00"
    site_holidays: Annotated[str, AfterValidator(_holidays)] = ""

    @cached_property
    def working_hours(self) -> list[ActiveHours]:
        return working_hours_of(self.site_working_hours)

    def is_holiday(self, day: date) -> bool:
        return day in self._dates or any(day in calendar for calendar in self._calendars)

    @cached_property
    def _dates(self) -> set[date]:
        return _parts(self.site_holidays)[0]

    @cached_property
    def _calendars(self) -> "list[HolidayBase]":
        regions = _parts(self.site_holidays)[1]
        if not regions:
            return []
        from holidays import country_holidays  # noqa: PLC0415 - as above

        named = (region.partition("-") for region in regions)
        return [country_holidays(country, subdiv=subdivision or None) for country, _, subdivision in named]
