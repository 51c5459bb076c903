"""The quality checks that Dagster shows of a day: one check per kind over all devices, with the worst devices named.

Each device's figures are measured when its file is made; they are read from the catalogue here.
"""

from collections.abc import Iterator, Mapping
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
from orchestration.datasets.daily import TELEMETRY_DATASET
from orchestration.partitions import days
from orchestration.resources import Platform
from storage import catalogue
from storage.catalogue import Dataset
from storage.dagster_checks import delete_runless_results
from storage.job_runs import PARTITION_TAG

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
def day_quality(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
    """Summarize each check over the devices of the run's days."""
    selected = {key.name for key in context.selected_asset_check_keys}
    keys = partition_keys(context.run.tags)
    with platform.session() as session:
        datasets = [d for key in keys for d in catalogue.of_day(session, date.fromisoformat(key))]
        if len(keys) > 1:  # Dagster keeps the run's own results without a partition
            for key in keys:
                record_checks(context.instance, session, date.fromisoformat(key))
    for kind in QUALITY_CHECKS:
        if kind in selected:
            yield summarize(kind, datasets)


def record_checks(instance: dg.DagsterInstance, session: Session, day: date) -> None:
    """Record a closed day's checks, as the catalogue has them, for its newest materialization in Dagster.

    For whatever makes a day without planning its checks: a range, an export, a backfill. The session is committed.
    """
    datasets = [dataset for dataset in catalogue.of_day(session, day) if dataset.checks]
    key = day.isoformat()
    newest = dg.AssetRecordsFilter(TELEMETRY_DATASET, asset_partitions=[key])
    made = instance.fetch_materializations(newest, limit=1).records
    if not datasets or not made:
        return
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=made[0].storage_id, run_id=made[0].run_id, timestamp=made[0].timestamp
    )
    delete_runless_results(session, QUALITY_CHECKS, key)
    session.commit()  # Dagster writes the new ones on a connection of its own
    for kind in QUALITY_CHECKS:
        result = summarize(kind, datasets)
        evaluation = AssetCheckEvaluation(
            asset_key=TELEMETRY_DATASET,
            check_name=kind,
            passed=result.passed,
            metadata=result.metadata,
            target_materialization_data=target,
            severity=result.severity,
            description=result.description,
            partition=key,
        )
        with suppress(IntegrityError):  # another process has recorded it in this moment
            instance.report_runless_asset_event(evaluation)


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
    description = f"All {len(checked)} device-days passed."
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


def partition_keys(tags: Mapping[str, str]) -> list[str]:
    """The days of a run with these tags: one, or a range."""
    if "dagster/asset_partition_range_start" in tags:
        key_range = dg.PartitionKeyRange(
            tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]
        )
        return list(days.get_partition_keys_in_range(key_range))
    return [tags[PARTITION_TAG]]
