"""The workbook's native charts. They refer to cells by sheet, row and column."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.reports.excel_sheets import Column, Sheets

ACCENT, PALE, LINE = "#2b6591", "#9db7ca", "#d9dfe4"
TITLES = {"daily": "excel.energy_per_day", "devices": "excel.ranked"}
SIZE = {"width": 640, "height": 300}  # pixels


def energy_chart(sheets: "Sheets", days: int, columns: "Sequence[Column]") -> Any:
    """A column per day, from the energy in the sheet of days, which has these columns."""
    chart = sheets.book.add_chart({"type": "column"})
    _add_energies(sheets, chart, days, columns, "daily")
    chart.set_legend({"none": True})
    chart.set_x_axis({"date_axis": True, "num_format": "d mmm"})
    chart.set_y_axis({"min": 0, "major_gridlines": {"visible": True, "line": {"color": LINE}}})
    chart.set_size(SIZE)
    return chart


def ranking_chart(sheets: "Sheets", devices: int, columns: "Sequence[Column]") -> Any:
    """A bar for each of the first devices, from the energy in the sheet of devices, which has these columns."""
    chart = sheets.book.add_chart({"type": "bar"})
    _add_energies(sheets, chart, devices, columns, "devices")
    chart.set_legend({"none": True})
    chart.set_y_axis({"reverse": True})
    chart.set_x_axis({"min": 0, "major_gridlines": {"visible": True, "line": {"color": LINE}}})
    chart.set_size({"width": SIZE["width"], "height": 120 + 24 * devices})
    return chart


def duration_chart(sheets: "Sheets", points: int) -> Any:
    """The load that is reached in a share of the time, from the columns of the sheet of the load's duration."""
    say = sheets.language.say
    sheet = say("excel.load_duration")
    chart = sheets.book.add_chart({"type": "area"})
    chart.add_series(
        {
            "name": [sheet, 0, 1],
            "categories": [sheet, 1, 0, points, 0],
            "values": [sheet, 1, 1, points, 1],
            "fill": {"color": PALE},
            "border": {"color": ACCENT, "width": 1.5},
        }
    )
    chart.set_title({"name": say("excel.load_reached"), "name_font": {"size": 11}})
    chart.set_legend({"none": True})
    chart.set_x_axis({"name": say("load.share"), "num_format": "0%", "interval_unit": 10, "interval_tick": 10})
    chart.set_y_axis({"major_gridlines": {"visible": True, "line": {"color": LINE}}})
    chart.set_size(SIZE)
    return chart


def forecast_chart(sheets: "Sheets", points: int, unit: str) -> Any:
    """The expected values and their 95 % range, from the first columns of the sheet of the forecast."""
    sheet = sheets.language.say("excel.forecast")
    chart = sheets.book.add_chart({"type": "line"})
    for column, colour in ((1, ACCENT), (2, PALE), (3, PALE)):
        chart.add_series(
            {
                "name": [sheet, 0, column],
                "categories": [sheet, 1, 0, points, 0],
                "values": [sheet, 1, column, points, column],
                "line": {"color": colour, "width": 1.5},
            }
        )
    chart.set_title({"name": f"{sheet}{unit}", "name_font": {"size": 11}})
    chart.set_legend({"position": "bottom"})
    # As an axis of dates it would have days, with all of a day's hours on one another.
    chart.set_x_axis({"text_axis": True, "num_format": "d mmm hh:mm", "interval_unit": 6, "interval_tick": 6})
    chart.set_size(SIZE)
    return chart


def _add_energies(sheets: "Sheets", chart: Any, rows: int, columns: "Sequence[Column]", of: str) -> None:
    """Draw the energies of a sheet by what its first column names; without doubtful readings, if it has that column."""
    say, titles = sheets.language.say, [column.title for column in columns]
    sheet, trusted = say(f"excel.{of}"), say("excel.without_doubtful")
    title = trusted if trusted in titles else say(TITLES[of])
    column = titles.index(trusted if trusted in titles else say("excel.energy"))
    chart.add_series(
        {
            "name": say("excel.energy"),
            "categories": [sheet, 1, 0, rows, 0],
            "values": [sheet, 1, column, rows, column],
            "fill": {"color": ACCENT},
            "gap": 40,
        }
    )
    chart.set_title({"name": title, "name_font": {"size": 11}})
