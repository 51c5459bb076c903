"""Telemetry becomes datasets: the daily asset, the export job that REST asks for, the sensor of the minute cadence."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from sqlmodel import Session, col, func, or_, select

from assets import datasets
from assets.datasets import Exported, NoTelemetry, Workshop
from assets.pictures import day_picture
from orchestration.jobs import perform
from orchestration.metadata import code_version, picture
from orchestration.partitions import days, devices, first_day
from orchestration.resources import Platform
from storage import catalogue, jobs
from storage.catalogue import Dataset, TouchedDay
from storage.database import utc_now
from storage.devices import Device
from storage.jobs import ID_TAG, ExportJob
from storage.settings import Settings

# Late days wait until their telemetry is quiet: a device that empties its buffer is one export, not twenty.
QUIET, LONGEST_WAIT = timedelta(minutes=5), timedelta(minutes=15)
MAX_DAYS_A_TICK = 20

TELEMETRY_DATASET = dg.AssetKey("telemetry_dataset")
DEVICE_HISTORY = dg.AssetKey("device_history")


class ExportConfig(dg.Config):
    """Which devices of the day; without any, all that have telemetry or a dataset there."""

    devices: list[str] = []  # noqa: RUF012 - Pydantic copies defaults
    only_touched: bool = False


@dg.asset(
    key=TELEMETRY_DATASET,
    partitions_def=days,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="datasets",
    kinds={"parquet", "pyarrow"},
    owners=["team:data"],
    code_version=code_version(),
    description="Telemetry of a UTC day: one Parquet file per device, atomic, the same bytes for the same readings."
    " The open day is brought up to date every minute; late data makes its day again.",
)
def telemetry_dataset(context: dg.AssetExecutionContext, config: ExportConfig, platform: Platform) -> None:
    """Bring the day's files up to date, device by device; a range of days is one run."""
    with platform.workshop(context.run.run_id) as workshop:
        for key in context.partition_keys:
            day = date.fromisoformat(key)
            chosen = config.devices or _devices_of(workshop.session, day, only_touched=config.only_touched)
            exported = [e for device_id in chosen if (e := datasets.export_day(workshop, device_id, day))]
            context.add_asset_metadata(_facts(workshop, day, exported), partition_key=key)
            _observe(context.instance, workshop.session, day, exported)


def _devices_of(session: Session, day: date, *, only_touched: bool) -> list[str]:
    waiting = [row.device_id for row in catalogue.touched(session, day=day)]
    if only_touched:
        return waiting
    known = session.exec(select(TouchedDay.device_id).where(TouchedDay.day == day))
    return sorted({*waiting, *known})


def _facts(workshop: Workshop, day: date, exported: list[Exported]) -> dict[str, Any]:
    """What Dagster shows of a day; the picture only once it is closed, since an open day is made every minute."""
    rows, size, files = workshop.session.exec(
        select(func.coalesce(func.sum(Dataset.rows), 0), func.coalesce(func.sum(Dataset.bytes), 0), func.count()).where(
            Dataset.start_date == day, Dataset.kind == "day", col(Dataset.superseded_at).is_(None)
        )
    ).one()
    facts: dict[str, Any] = {
        "dagster/partition_row_count": int(rows),
        "bytes": int(size),
        "devices": files,
        "files written": sum(e.changed for e in exported),
        "files unchanged": sum(not e.changed for e in exported),
        "dagster/uri": f"{workshop.objects.address}/datasets/*/{day:%Y%m%d}_{day:%Y%m%d}.parquet",
    }
    if files and day < utc_now().date():
        facts["the day"] = picture(day_picture(workshop, day))
    return facts


def _observe(instance: dg.DagsterInstance, session: Session, day: date, exported: list[Exported]) -> None:
    """Tell Dagster which devices' history changed, so that their results are stale; the open day's growth is none."""
    today = utc_now().date()
    if day >= today:
        return
    for device_id in (e.dataset.device_id for e in exported if e.changed):
        version = catalogue.history_version(session, device_id, before=today)
        tags = {"dagster/data_version": version}
        instance.report_runless_asset_event(dg.AssetObservation(DEVICE_HISTORY, partition=device_id, tags=tags))


device_history = dg.AssetSpec(
    DEVICE_HISTORY,
    deps=[TELEMETRY_DATASET],
    partitions_def=devices,
    group_name="datasets",
    kinds={"parquet"},
    owners=["team:data"],
    description="A device's closed days as a whole. Its version changes with late data and with each day that closes,"
    " which makes the device's results stale.",
)

dataset_job = dg.define_asset_job(
    "dataset_job",
    selection=[TELEMETRY_DATASET],
    executor_def=dg.in_process_executor,
    description="Brings the files of a day up to date; the sensor `export_touched_days` asks for it.",
)


