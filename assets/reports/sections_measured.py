"""The report's sections about what was measured, as Markdown. Each takes the content and the folder for its figures."""

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.reports import figures, markdown as md
from assets.reports.content import ReportContent
from assets.reports.wording import (
    DASH,
    clock,
    count,
    day_name,
    duration,
    figure,
    full_clock,
    highlights,
    kpi_value,
    metric_name,
    percent,
    period_words,
    quantity,
    severities,
    zone_words,
)

MOST_DAYS, MOST_GAPS, MOST_FILES = 62, 12, 31
OWN_FIGURE = ("power", "voltage")
TILES = ("energy", "mean_power", "peak_power", "peak_demand_15min", "load_factor", "running_hours")


def masthead(content: ReportContent, _: Path) -> Iterator[str]:
    device, zone = content.device, ZoneInfo(content.period.tz)
    kind = ", ".join(part for part in (device.type, device.location) if part)
    yield md.block(
        "masthead", md.emphasis("Energy report"), md.strong(md.shorten(device.name, 200)), md.paragraph(kind)
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
    tiles = [
        (kpi.label, kpi_value(kpi), clock(kpi.at, zone) if kpi.at else kpi.note or "")
        for kpi in (content.kpi(key) for key in TILES)
        if kpi.value is not None
    ]
    low, mean, high, outside = (content.kpi(f"voltage_{key}") for key in ("min", "mean", "max", "outside_band"))
    if mean.value is not None:
        spread = f"{kpi_value(low)} to {kpi_value(high)}"
        beyond = f", {percent(outside.value)} outside the band" if outside.value is not None else ""
        tiles.append(("Voltage", kpi_value(mean), spread + beyond))
    tiles.append(("Alerts", f"{len(content.alerts):,}", severities(content)))
    quality = content.data_quality
    if quality.completeness is not None:
        tiles.append(("Data completeness", percent(quality.completeness), count(quality.readings, "reading")))
    yield md.block("key-figures", *(_tile(*tile) for tile in tiles))
    absent = [kpi for kpi in content.kpis if kpi.value is None and kpi.note]
    reasons = {
        note: [kpi.label for kpi in absent if kpi.note == note] for note in sorted({str(k.note) for k in absent})
    }
    if reasons:
        said = "; ".join(f"{', '.join(labels)} ({note})" for note, labels in reasons.items())
        yield md.block("remark", md.paragraph(f"Not available: {said}."))


def _tile(label: str, value: str, remark: str) -> str:
    return md.block("key-figure", md.paragraph(label), md.strong(value), md.emphasis(remark) if remark else "")


def in_short(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("In short")
    yield md.block("summary", md.bullets(highlights(content)))


def days(content: ReportContent, folder: Path) -> Iterator[str]:
    yield md.heading("Energy by day")
    if content.kpi("energy").value is None:
        yield md.paragraph(f"There is no energy to show: {content.kpi('energy').note}.")
        return
    yield md.figure(
        figures.save(figures.daily_energy(content), folder, "daily"),
        f"Energy per day in {content.period.tz}. Paler days were measured for less than 90 % of 24 hours.",
        "Bars of the energy of each day, as in the table that follows.",
    )
    zone = ZoneInfo(content.period.tz)
    rows, more = md.cut(content.daily, MOST_DAYS)
    head = ("Day", "Energy in kWh", "Measured", "Highest power", "at", "Readings", "Complete")
    yield md.table(
        head,
        [
            (
                day_name(day.day),
                DASH if day.energy_kwh is None else figure(day.energy_kwh),
                f"{day.covered_hours:.1f} of {figure(day.hours)} h",
                quantity(day.peak_power_w, "W"),
                f"{day.peak_at.astimezone(zone):%H:%M}" if day.peak_at else DASH,
                f"{day.readings:,}",
                percent(day.completeness),
            )
            for day in rows
        ],
        widths=(16, 15, 17, 16, 9, 13, 14),
        right=(1, 2, 3, 4, 5, 6),
    )
    yield more


def power(content: ReportContent, folder: Path) -> Iterator[str]:
    yield md.heading("Power")
    yield _profile(content, "power", folder) or md.paragraph("Power was not measured in this period.")


def voltage(content: ReportContent, folder: Path) -> Iterator[str]:
    yield md.heading("Voltage")
    drawn = _profile(content, "voltage", folder)
    if not drawn:
        yield md.paragraph("Voltage was not measured in this period.")
        return
    yield drawn
    band = next(m.band for m in content.metrics if m.metric == "voltage")
    if band is None:
        yield md.paragraph("No nominal band of voltage is known for this device, so nothing is called too high or low.")


def _profile(content: ReportContent, metric: str, folder: Path) -> str:
    window = next((s.window_seconds for s in content.series if s.metric == metric), 0)
    marked = ", with the stretches that the anomaly analysis found" if content.anomalies else ""
    return md.figure(
        figures.save(figures.profile(content, metric), folder, metric),
        f"{metric_name(metric).capitalize()}: mean and range of the readings in every {duration(window)}{marked}.",
        f"Line of {metric_name(metric)} over the period; its range stands in the table of measurements.",
    )


def measurements(content: ReportContent, folder: Path) -> Iterator[str]:
    yield md.heading("All measurements")
    if not content.metrics:
        yield md.paragraph("The device sent no measurement in this period.")
        return
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
                f"{figure(m.band[0])} to {figure(m.band[1])}" if m.band else DASH,
                percent(m.outside_band),
            )
            for m in content.metrics
        ],
        widths=(20, 8, 11, 11, 11, 12, 15, 12),
        right=(2, 3, 4, 5, 6, 7),
    )
    others = [m.metric for m in content.metrics if m.metric not in OWN_FIGURE]
    shown = others[: figures.MOST_PANELS]
    names = ", ".join(metric_name(name) for name in shown)
    more = f" {len(others) - len(shown)} more are in the table only." if len(others) > len(shown) else ""
    yield md.figure(
        figures.save(figures.other_metrics(content, shown), folder, "others"),
        f"Mean and range of {names} over the period.{more}",
        f"Lines of {names}; their ranges stand in the table above.",
    )


