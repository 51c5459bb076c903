"""Reports of one device over a period, as PDF, Excel or JSON.

`gather` reads the input from the stores and `build_report` makes the file. The input becomes a `ReportContent` once
(`compose`); JSON is that content, PDF and Excel are views of it.
"""

from assets.reports.build import FORMATS, Report, build_report
from assets.reports.calendar import due_until, next_due, reported_period
from assets.reports.content import schema
from assets.reports.errors import ReportError
from assets.reports.inputs import ReportInput
from assets.reports.period import WrongPeriod, check_period, file_name
from assets.reports.settings import ReportSettings
from assets.reports.sources import gather

__all__ = [
    "FORMATS",
    "Report",
    "ReportError",
    "ReportInput",
    "ReportSettings",
    "WrongPeriod",
    "build_report",
    "check_period",
    "due_until",
    "file_name",
    "gather",
    "next_due",
    "reported_period",
    "schema",
]
