"""The report's sections about what was measured, as Markdown. Each takes the content and the folder for its figures."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.reports import figures, markdown as md
from assets.reports.content import Day, ReportContent
from assets.reports.formatting import (
    DASH,
    SPACE,
    clock,
    count,
    day_name,
    duration,
    figure,
    full_clock,
    kpi_value,
    metric_name,
    percent,
    period_words,
    plain,
    quantity,
    zone_words,
)
from assets.reports.highlights import highlights, severities

MAX_DAYS, MAX_GAPS = 62, 12
OWN_FIGURE = ("power", "voltage")
TILES = ("energy", "mean_power", "peak_power", "peak_demand_15min", "load_factor", "running_hours")


def masthead(content: ReportContent, _: Path) -> Iterator[str]:
    device, zone = content.device, ZoneInfo(content.period.tz)
    kind = ", ".join(part for part in (device.type, device.location) if part)
    yield md.block(
        "masthead", md.emphasis("Energy report"), md.strong(md.shorten(device.name, 120)), md.paragraph(kind)
    )
    rows = [
        ("Period", period_words(content.period)),
        ("Time zone", zone_words(content.period)),
        ("Device", device.id),
        ("Generated", full_clock(content.generated_at, zone)),
        ("Report", content.report_id),
    ]
    yield md.block("facts", md.table(("", ""), rows, widths=(16, 84)))


def key_figures(content: ReportContent, _: Path) -> Iterator[str]:
    zone = ZoneInfo(content.period.tz)
    found = [content.kpi(key) for key in TILES]
    tiles = [
        (kpi.label, kpi_value(kpi), clock(kpi.at, zone) if kpi.at else kpi.note or "")
        for kpi in found
        if kpi.value is not None
    ]
    voltage = content.metric("voltage")
    if voltage:
        beyond = "" if voltage.outside_band is None else f", {percent(voltage.outside_band)} out of band"
        spread = f"{voltage.min:.1f} to {voltage.max:.1f}{SPACE}V{beyond}"
        tiles.append(("Voltage", kpi_value(content.kpi("voltage_mean")), spread))
    tiles.append(("Alerts", f"{content.alerts_total:,}", severities(content)))
    quality = content.data_quality
    tiles.append(("Data completeness", percent(quality.completeness), count(quality.readings, "reading")))
    yield md.block("key-figures", *(_tile(*tile) for tile in tiles))
    absent = [kpi for kpi in found if kpi.value is None and kpi.note]
    if absent and quality.readings:
        reasons = dict.fromkeys(str(kpi.note) for kpi in absent)
        said = "; ".join(f"{', '.join(k.label for k in absent if k.note == why)} ({why})" for why in reasons)
        yield md.block("remark", md.paragraph(f"Not available: {said}."))


def _tile(label: str, value: str, remark: str) -> str:
    return md.block("key-figure", md.paragraph(label), md.strong(value), md.emphasis(remark) if remark else "")


def in_short(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("In short")
    yield md.block("summary", md.bullets(highlights(content)))


def energy(content: ReportContent, folder: Path) -> Iterator[str]:
    """Days, or months where there are too many days to read."""
    if content.kpi("energy").value is None:
        return
    zone, days = ZoneInfo(content.period.tz), content.daily
    yield md.heading("Energy")
    paler = "" if all(day.is_whole for day in days) else " Paler days were measured for less than 90 % of 24 hours."
    yield md.figure(
        figures.save(figures.daily_energy(content), folder, "daily"),
        f"Energy per day in {content.period.tz}.{paler}",
        "Bars of the energy of each day.",
    )
    if len(days) > MAX_DAYS:
        span, spans = "Month", {month: list(of) for month, of in groupby(days, lambda day: f"{day.day:%B %Y}")}
    else:
        span, spans = "Day", {_day(day): [day] for day in days}
    shown = slice(6 if content.metric("power") else 4)
    yield md.table(
        (span, "Energy in kWh", "Measured", "Readings", "Highest power", "on")[shown],
        [(name, *_energy_row(part, zone))[shown] for name, part in spans.items()],
        total=("Total", *_energy_row(days, zone))[shown] if len(days) > 1 else None,
        widths=[21, 15, 13, 13, 17, 21][shown],
        right=(1, 2, 3, 4, 5),
    )


def _day(day: Day) -> str:
    return day_name(day.day) + ("" if day.hours == 24 else f" ({plain(round(day.hours, 1))}{SPACE}h)")


def _energy_row(days: Sequence[Day], zone: ZoneInfo) -> tuple[str, ...]:
    measured = [day.energy_kwh for day in days if day.energy_kwh is not None]
    peak = max(days, key=lambda day: -math.inf if day.peak_power_w is None else day.peak_power_w)
    return (
        figure(sum(measured)) if measured else DASH,
        f"{figure(sum(day.covered_hours for day in days))}{SPACE}h",
        f"{sum(day.readings for day in days):,}",
        quantity(peak.peak_power_w, "W"),
        clock(peak.peak_at, zone) if peak.peak_at else DASH,
    )


def power(content: ReportContent, folder: Path) -> Iterator[str]:
    yield from _profile(content, "power", folder)


def voltage(content: ReportContent, folder: Path) -> Iterator[str]:
    yield from _profile(content, "voltage", folder)
    found = content.metric("voltage")
    if found and found.band is None:
        yield md.paragraph("No nominal band of voltage is known for this device, so nothing is called too high or low.")


def _profile(content: ReportContent, metric: str, folder: Path) -> Iterator[str]:
    if content.metric(metric) is None:
        return
    name = metric_name(metric).capitalize()
    yield md.heading(name)
    window = next(s.window_seconds for s in content.series if s.metric == metric)
    marked = ", with the segments that the anomaly analysis found" if content.anomalies else ""
    yield md.figure(
        figures.save(figures.profile(content, metric), folder, metric),
        f"{name}: mean and range of the readings in every {duration(window)}{marked}.",
        f"Line of {metric_name(metric)} over the period; its range stands in the table of measurements.",
    )


def measurements(content: ReportContent, folder: Path) -> Iterator[str]:
    if not content.metrics:
        return
    yield md.heading("All measurements")
    yield md.table(
        ("Measurement", "Unit", "Lowest", "Mean", "Highest", "Readings", "Nominal band", "Outside"),
        [
            (
                metric_name(m.metric).capitalize(),
                m.unit if m.unit != "1" else DASH,
                figure(m.min),
                figure(m.mean),
                figure(m.max),
                f"{m.count:,}",
                f"{plain(m.band[0])} to {plain(m.band[1])}" if m.band else DASH,
                percent(m.outside_band),
            )
            for m in content.metrics
        ],
        widths=(20, 8, 11, 11, 11, 12, 15, 12),
        right=(2, 3, 4, 5, 6, 7),
    )
    others = [m.metric for m in content.metrics if m.metric not in OWN_FIGURE]
    shown = others[: figures.MAX_PANELS]
    names = ", ".join(metric_name(name) for name in shown)
    more = f" {len(others) - len(shown)} more are in the table only." if len(others) > len(shown) else ""
    yield md.figure(
        figures.save(figures.other_metrics(content, shown), folder, "others"),
        f"Mean and range of {names} over the period.{more}",
        f"Lines of {names}; their ranges stand in the table above.",
    )


def data_quality(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("Data quality")
    yield md.paragraph(*_about_readings(content))
    quality, zone = content.data_quality, ZoneInfo(content.period.tz)
    if not quality.readings or not quality.gaps:
        return
    yield md.heading("Gaps", 2)
    rule = duration(quality.gap_rule_seconds)
    yield md.paragraph(f"Stretches of more than {rule} without a reading, the longest first.")
    rows, more = md.cut(quality.gaps, MAX_GAPS, quality.gaps_total)
    yield md.table(
        ("From", "To", "Length"),
        [(clock(gap.start, zone), clock(gap.end, zone), duration(gap.seconds)) for gap in rows],
        widths=(38, 38, 24),
        right=(2,),
    )
    yield more


def _about_readings(content: ReportContent) -> Iterator[str]:
    quality, zone = content.data_quality, ZoneInfo(content.period.tz)
    if quality.first is None or quality.last is None:
        yield "No reading of this device lies in the period."
    else:
        span = f"the first on {clock(quality.first, zone)}, the last on {clock(quality.last, zone)}"
        yield f"{count(quality.readings, 'reading')}, {span}."
    if quality.readings and quality.cadence_seconds is not None and quality.missing_seconds is not None:
        source = "its metadata say" if quality.cadence_source == "declared" else "is usual in this period"
        missing = f"; {duration(quality.missing_seconds)} are missing" if quality.missing_seconds >= 1 else ""
        yield f"The device sends every {duration(quality.cadence_seconds)}, as {source}."
        yield f"At that pace readings cover {percent(quality.completeness)} of the time{missing}."
    if quality.readings and not quality.gaps:
        yield f"There is no gap of more than {duration(quality.gap_rule_seconds)}."
    if quality.measured_until < content.period.end:
        yield "The period was not over when this report was made; what was still to come does not count."
    if quality.waiting_days:
        named = ", ".join(day_name(day) for day in quality.waiting_days[:MAX_GAPS])
        others = " and other days" if len(quality.waiting_days) > MAX_GAPS else ""
        yield f"Readings of {named}{others} (UTC) came after that day's file was made; a later report has them."


def methods(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("Methods and sources")
    found = ", ".join(f"{a.type} by {a.job_id} ({a.model})" for a in content.analyses if a.job_id)
    jobs = [f"Results of analyses, by the jobs that found them: {found}."] if found else []
    made_by = f"Made by {content.generator.name} {content.generator.version}. {_OTHER_FORMATS}"
    yield md.bullets([content.energy.rule, *_METHODS, *jobs, *_files(content), made_by])


def _files(content: ReportContent) -> Iterator[str]:
    if not content.files:
        return
    first, last = content.files[0].name, content.files[-1].name
    names = first if first == last else f"{first} to {last}"
    rows = sum(file.rows or 0 for file in content.files)
    yield f"Read from {count(len(content.files), 'file')} of {count(rows, 'row')}: {names}."


_METHODS = (
    (
        "The highest 15-minute demand is the greatest energy of a clock quarter hour over 15 minutes; the load factor"
        " is mean power over that demand; running time is the time in which power is above a tenth of it."
    ),
    (
        "Completeness is the share of the time that readings cover at the device's pace; a reading is missing when its"
        " neighbours are more than one and a half intervals apart."
    ),
    "Days begin and end at midnight of the time zone above; a day of a clock change has 23 or 25 hours.",
)
_OTHER_FORMATS = (
    "The same figures as data, with the SHA-256 of the files read: this report as JSON; every reading: as Excel."
)