def data_quality(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("Data quality")
    quality, zone = content.data_quality, ZoneInfo(content.period.tz)
    if quality.first is None or quality.last is None:
        yield md.paragraph("No reading of this device lies in the period.")
        return
    span = f"the first on {clock(quality.first, zone)}, the last on {clock(quality.last, zone)}"
    said = [f"{count(quality.readings, 'reading')}, {span}."]
    if quality.cadence_seconds is not None and quality.missing_seconds is not None:
        source = "its metadata say" if quality.cadence_source == "declared" else "is usual in this period"
        said.append(f"The device sends every {duration(quality.cadence_seconds)}, as {source}.")
        missing = f"; {duration(quality.missing_seconds)} are missing" if quality.missing_seconds >= 1 else ""
        said.append(f"At that pace readings cover {percent(quality.completeness)} of the time{missing}.")
    if quality.measured_until < content.period.end:
        said.append("The period was not over when this report was made; what was still to come does not count.")
    yield md.paragraph(*said)
    if not quality.gaps or quality.gap_rule_seconds is None:
        yield md.paragraph("There is no longer gap between readings.")
        return
    yield md.heading("Gaps", 2)
    rule = duration(quality.gap_rule_seconds)
    yield md.paragraph(f"Stretches of more than {rule} without a reading, the longest first.")
    rows = quality.gaps[:MOST_GAPS]
    yield md.table(
        ("From", "To", "Length"),
        [(clock(gap.start, zone), clock(gap.end, zone), duration(gap.seconds)) for gap in rows],
        widths=(38, 38, 24),
        right=(2,),
    )
    if quality.gaps_total > len(rows):
        yield md.paragraph(f"… and {quality.gaps_total - len(rows):,} more (see Excel).")


def methods(content: ReportContent, _: Path) -> Iterator[str]:
    yield md.heading("Methods and sources")
    made_by = f"Made by {content.generator.name} {content.generator.version}."
    jobs = [f"The {a.type} result is that of job {a.job_id} ({a.model})." for a in content.analyses if a.job_id]
    yield md.bullets([content.energy.rule, *_METHODS, *jobs, f"{made_by} {_OTHER_FORMATS}"])
    if not content.files:
        yield md.paragraph("No file of readings was there to read.")
        return
    yield md.heading("Files read", 2)
    rows, more = md.cut(content.files, MOST_FILES)
    yield md.table(
        ("File", "Rows", "SHA-256 begins with"),
        [(file.name, DASH if file.rows is None else f"{file.rows:,}", (file.sha256 or DASH)[:16]) for file in rows],
        widths=(58, 14, 28),
        right=(1,),
    )
    yield more


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
_OTHER_FORMATS = "The same figures as data: this report as JSON; every reading: this report as Excel."
