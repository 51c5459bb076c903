"""How complete the readings are: their cadence, gaps, the share of time that they cover, and what was noticed."""

from collections.abc import Mapping
from typing import Any

from assets.energy import EnergyFigures, SuggestedCorrection
from assets.quality.coverage import Cadences, coverage
from assets.reports import noticed
from assets.reports.findings import text
from assets.reports.inputs import ReportInput
from assets.reports.noticed import DataQuality, Finding, Gap
from storage.arrays import Times
from storage.times import SECOND, microseconds, moment

MAX_GAPS = 1000
MAX_FINDINGS = 1000


def quality(data: ReportInput, times: Times, cadences: Cadences, energy: EnergyFigures) -> DataQuality:
    """The quality of readings at `times` (µs, ascending), up to the period's end or to `generated_at` if earlier."""
    until = max(min(data.end, data.generated_at), data.start)
    covered = coverage(times, microseconds(data.start), microseconds(until), cadences)
    usual = cadences.usual
    return DataQuality(
        readings=len(times),
        first=moment(times[0].item()) if len(times) else None,
        last=moment(times[-1].item()) if len(times) else None,
        cadence_seconds=usual,
        cadence_source=None if usual is None else "declared" if cadences.declared else "median",
        completeness=covered.share,
        missing_seconds=covered.missing / SECOND if covered.missing is not None else None,
        measured_until=until,
        gap_rule_seconds=cadences.limit(usual) / SECOND,
        gaps=[
            Gap(start=moment(since), end=moment(to), seconds=(to - since) / SECOND)
            for since, to in covered.gaps[:MAX_GAPS]
        ],
        gaps_total=len(covered.gaps),
        waiting_days=list(data.waiting_days),
        findings=[
            Finding(
                metric=f.metric,
                kind=f.kind,
                start=moment(f.at),
                end=moment(f.until),
                value=f.value,
                effect=f.effect,
                counted=f.counted,
                detail=f.detail,
                correction=_suggested(f.correction),
            )
            for f in energy.findings[:MAX_FINDINGS]
        ],
        findings_total=len(energy.findings),
        corrections=[_correction(row) for row in data.corrections[:MAX_FINDINGS]],
    )


def _suggested(correction: SuggestedCorrection | None) -> noticed.SuggestedCorrection | None:
    if correction is None:
        return None
    start, end = moment(correction.start), moment(correction.end)
    return noticed.SuggestedCorrection(metric=correction.metric, start=start, end=end, action=correction.action)


def _correction(row: Mapping[str, Any]) -> noticed.Correction:
    return noticed.Correction(
        metric=row["metric"],
        start=row["starts_at"],
        end=row["ends_at"],
        action=row["action"],
        value=row["value"],
        unit=row["unit"],
        reason=text(row["reason"]),
        created_by=text(row["created_by"]),
        created_at=row["created_at"],
    )
