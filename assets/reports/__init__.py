"""Reports of one device or of a fleet over a period, as PDF, HTML, Excel or JSON.

`gather` reads the input from the stores and `build_report` makes the file. The input becomes a `ReportContent` once
(`compose`); JSON is that content, the others are views of it. `gather_fleet` and `FleetContent` are those of a fleet.
"""

from assets.reports.build import FORMATS, Report, build_report
from assets.reports.calendar import due_until, next_due, reported_period
from assets.reports.content import schema
from assets.reports.errors import ReportError
from assets.reports.fleet import FleetInput, FleetMember, combined_hash
from assets.reports.fleet_content import fleet_schema
from assets.reports.fleet_sources import MAX_FLEET_DEVICES, gather_fleet
from assets.reports.inputs import Missing, ReportInput
from assets.reports.look import write_template
from assets.reports.period import WrongPeriod, check_period, file_name
from assets.reports.settings import ReportSettings
from assets.reports.sources import gather
from assets.reports.texts import LANGUAGES, LanguageCode

__all__ = [
    "FORMATS",
    "LANGUAGES",
    "MAX_FLEET_DEVICES",
    "FleetInput",
    "FleetMember",
    "LanguageCode",
    "Missing",
    "Report",
    "ReportError",
    "ReportInput",
    "ReportSettings",
    "WrongPeriod",
    "build_report",
    "check_period",
    "combined_hash",
    "due_until",
    "file_name",
    "fleet_schema",
    "gather",
    "gather_fleet",
    "next_due",
    "reported_period",
    "schema",
    "write_template",
]
