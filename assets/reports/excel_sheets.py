"""How the workbook's cells are written: typed, in the report's time zone, under a header that stays in sight.

Text stays text: nothing that a device or a user wrote becomes a formula or a link. A sheet prints on pages of A4 that
are as wide as it is.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from assets.reports.formatting import Language
from storage.arrays import Floats

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MAX_TEXT = 32_767  # characters in a cell
# Excel counts days; 1970-01-01 is its day 25,569.
EPOCH_DAY = 25_569
TIME, DATE, COUNT, SHARE, TEXT = "yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd", "#,##0", "0.0%", "@"
# Numbers of a column, with as many digits as the largest of them needs.
NUMBER = "number"
SAFE_OPTIONS = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
A4 = 9
# Of a row of one line in points; and how much of a header its filter takes, in characters.
LINE_POINTS, MAX_LINES, FILTER_BUTTON = 15, 20, 3
TABLE_STYLE = "Table Style Light 1"


class Column(NamedTuple):
    """A column of a table: its title, its width in characters, and the format of its cells."""

    title: str
    width: int
    pattern: str


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1, shown in percent among other numbers."""

    value: float


@dataclass(frozen=True)
class Alone:
    """A number with digits of its own, in a column whose numbers are not alike."""

    value: float


@dataclass(frozen=True)
class Wide:
    """A longer text, which the cells to its right leave their place: so many columns together."""

    text: str
    columns: int = 3


def number_pattern(values: Iterable[float | None]) -> str:
    """The format of numbers that stand together: whole ones without digits, others with four significant ones."""
    return array_pattern(np.array([value for value in values if value is not None], np.float64))


def _pattern(values: Iterable[Any]) -> str:
    """The format of the numbers of a column that have none of their own."""
    return number_pattern(value for value in values if isinstance(value, int | float))


def array_pattern(values: Floats) -> str:
    """The same of an array, in which what is not finite is missing."""
    known = np.abs(values[np.isfinite(values)])
    largest = known.max(initial=0.0)
    if largest >= 10_000 or (known == np.floor(known)).all():
        return COUNT
    digits = 1 if largest >= 100 else 2 if largest >= 10 else 3 if largest >= 1 else 4
    return f"#,##0.{'0' * digits}"


