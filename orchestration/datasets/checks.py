"""What Dagster says of a day's quality: one check per kind over all devices, the worst of them named.

The figures of each device are measured when its file is made, and stand in the catalogue.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from assets.quality import QUALITY_CHECKS, QualityCheck
from orchestration.datasets.daily import TELEMETRY_DATASET
from orchestration.partitions import days
from orchestration.resources import Platform
from storage import catalogue
from storage.catalogue import Dataset

MAX_NAMED = 10
DESCRIPTIONS: dict[QualityCheck, str] = {
    "completeness": "How much of the day readings cover, at the device's cadence.",
    "gaps": "The longest time without a reading, in minutes.",
    "duplicates": "The share of readings that only repeat the one before.",
    "flatline": "How long a metric that is not zero stood still, in minutes.",
    "out_of_band": "The share of readings outside the device's nominal bands.",
    "clock_skew": "How far the device's clock seems to be off, in seconds.",
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
            description=f"{DESCRIPTIONS[kind]} Thresholds are those of QUALITY_THRESHOLDS.",
        )
        for kind in QUALITY_CHECKS
    ],
    can_subset=True,
)
def day_quality(context: dg.AssetCheckExecutionContext, platform: Platform) -> Iterator[dg.AssetCheckResult]:
    """Put together what the catalogue knows of each device's day; days of a range as one."""
    selected = {key.name for key in context.selected_asset_check_keys}
    with platform.session() as session:
        of_days = [d for key in _partition_keys(context) for d in catalogue.of_day(session, date.fromisoformat(key))]
    for kind in (k for k in QUALITY_CHECKS if k in selected):
        yield result(kind, of_days)


def result(kind: QualityCheck, datasets: list[Dataset]) -> dg.AssetCheckResult:
    """One kind of check over the devices' days: failed with the severity of the worst of them."""
    found = [(d, d.checks[kind]) for d in datasets if d.checks and kind in d.checks]
    bad = sorted(
        ((d, check) for d, check in found if check["status"] != "ok"),
        key=lambda item: (-RANKS.index(item[1]["status"]), _badness(kind, item[1]["value"])),
    )
    errors = sum(check["status"] == "error" for _, check in bad)
    rows = [
        dg.TableRecord(
            {"device": d.device_id, "day": d.start_date.isoformat(), "status": c["status"], "found": c["detail"]}
        )
        for d, c in bad[:MAX_NAMED]
    ]
    return dg.AssetCheckResult(
        check_name=kind,
        asset_key=TELEMETRY_DATASET,
        passed=not bad,
        severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
        description=f"{len(bad)} of {len(found)} devices' days, worst {bad[0][0].device_id}: {bad[0][1]['detail']}"
        if bad
        else f"nothing against {len(found)} devices' days",
        metadata={
            "checked": len(found),
            "errors": errors,
            "warnings": len(bad) - errors,
            **({"the worst": dg.MetadataValue.table(rows, schema=_schema())} if rows else {}),
        },
    )


def _badness(kind: QualityCheck, value: float) -> float:
    return value if kind == "completeness" else -value


def _schema() -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name) for name in ("device", "day", "status", "found")])


def _partition_keys(context: dg.AssetCheckExecutionContext) -> list[str]:
    """Of a run over one day, or over a range of them."""
    tags = context.run.tags
    if "dagster/asset_partition_range_start" in tags:
        key_range = dg.PartitionKeyRange(
            tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]
        )
        return list(days.get_partition_keys_in_range(key_range))
    return [tags["dagster/partition"]]
