"""How complete the readings are: their cadence, gaps, the share of time that they cover, and what was noticed."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from assets.energy import EnergyFigures, SuggestedCorrection, counter_units
from assets.quality import QUALITY_CHECKS
from assets.quality.coverage import Cadences, Coverage, coverage
from assets.reports import noticed
from assets.reports.inputs import ReportInput
from assets.reports.noticed import DataQuality, FailedCheck, Finding, Gap
from assets.reports.results import text
from storage.arrays import Times
from storage.devices import NAMED_METRICS, DeviceMetadata
from storage.times import DAY, SECOND, microseconds, midnight, moment

MAX_GAPS = 1000
MAX_FINDINGS = 1000


def quality(data: ReportInput, times: Times, cadences: Cadences, energy: EnergyFigures) -> DataQuality:
    """The quality of readings at `times` (µs, ascending), up to the period's end or to `generated_at` if earlier."""
    until = max(min(data.end, data.generated_at), data.start)
    covered = covered_within(times, microseconds(data.start), microseconds(until), data, cadences)
    units = counter_units(DeviceMetadata(counters=dict(data.counters)))
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
        unexported_days=list(data.unexported_days),
        removed_days=list(data.removed_days),
        checks=_failed_checks(data.checks),
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
                unit=units.get(f.metric, "kWh"),
                alike=f.alike,
                correction=_suggested(f.correction),
            )
            for f in energy.findings[:MAX_FINDINGS]
        ],
        findings_total=len(energy.findings),
        corrections=[_correction(row) for row in data.corrections[:MAX_FINDINGS]],
    )


def covered_within(times: Times, start: int, end: int, data: ReportInput, cadences: Cadences) -> Coverage:
    """How readings cover a range (µs), without the days whose readings are not in a file yet or were deleted."""
    absent = sorted(microseconds(midnight(day)) for day in {*data.unexported_days, *data.removed_days})
    parts, since = [], start
    for day in [*(day for day in absent if start - DAY < day < end), end]:
        if since < min(day, end):
            within = times[times.searchsorted(since) : times.searchsorted(min(day, end))]
            parts.append((min(day, end) - since, coverage(within, since, min(day, end), cadences)))
        since = max(since, day + DAY)
    missing = [part.missing for _, part in parts if part.missing is not None]
    if not parts or not missing:
        return Coverage(None, None, [gap for _, part in parts for gap in part.gaps])
    length = sum(length for length, _ in parts)
    gaps = sorted((gap for _, part in parts for gap in part.gaps), key=lambda gap: gap[0] - gap[1])
    return Coverage(min(max(1 - sum(missing) / length, 0.0), 1.0), sum(missing), gaps)


def _failed_checks(checks: Sequence[tuple[date, Mapping[str, Any]]]) -> list[FailedCheck]:
    """The checks that failed on any day, as `QUALITY_CHECKS` orders them."""
    found = []
    for kind in QUALITY_CHECKS:
        of_days = [(day, results[kind]) for day, results in checks if kind in results]
        failed = [(day, check) for day, check in of_days if check["status"] != "ok"]
        if failed:
            lowest_is_worst = kind == "completeness"
            day, worst = max(failed, key=lambda item: item[1]["value"] * (-1 if lowest_is_worst else 1))
            is_error = any(check["status"] == "error" for _, check in failed)
            found.append(
                FailedCheck(
                    check=kind,
                    status="error" if is_error else "warn",
                    days=len(failed),
                    checked_days=len(of_days),
                    worst=worst["value"],
                    worst_day=day,
                    metric=_still(worst["detail"]) if kind == "flatline" else None,
                )
            )
    return found


def _still(detail: str) -> str | None:
    """The metric that the detail of a flatline check begins with."""
    name = detail.partition(" ")[0]
    return name if name in NAMED_METRICS else None


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