class Sheets:
    """Adds sheets to a workbook and writes their rows."""

    def __init__(self, book: "Workbook", zone: ZoneInfo, language: Language) -> None:
        self.book = book
        self.language = language
        self.zone = zone
        self.header = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self._formats: dict[str, Format] = {}
        self._widths: dict[str, Sequence[int]] = {}

    def page(self, name: str, widths: Sequence[int]) -> "Worksheet":
        """A new sheet with columns of these widths, which prints one page wide."""
        sheet = self.book.add_worksheet(name)
        self._widths[name] = widths
        for i, width in enumerate(widths):
            sheet.set_column(i, i, width, self.format(TEXT))
        sheet.set_paper(A4)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.5, right=0.5, top=0.6, bottom=0.7)
        sheet.set_footer(f"&L&A&R{self.language.say('masthead.page')} &P {self.language.say('masthead.of')} &N")
        return sheet

    def table(
        self, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]], *, empty: str = ""
    ) -> "Worksheet":
        """A new sheet with these rows as an Excel table; without rows it says `empty`."""
        cells = list(rows)
        columns = [
            column._replace(pattern=_pattern(row[i] for row in cells)) if column.pattern == NUMBER else column
            for i, column in enumerate(columns)
        ]
        sheet = self.open_table(name, columns, len(cells))
        for number, row in enumerate(cells, 1):
            self.write_row(sheet, number, row, in_table=True)
        if not cells:
            sheet.write_string(1, 0, empty or self.language.say("list.none"), self.format("note"))
        return sheet

    def note(self, sheet: "Worksheet", rows: int, text: str) -> None:
        """Write a note below a table of so many rows, with an empty row between them."""
        sheet.write_string(rows + 2, 0, text, self.format("note"))

    def open_table(self, name: str, columns: Sequence[Column], rows: int) -> "Worksheet":
        """A new sheet with an Excel table of so many rows, which are not yet written."""
        sheet = self.page(name, [column.width for column in columns])
        for i, column in enumerate(columns):
            sheet.set_column(i, i, column.width, self.format(column.pattern))
        titles = _distinct([column.title for column in columns])
        if rows:
            self._make_table(sheet, titles, rows)
        self.write_header(sheet, 0, titles)
        sheet.freeze_panes(1, 0)
        sheet.repeat_rows(0)
        return sheet

    def _make_table(self, sheet: "Worksheet", titles: Sequence[str], rows: int) -> None:
        """Declare the sheet's first rows a table, with filters in its header.

        XlsxWriter refuses tables of sheets that it writes row by row, since it would write the header itself and keeps
        a note of each cell. So it makes a table of two rows, which then gets its true range.
        """
        from xlsxwriter.utility import xl_range  # noqa: PLC0415 - JSON and PDF need not load it

        columns = [{"header": title, "header_format": self.header} for title in titles]
        name = f"Table_{len(self.book.worksheets())}"
        sheet.constant_memory = False
        sheet.add_table(0, 0, 1, len(titles) - 1, {"name": name, "columns": columns, "style": TABLE_STYLE})
        sheet.constant_memory = True
        (table,) = sheet.tables
        table["range"] = table["a_range"] = table["autofilter"] = xl_range(0, 0, rows, len(titles) - 1)

    def write_header(self, sheet: "Worksheet", number: int, titles: Sequence[str]) -> None:
        """Write a row of titles."""
        self._fit(sheet, number, titles, spare=FILTER_BUTTON)
        for i, title in enumerate(titles):
            sheet.write_string(number, i, title, self.header)

    def write_row(self, sheet: "Worksheet", number: int, values: Sequence[Any], *, in_table: bool = False) -> None:
        """Write a row of cells, each in the format of its type; numbers of a table have that of their column.

        None leaves a cell empty.
        """
        self._fit(sheet, number, values)
        for i, value in enumerate(values):
            if isinstance(value, str):
                sheet.write_string(number, i, value[:MAX_TEXT])
            elif isinstance(value, datetime):
                local = value.astimezone(self.zone).replace(tzinfo=UTC)
                sheet.write_number(number, i, EPOCH_DAY + local.timestamp() / 86_400, self.format(TIME))
            elif isinstance(value, date):
                sheet.write_number(number, i, EPOCH_DAY + (value - date(1970, 1, 1)).days, self.format(DATE))
            elif isinstance(value, Wide):
                last = i + value.columns - 1
                sheet.merge_range(number, i, number, last, value.text[:MAX_TEXT], self.format(TEXT))
            elif isinstance(value, Alone):
                sheet.write_number(number, i, value.value, self.format(number_pattern([value.value])))
            elif isinstance(value, Share):
                sheet.write_number(number, i, value.value, self.format(SHARE))
            elif value is not None:
                sheet.write_number(number, i, value, None if in_table else self.format(number_pattern([value])))

    def _fit(self, sheet: "Worksheet", number: int, values: Sequence[Any], spare: int = 0) -> None:
        """Make a row as high as its wrapped texts need. Excel does that itself, other programs do not."""
        widths, lines = self._widths[sheet.name], 1
        for i, value in enumerate(values):
            if isinstance(value, Wide):
                lines = max(lines, math.ceil(len(value.text) / sum(widths[i : i + value.columns])))
            elif isinstance(value, str):
                lines = max(lines, math.ceil(len(value) / max(widths[i] - spare, 4)))
        if lines > 1:
            sheet.set_row(number, LINE_POINTS * min(lines, MAX_LINES))

    def time_column(self, title: str) -> Column:
        """A column of times on the wall clock of the report's time zone, which its title names."""
        return Column(f"{title} ({self.zone.key})", 20, TIME)

    def format(self, pattern: str) -> "Format":
        """The cell format of a pattern. Text is wrapped; a note is muted."""
        if pattern not in self._formats:
            options: dict[str, Any] = {"num_format": pattern, "valign": "top"}
            if pattern == TEXT:
                options |= {"text_wrap": True, "align": "left", "indent": 1}
            if pattern == "note":
                options = {"italic": True, "font_color": "#5f6b76"}
            if pattern in (TIME, DATE):
                options |= {"align": "left", "indent": 1}
            self._formats[pattern] = self.book.add_format(options)
        return self._formats[pattern]


def _distinct(titles: Sequence[str]) -> list[str]:
    """The titles; those that come again, whatever their capitals, have a number, as a table's columns need."""
    found: list[str] = []
    seen: set[str] = set()
    for title in titles:
        name, number = title, 2
        while name.lower() in seen:
            name, number = f"{title} {number}", number + 1
        seen.add(name.lower())
        found.append(name)
    return found
