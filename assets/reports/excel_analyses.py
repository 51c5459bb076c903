"""Sheets of the workbook for what analyses found, and for recorded failures."""

from collections.abc import Iterator, Sequence
from typing import Any

from assets.reports.content import ReportContent
from assets.reports.excel_charts import forecast_chart
from assets.reports.excel_sheets import COUNT, NUMBER, TEXT, Alone, Column, Share, Sheets
from assets.reports.wording import Wording
from storage.times import HOUR, SECOND


def _empty(sheets: Sheets, content: ReportContent, analysis_type: str) -> str:
    """What an empty sheet of an analysis says: that it found nothing, or why there is none."""
    analysis = content.analysis(analysis_type)
    if analysis is None:
        return sheets.language.say("excel.not_asked")
    if analysis.status == "missing":
        return sheets.language.say("excel.not_analysed", reason=analysis.reason or "")
    return sheets.language.say("excel.none")


def anomalies(sheets: Sheets, content: ReportContent) -> None:
    """The episodes of unusual behaviour, one in each row."""
    language = sheets.language
    columns = [
        sheets.time_column(language.say("excel.start")),
        sheets.time_column(language.say("excel.end")),
        Column(language.say("excel.channel"), 20, TEXT),
        Column(language.say("excel.score"), 12, NUMBER),
        Column(language.say("excel.readings_count"), 12, COUNT),
        Column(language.say("column.happened"), 70, TEXT),
        Column(language.say("excel.lasted"), 12, NUMBER),
    ]
    wording = Wording(language, content.metrics, content.data_quality.cadence_seconds)
    rows = (
        (
            a.start, a.end, language.metric(a.metric), a.score, a.points,
            wording.anomaly(a), wording.seconds(a) / 60,
        )
        for a in content.anomalies
    )  # fmt: skip
    sheets.table(language.say("excel.anomalies"), columns, rows, empty=_empty(sheets, content, "anomaly"))


def forecast(sheets: Sheets, content: ReportContent) -> None:
    """The expected values with their ranges, and a chart of them."""
    found, say = content.forecast, sheets.language.say
    unit = f" ({found.unit})" if found and found.unit else ""
    titles = ("expected", "lower_95", "upper_95", "lower_80", "upper_80")
    columns = [
        sheets.time_column(say("excel.time")),
        *(Column(f"{say(f'excel.{title}')}{unit}", 16, NUMBER) for title in titles),
    ]
    points = found.points if found else []
    rows = ((p.timestamp, p.value, p.lower, p.upper, p.lower_80, p.upper_80) for p in points)
    sheet = sheets.table(say("excel.forecast"), columns, rows, empty=_empty(sheets, content, "forecast"))
    if points:
        sheet.insert_chart("H2", forecast_chart(sheets, len(points), unit))


def forecast_months(sheets: Sheets, content: ReportContent) -> None:
    """What is expected of each month that the forecast reaches into, if it is of energy."""
    if content.forecast is None or not content.forecast.months:
        return
    say = sheets.language.say
    columns = [
        sheets.time_column(say("excel.start")),
        sheets.time_column(say("excel.until")),
        *(Column(say(f"excel.{name}"), 16, NUMBER) for name in ("measured_kwh", "expected_kwh")),
        *(Column(say(f"excel.{name}"), 14, NUMBER) for name in ("lower_95", "upper_95", "lower_80", "upper_80")),
    ]
    rows = (
        (m.start, m.until, m.measured_kwh, m.expected_kwh, m.lower, m.upper, m.lower_80, m.upper_80)
        for m in content.forecast.months
    )
    sheets.table(say("excel.forecast_months"), columns, rows)


def failures(sheets: Sheets, content: ReportContent) -> None:
    """The recorded failures, if there are any."""
    if not content.failures:
        return
    say = sheets.language.say
    columns = [
        sheets.time_column(say("excel.failed")),
        sheets.time_column(say("excel.repaired")),
        Column(say("excel.description"), 70, TEXT),
    ]
    rows = ((failure.failed_at, failure.repaired_at, failure.description) for failure in content.failures)
    sheets.table(say("excel.failures"), columns, rows)


def risk(sheets: Sheets, content: ReportContent) -> None:
    """The risk of failure, if it was asked for: how high, how well tested, and on what it depends."""
    if content.analysis("prediction") is None:
        return
    say = sheets.language.say
    columns = [
        Column(say("excel.figure"), 44, TEXT),
        Column(say("excel.amount"), 16, NUMBER),
        sheets.time_column(say("excel.as_of")),
    ]
    sheets.table(say("excel.risk"), columns, list(_risk(sheets, content)), empty=_empty(sheets, content, "prediction"))


def _risk(sheets: Sheets, content: ReportContent) -> Iterator[Sequence[Any]]:
    found, language, say = content.risk, sheets.language, sheets.language.say
    if found is None:
        return
    horizon = None if found.horizon_hours is None else language.duration(found.horizon_hours * HOUR / SECOND)
    within = say("excel.probability") if horizon is None else say("excel.probability_within", horizon=horizon)
    yield within, Share(found.probability), found.as_of
    for key, count in (
        ("failures_learnt_from", found.failures_learnt_from),
        ("failures_tested", found.failures_tested),
        ("failures_found", found.failures_found),
    ):
        yield say(f"excel.{key}"), None if count is None else Alone(count)
    if found.false_alarm_share is not None:
        yield say("excel.false_alarms"), Share(found.false_alarm_share)
    life = found.remaining_life
    if life is not None and life.hours is not None:
        yield say("excel.remaining_hours"), life.hours, found.as_of
        yield say("excel.remaining_lower"), life.lower
        yield say("excel.remaining_upper"), life.upper
    for driver in found.drivers:
        yield say("excel.driver", metric=language.metric(driver.metric)), Share(driver.share)
