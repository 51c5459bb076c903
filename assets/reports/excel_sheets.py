"""How the workbook's cells are written: typed, in the report's time zone, under a header that stays in sight.

Text stays text: nothing that a device or a user wrote becomes a formula or a link.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from assets.reports.formatting import Language

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MAX_TEXT = 32_767  # characters in a cell
# Excel counts days; 1970-01-01 is its day 25,569.
EPOCH_DAY = 25_569
TIME, DATE, COUNT, NUMBER, SHARE, TEXT = "yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd", "#,##0", "#,##0.00", "0.0%", "@"
# Title, width in characters, number format.
Column = tuple[str, int, str]
SAFE_OPTIONS = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1, shown in percent among other numbers."""

    value: float


class Sheets:
    """Adds sheets to a workbook and writes their rows."""

    def __init__(self, book: "Workbook", zone: ZoneInfo, language: Language) -> None:
        self.book = book
        self.language = language
        self.zone = zone
        self.header = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self._formats: dict[str, Format] = {}

    def add(self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]] = ()) -> "Worksheet":
        """A new sheet with a header and these rows."""
        sheet = self.book.add_worksheet(name)
        for i, (_, width, pattern) in enumerate(columns):
            sheet.set_column(i, i, width, self._format(pattern))
        self.write_header(sheet, 0, [title for title, _, _ in columns])
        sheet.freeze_panes(1, 0)
        for number, row in enumerate(rows, 1):
            self.write_row(sheet, number, row)
        return sheet

    def write_header(self, sheet: "Worksheet", number: int, titles: Sequence[str]) -> None:
        """Write a row of titles."""
        for i, title in enumerate(titles):
            sheet.write_string(number, i, title, self.header)

    def write_row(self, sheet: "Worksheet", number: int, values: Sequence[Any]) -> None:
        """Write a row of cells, each in the format of its type. None leaves a cell empty."""
        for i, value in enumerate(values):
            if isinstance(value, str):
                sheet.write_string(number, i, value[:MAX_TEXT])
            elif isinstance(value, datetime):
                local = value.astimezone(self.zone).replace(tzinfo=UTC)
                sheet.write_number(number, i, EPOCH_DAY + local.timestamp() / 86_400, self._format(TIME))
            elif isinstance(value, date):
                sheet.write_number(number, i, EPOCH_DAY + (value - date(1970, 1, 1)).days, self._format(DATE))
            elif isinstance(value, Share):
                sheet.write_number(number, i, value.value, self._format(SHARE))
            elif value is not None:
                sheet.write_number(number, i, value)

    def time_column(self, title: str) -> Column:
        """A column of times on the wall clock of the report's time zone, which its title names."""
        return (f"{title} ({self.zone.key})", 22, TIME)

    def _format(self, pattern: str) -> "Format":
        if pattern not in self._formats:
            self._formats[pattern] = self.book.add_format({"num_format": pattern, "valign": "top"})
        return self._formats[pattern]
