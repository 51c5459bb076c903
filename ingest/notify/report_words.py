"""The words of the message that brings reports, in their language."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from storage.jobs import FLEET, ReportJob
from storage.report_schedules import ReportSchedule


@dataclass(frozen=True)
class ReportWords:
    """Texts in one language; names in braces are put in."""

    frequencies: dict[str, str]
    all_devices: str
    devices: tuple[str, str]
    not_made: str
    nothing_made: str
    span: str
    day: str

    def subject(self, schedule: ReportSchedule) -> str:
        """What the reports of a schedule are about."""
        if schedule.device_id != FLEET:
            return schedule.device_id
        if schedule.device_ids is None:
            return self.all_devices
        return self.devices[len(schedule.device_ids) != 1].format(n=len(schedule.device_ids))

    def announced(self, schedule: ReportSchedule) -> str:
        """The message's first sentence."""
        return self.frequencies[schedule.frequency].format(subject=self.subject(schedule))

    def period(self, start: datetime, end: datetime, zone: ZoneInfo) -> str:
        """The days of a half-open period in the zone."""
        first, last = start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()
        days = [self._written(day) for day in (first, last)]
        return days[0] if first == last else self.span.format(first=days[0], last=days[1])

    def _written(self, day: date) -> str:
        return f"{day:{self.day}}"


_WORDS = {
    "en": ReportWords(
        frequencies={
            "daily": "Daily report of {subject}.",
            "weekly": "Weekly report of {subject}.",
            "monthly": "Monthly report of {subject}.",
        },
        all_devices="all devices",
        devices=("{n} device", "{n} devices"),
        not_made="The {format} file could not be made: {reason}",
        nothing_made="The report could not be made: {reason}",
        span="{first} to {last}",
        day="%Y-%m-%d",
    ),
    "de": ReportWords(
        frequencies={
            "daily": "Täglicher Bericht: {subject}.",
            "weekly": "Wöchentlicher Bericht: {subject}.",
            "monthly": "Monatlicher Bericht: {subject}.",
        },
        all_devices="alle Geräte",
        devices=("{n} Gerät", "{n} Geräte"),
        not_made="Die Datei im Format {format} konnte nicht erstellt werden: {reason}",
        nothing_made="Der Bericht konnte nicht erstellt werden: {reason}",
        span="{first} bis {last}",
        day="%d.%m.%Y",
    ),
}


def report_words(schedule: ReportSchedule, made: list[ReportJob]) -> ReportWords:
    """The words in the language that the reports were made in, else in that of the schedule, else in English."""
    languages = [(job.results or {}).get("provenance", {}).get("language") for job in made]
    return _WORDS[next((code for code in (*languages, schedule.language) if code in _WORDS), "en")]
