"""The workbook's native charts. They refer to cells by sheet, row and column."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlsxwriter.workbook import Workbook

ACCENT, PALE, LINE = "#2b6591", "#9db7ca", "#d9dfe4"
SIZE = {"width": 640, "height": 300}  # pixels


def energy_chart(book: "Workbook", days: int) -> Any:
    """A column per day, from the second column of the sheet Daily."""
    chart = book.add_chart({"type": "column"})
    chart.add_series(
        {
            "name": "Energy (kWh)",
            "categories": ["Daily", 1, 0, days, 0],
            "values": ["Daily", 1, 1, days, 1],
            "fill": {"color": ACCENT},
            "gap": 40,
        }
    )
    chart.set_title({"name": "Energy per day (kWh)", "name_font": {"size": 11}})
    chart.set_legend({"none": True})
    chart.set_x_axis({"date_axis": True, "num_format": "d mmm"})
    chart.set_y_axis({"major_gridlines": {"visible": True, "line": {"color": LINE}}})
    chart.set_size(SIZE)
    return chart


def forecast_chart(book: "Workbook", points: int, unit: str) -> Any:
    """The expected values and their 95 % range, from the first columns of the sheet Forecast."""
    chart = book.add_chart({"type": "line"})
    for column, colour in ((1, ACCENT), (2, PALE), (3, PALE)):
        chart.add_series(
            {
                "name": ["Forecast", 0, column],
                "categories": ["Forecast", 1, 0, points, 0],
                "values": ["Forecast", 1, column, points, column],
                "line": {"color": colour, "width": 1.5},
            }
        )
    chart.set_title({"name": f"Forecast{unit}", "name_font": {"size": 11}})
    chart.set_legend({"position": "bottom"})
    chart.set_x_axis({"num_format": "d mmm hh:mm"})
    chart.set_size(SIZE)
    return chart
