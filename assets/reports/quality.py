"""How complete the readings are: their cadence, gaps, the share of time that they cover, and what was noticed."""

from assets.energy import EnergyFigures
from assets.quality.coverage import Cadences, coverage
from assets.reports.content import DataQuality, Finding, Gap
from assets.reports.inputs import ReportInput
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
            )
            for f in energy.findings[:MAX_FINDINGS]
        ],
        findings_total=len(energy.findings),
    )
