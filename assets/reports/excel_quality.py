"""Sheets of the workbook about the readings: how complete they are, what was noticed, and what was corrected."""

from collections.abc import Sequence
from typing import Any

from assets.reports.content import ReportContent
from assets.reports.excel_sheets import COUNT, NUMBER, TEXT, Alone, Column, Share, Sheets, Wide
from assets.reports.wording import Wording


def data_quality(sheets: Sheets, content: ReportContent) -> None:
    """How complete the readings are, the checks that failed, the gaps, and the files that the figures come from."""
    quality, language, zone = content.data_quality, sheets.language, sheets.zone.key
    say, wording = language.say, Wording(language, content.metrics)
    sheet = sheets.page(say("excel.data_quality"), (44, 22, 16, 66))
    sheets.write_header(sheet, 0, (say("excel.data_quality"), "", "", ""))
    sheet.freeze_panes(1, 0)
    source = f"excel.interval_{quality.cadence_source}" if quality.cadence_source else None
    rows: list[Sequence[Any]] = [
        (say("excel.readings_count"), quality.readings),
        (say("excel.first_reading"), quality.first),
        (say("excel.last_reading"), quality.last),
        (say("excel.interval"), quality.cadence_seconds, None, say(source) if source else None),
        (say("excel.completeness"), None if quality.completeness is None else Share(quality.completeness)),
        (say("excel.missing_s"), quality.missing_seconds),
        (say("excel.gaps"), quality.gaps_total),
        (),
        (say("heading.checks"),),
        *((None, Wide(wording.check(check))) for check in quality.checks),
        *([(None, say("excel.none"))] if not quality.checks else []),
        (),
        (say("excel.gap_start", zone=zone), say("excel.gap_end", zone=zone), say("excel.duration_s")),
        *((gap.start, gap.end, gap.seconds) for gap in quality.gaps),
        *([(say("excel.none"),)] if not quality.gaps else []),
        (),
        (say("excel.source_file"), say("excel.rows"), None, "SHA-256"),
        *((file.name, file.rows, None, file.sha256) for file in content.files),
        *([(say("excel.none"),)] if not content.files else []),
        (),
        (say("excel.analyses"), say("excel.model"), None, say("excel.job")),
        *((language.name_of("analysis", a.type), a.model, None, a.job_id or a.detail) for a in content.analyses),
        *([(say("excel.none"),)] if not content.analyses else []),
    ]
    for number, row in enumerate(rows, 1):
        sheets.write_row(sheet, number, row)


def findings(sheets: Sheets, content: ReportContent) -> None:
    """What was noticed about the readings that energy rests on."""
    say, wording = sheets.language.say, Wording(sheets.language, content.metrics)
    columns = [
        sheets.time_column(say("excel.start")),
        sheets.time_column(say("excel.end")),
        Column(say("excel.measurement"), 22, TEXT),
        Column(say("excel.finding"), 70, TEXT),
        Column(say("excel.of_this_kind"), 12, COUNT),
        Column(say("excel.effect"), 14, NUMBER),
        Column(say("excel.unit"), 9, TEXT),
        Column(say("excel.is_counted"), 12, TEXT),
    ]
    rows = (
        (
            f.start,
            f.end,
            sheets.language.title(f.metric),
            wording.finding(f),
            f.alike,
            None if f.effect is None else Alone(f.effect),
            None if f.effect is None else f.unit,
            None if not f.effect else say("excel.yes" if f.counted else "excel.no"),
        )
        for f in content.data_quality.findings
    )
    sheets.table(say("excel.findings"), columns, rows)


def corrections(sheets: Sheets, content: ReportContent) -> None:
    """What people corrected."""
    say, language = sheets.language.say, sheets.language
    columns = [
        sheets.time_column(say("excel.start")),
        sheets.time_column(say("excel.end")),
        Column(say("excel.measurement"), 22, TEXT),
        Column(say("excel.action"), 16, TEXT),
        Column(say("excel.amount"), 12, NUMBER),
        Column(say("excel.unit"), 9, TEXT),
        Column(say("excel.reason"), 50, TEXT),
        Column(say("excel.by"), 20, TEXT),
        sheets.time_column(say("excel.made_at")),
    ]
    rows = (
        (
            c.start,
            c.end,
            language.title(c.metric),
            language.name_of("action", c.action),
            None if c.value is None else Alone(c.value),
            c.unit,
            c.reason,
            c.created_by,
            c.created_at,
        )
        for c in content.data_quality.corrections
    )
    sheets.table(say("excel.corrections"), columns, rows)