@dg.op(description="Exports one device for a job of `POST /api/v1/exports/run`.")
def export_device(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Bring the device's touched days up to date, and make one file over the range if the job names one."""
    perform(context, platform, ExportJob, context.run.tags[ID_TAG], lambda w, job: _export(context, w, job))


def _export(context: dg.OpExecutionContext, workshop: Workshop, job: ExportJob) -> None:
    session = workshop.session
    wanted = list(_days_of(session, job))
    newest: Exported | None = None
    for i, day in enumerate(wanted):
        jobs.report_progress(session, job, 100.0 * i / (len(wanted) + 1), f"Exporting {day}")
        exported = datasets.export_day(workshop, job.device_id, day)
        newest = exported or newest
        if exported:
            facts = _facts(workshop, day, [exported])
            context.log_event(dg.AssetMaterialization(TELEMETRY_DATASET, partition=day.isoformat(), metadata=facts))
            _observe(context.instance, session, day, [exported])
    if job.date_range_start and job.date_range_end:
        start, end = job.date_range_start.date(), job.date_range_end.date()
        answer = datasets.export_range(workshop, job.device_id, start, end).dataset
    elif standing := catalogue.datasets_of(session, job.device_id, kind="day"):
        answer = standing[-1]
    else:
        raise NoTelemetry(f"{job.device_id} has no readings to export; has it sent any?")
    result = {"s3_key": answer.key, "record_count": answer.rows, "sha256": answer.sha256, "days": len(wanted)}
    jobs.complete(session, job, f"{answer.rows} readings in {answer.key}", results=result)


def _days_of(session: Session, job: ExportJob) -> Iterator[date]:
    """Touched days; of a range also those that have no file yet."""
    waiting = {row.day for row in catalogue.touched(session, device_id=job.device_id)}
    if not (job.date_range_start and job.date_range_end):
        yield from sorted(waiting)
        return
    start, end = job.date_range_start.date(), job.date_range_end.date()
    made = {d.start_date for d in catalogue.datasets_of(session, job.device_id, start=start, end=end, kind="day")}
    yield from (day for day in datasets.days_between(start, end) if day in waiting or day not in made)


@dg.job(executor_def=dg.in_process_executor, description="Exports asked for over REST (POST /api/v1/exports/run).")
def export_job() -> None:
    export_device()


@dg.sensor(
    job=dataset_job,
    minimum_interval_seconds=Settings.load().export_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for one run per day that telemetry touched: the open day at once, a late day when it is quiet"
    " (5 minutes, at most 15), each day once when it closes. Where nothing was touched it asks for none.",
)
def export_touched_days(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    now = utc_now()
    with platform.session() as session:
        ready = ready_days(session, now)
        closing = _closing_day(session, now, context.cursor)
    early = [day for day in ready if day < first_day]
    if early:
        context.log.warning(f"telemetry before DATASET_START_DATE={first_day} is not exported: {early[0]} and others")
    busy = _days_at_work(context.instance)
    wanted = [day for day in sorted({*ready, *closing}) if day >= first_day and day.isoformat() not in busy]
    if not wanted:
        return dg.SkipReason("no telemetry since the last export")
    config = dg.RunConfig(ops={"telemetry_dataset": ExportConfig(only_touched=True)})
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(partition_key=day.isoformat(), run_config=config) for day in wanted[:MAX_DAYS_A_TICK]
        ],
        cursor=max(closing).isoformat() if closing and set(closing) <= set(wanted[:MAX_DAYS_A_TICK]) else None,
    )


def ready_days(session: Session, now: datetime) -> list[date]:
    """Touched days whose time has come."""
    day, last, first = col(TouchedDay.day), col(TouchedDay.touched_at), col(TouchedDay.first_touched_at)
    waiting = or_(col(TouchedDay.dirty), col(TouchedDay.claimed_at).is_not(None))
    rows = session.exec(select(day, func.max(last), func.min(first)).where(waiting).group_by(day))
    return [
        touched
        for touched, latest, earliest in rows
        if touched >= now.date() or latest < now - QUIET or earliest < now - LONGEST_WAIT
    ]


def _closing_day(session: Session, now: datetime, cursor: str | None) -> list[date]:
    """Yesterday, once it is over for long enough and if it holds datasets: its last export, with the picture."""
    yesterday = (now - timedelta(days=1)).date()
    if now - datetime(now.year, now.month, now.day, tzinfo=UTC) < QUIET or (cursor or "") >= yesterday.isoformat():
        return []
    made = select(Dataset.id).where(Dataset.start_date == yesterday, Dataset.kind == "day").limit(1)
    return [yesterday] if session.exec(made).first() else []


def _days_at_work(instance: dg.DagsterInstance) -> set[str]:
    """Days with a run that has not ended: another one would only repeat it."""
    unfinished = dg.RunsFilter(
        job_name="dataset_job",
        statuses=[
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
        ],
    )
    return {run.tags.get("dagster/partition", "") for run in instance.get_runs(unfinished, limit=200)}


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps the device partitions in step with the registry.",
)
def follow_registry(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
    with platform.session() as session:
        registered = set(session.exec(select(Device.device_id)))
    known = set(context.instance.get_dynamic_partitions("devices"))
    return dg.SensorResult(
        dynamic_partitions_requests=[
            devices.build_add_request(sorted(registered - known)),
            devices.build_delete_request(sorted(known - registered)),
        ]
    )
