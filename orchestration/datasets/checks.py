"""The quality checks that Dagster shows of a day: one check per kind over all devices, with the worst devices named.

Each device's figures are measured when its file is made; they are read from the catalogue here.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from assets.quality import QUALITY_CHECKS, QualityCheck
from orchestration.datasets.observations import TELEMETRY_DATASET
from orchestration.partitions import days, days_of_run, has_partition
from orchestration.resources import Platform
from storage import catalogue, checked_days
from storage.catalogue import Dataset
from storage.dagster_checks import delete_runless_results
from storage.times import utc_now

MAX_NAMED = 10
DESCRIPTIONS: dict[QualityCheck, str] = {
    "completeness": "The share of the day that readings cover, at the device's cadence.",
    "gaps": "The longest time without a reading, in minutes.",
    "duplicates": "The share of readings that repeat the one before.",
    "flatline": "The longest time that a non-zero metric did not change, in minutes.",
    "out_of_band": "The share of readings outside the device's nominal bands.",
    "clock_skew": "The estimated offset of the device's clock, in seconds.",
    "power_consistency": "The share of readings whose power exceeds voltage times current.",
}
RANKS = ("ok", "warn", "error")


@dg.multi_asset_check(
    name="day_quality",
    specs=[
        dg.AssetCheckSpec(
            kind,
            asset=TELEMETRY_DATASET,
            partitions_def=days,
            description=f"{DESCRIPTIONS[kind]} QUALITY_THRESHOLDS sets the thresholds.",
        )
        for kind in QUALITY_CHECKS
    ],
    can_subset=True,
)
def day_quality(
    context: dg.AssetCheckExecutionContext, platform: Platform
) -> Iterator[AssetCheckEvaluation | dg.Output[None]]:
    """Evaluate the checks of each of the run's days; without a partition, of the newest checked day."""
    # Not `dg.AssetCheckResult`: that of a range has no partition, so its days would show "Skipped".
    kinds = [kind for kind in QUALITY_CHECKS if kind in {key.name for key in context.selected_asset_check_keys}]
    tags = context.run.tags
    with platform.session() as session:
        newest = None if has_partition(tags) else checked_days.newest_checked_day(session)
        for day in [newest] if newest else days_of_run(tags):
            yield from _evaluations(context.instance, session, day, kinds)
    for name in context.op_execution_context.selected_output_names:
        yield dg.Output(None, name)


@dg.success_hook(required_resource_keys={"platform"})
def show_checks_of_closed_days(context: dg.HookContext) -> None:
    """Record the checks of the run's closed days if the run plans no checks of its own, or not all of them.

    So does a run of the open day that ends after midnight, or one that was launched with the asset alone.
    """
    run = context.instance.get_run_by_id(context.run_id)
    planned = context.instance.all_logs(context.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED)
    if run is None or len({_check_name(entry) for entry in planned}) == len(QUALITY_CHECKS):
        return
    if closed := [day for day in days_of_run(run.tags) if day < utc_now().date()]:
        with context.resources.platform.session() as session:
            for day in closed:
                record_checks(context.instance, session, day)


def _check_name(entry: dg.EventLogEntry) -> str:
    return entry.get_dagster_event().asset_check_planned_data.check_name


def record_checks(instance: dg.DagsterInstance, session: Session, day: date) -> None:
    """Record a closed day's checks, as the catalogue has them, for its newest materialization in Dagster.

    For whatever makes a day without planning its checks: a range, an export, a backfill. The session is committed.
    """
    evaluations = _evaluations(instance, session, day, QUALITY_CHECKS)
    if not any(evaluation.metadata["checked"].value for evaluation in evaluations):
        return
    delete_runless_results(session, QUALITY_CHECKS, day.isoformat())
    session.commit()  # Dagster writes the new ones on a connection of its own
    for evaluation in evaluations:
        with suppress(IntegrityError):  # another process has recorded it in this moment
            instance.report_runless_asset_event(evaluation)


def _evaluations(
    instance: dg.DagsterInstance, session: Session, day: date, kinds: Iterable[QualityCheck]
) -> list[AssetCheckEvaluation]:
    """A day's checks, as the catalogue has them, for its newest materialization; none if Dagster knows of none."""
    key = day.isoformat()
    newest = dg.AssetRecordsFilter(TELEMETRY_DATASET, asset_partitions=[key])
    made = instance.fetch_materializations(newest, limit=1).records
    if not made:
        return []
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=made[0].storage_id, run_id=made[0].run_id, timestamp=made[0].timestamp
    )
    datasets = catalogue.of_day(session, day)
    return [
        AssetCheckEvaluation(
            asset_key=TELEMETRY_DATASET,
            check_name=kind,
            passed=result.passed,
            metadata=result.metadata,
            target_materialization_data=target,
            severity=result.severity,
            description=result.description,
            partition=key,
        )
        for kind, result in ((kind, summarize(kind, datasets)) for kind in kinds)
    ]


def shows_checks(instance: dg.DagsterInstance, session: Session, day: date) -> bool:
    """Whether Dagster shows the day's checks as the catalogue has them, for the newest materialization."""
    datasets = catalogue.of_day(session, day)
    passed = {kind: summarize(kind, datasets).passed for kind in QUALITY_CHECKS}
    keys = [dg.AssetCheckKey(TELEMETRY_DATASET, kind) for kind in QUALITY_CHECKS]
    infos = instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=[day.isoformat()])
    return passed == {
        info.check_key.name: info.latest_execution_status == AssetCheckExecutionRecordStatus.SUCCEEDED
        for info in infos
        if info.is_current
    }


def summarize(kind: QualityCheck, datasets: list[Dataset]) -> dg.AssetCheckResult:
    """One kind of check over the devices' days: failed with the severity of the worst of them."""
    checked = [(dataset, dataset.checks[kind]) for dataset in datasets if dataset.checks and kind in dataset.checks]
    failed = sorted(
        ((dataset, check) for dataset, check in checked if check["status"] != "ok"),
        key=lambda item: (-RANKS.index(item[1]["status"]), _badness(kind, item[1]["value"])),
    )
    errors = sum(check["status"] == "error" for _, check in failed)
    metadata: dict[str, Any] = {"checked": len(checked), "errors": errors, "warnings": len(failed) - errors}
    description = f"All {len(checked)} device-days passed." if checked else "The day is open, or has no readings."
    if failed:
        metadata["worst devices"] = _table(failed[:MAX_NAMED])
        dataset, check = failed[0]
        description = f"{len(failed)} of {len(checked)} device-days failed. {dataset.device_id}: {check['detail']}"
    return dg.AssetCheckResult(
        check_name=kind,
        asset_key=TELEMETRY_DATASET,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def _badness(kind: QualityCheck, value: float) -> float:
    return value if kind == "completeness" else -value


def _table(failed: list[tuple[Dataset, dict[str, Any]]]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {
                "device": dataset.device_id,
                "day": dataset.start_date.isoformat(),
                "status": check["status"],
                "detail": check["detail"],
            }
        )
        for dataset, check in failed
    ]
    columns = [dg.TableColumn(name) for name in ("device", "day", "status", "detail")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
