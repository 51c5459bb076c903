"""When datasets are made: every minute what telemetry touched, late days when they are quiet, each day as it closes."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
from sqlmodel import Session, col, func, select

from orchestration.datasets.daily import ExportConfig, closed_day_job, dataset_job
from orchestration.partitions import devices, first_day
from orchestration.resources import Platform
from orchestration.shards import SHARD_TAG, split
from storage import catalogue, dirty_days
from storage.devices import Device
from storage.dirty_days import DirtyDay
from storage.settings import Settings
from storage.times import microseconds, midnight, moment, utc_now

# Late days wait until their telemetry is quiet: a device that empties its buffer is one export, not twenty.
QUIET, MAX_WAIT = timedelta(minutes=5), timedelta(minutes=15)
# A day whose run failed a moment ago waits: what failed is rarely mended within a minute.
AFTER_FAILURE = timedelta(minutes=5)
MAX_RUNS_A_TICK = 20
MAX_DELETED_A_TICK = 500
JOBS = (dataset_job.name, closed_day_job.name)
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Wanted:
    """A day to be made, and how many of its devices wait."""

    day: date
    waiting: int


@dg.sensor(
    jobs=[dataset_job, closed_day_job],
    minimum_interval_seconds=Settings.load().export_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for one run per day that telemetry touched: the open day at once, a late day when it is quiet"
    " (5 minutes, at most 15), each day when it closes. Where nothing was touched it asks for none. Days of large"
    " fleets are split over several runs.",
)
def export_touched_days(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    settings, now = platform.settings, utc_now()
    cursor = context.cursor or look_back(platform, now)
    with platform.session() as session:
        wanted = days_to_make(session, now)
    early = [w.day for w in wanted if w.day < first_day]
    if early:
        context.log.warning(f"telemetry before DATASET_START_DATE={first_day} is not exported: {early[0]} and others")
    busy = _busy(context.instance, now)
    requests = [
        request
        for w in wanted
        if w.day >= first_day
        for request in _requests(w, now.date(), settings.split_runs_above_devices)
        if (request.partition_key, request.tags[SHARD_TAG]) not in busy
    ]
    reason = None if requests else "no telemetry since the last export"
    return dg.SensorResult(run_requests=requests[:MAX_RUNS_A_TICK], skip_reason=reason, cursor=cursor)


def look_back(platform: Platform, now: datetime) -> str:
    """At the first tick ever: find telemetry of the last LOOKBACK_HOURS that the ledger does not know."""
    since = microseconds(now - timedelta(hours=platform.settings.lookback_hours))
    with platform.stores() as stores:
        session = stores.session
        found = stores.telemetry.device_days(since)
        dirty_days.mark_dirty(session, (d for d in found if session.get(DirtyDay, (d[0], moment(d[1]).date())) is None))
        stores.session.commit()
    return f"looked back at {now.isoformat(timespec='seconds')}"


def days_to_make(session: Session, now: datetime) -> list[Wanted]:
    """Touched days whose time has come, and days that closed since their files were made; oldest first."""
    day, last, first = col(DirtyDay.day), col(DirtyDay.touched_at), col(DirtyDay.first_touched_at)
    of_day = select(day, func.count(), func.max(last), func.min(first)).group_by(day)
    rows = session.exec(of_day.where(dirty_days.waits_for_export()))
    found = {
        touched: count
        for touched, count, latest, earliest in rows
        if touched >= now.date() or latest < now - QUIET or earliest < now - MAX_WAIT
    }
    closed_before = now.date() if now - midnight(now.date()) > QUIET else _yesterday(now)
    for closed, count in catalogue.unchecked(session, before=closed_before).items():
        found[closed] = found.get(closed, 0) + count
    return [Wanted(d, found[d]) for d in sorted(found)]


def _yesterday(now: datetime) -> date:
    return now.date() - timedelta(days=1)


def _requests(wanted: Wanted, today: date, most_devices: int) -> list[dg.RunRequest]:
    """One run, or for many devices several: each takes those whose stable hash is its own."""
    job = dataset_job if wanted.day >= today else closed_day_job
    return [
        dg.RunRequest(
            job_name=job.name,
            partition_key=wanted.day.isoformat(),
            run_config=dg.RunConfig(
                ops={"telemetry_dataset": ExportConfig(only_touched=True, shard=part.shard, shards=part.shards)}
            ),
            tags=part.tags,
        )
        for part in split(wanted.waiting, most_devices)
    ]


def _busy(instance: dg.DagsterInstance, now: datetime) -> set[tuple[str | None, str | None]]:
    """Days with a run that has not ended, which another would only repeat, and closed ones whose run just failed."""
    at_work = [dg.RunsFilter(job_name=name, statuses=UNFINISHED) for name in JOBS]
    failed = dg.RunsFilter(
        job_name=closed_day_job.name, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - AFTER_FAILURE
    )
    runs = [run for wanted in (*at_work, failed) for run in instance.get_runs(wanted, limit=200)]
    return {(run.tags.get("dagster/partition"), run.tags.get(SHARD_TAG)) for run in runs}


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps the device partitions in step with the registry.",
)
def follow_registry(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    with platform.session() as session:
        registered = set(session.exec(select(Device.device_id)))
    known = set(context.instance.get_dynamic_partitions("devices"))
    new, gone = sorted(registered - known), sorted(known - registered)
    if new:
        # All at once: of a request the daemon looks up each partition by itself, minutes for a new fleet of 10,000.
        context.instance.add_dynamic_partitions("devices", new)
    told = f"{len(new)} device partitions added" if new else "the device partitions are in step with the registry"
    if not gone:
        return dg.SkipReason(told)
    requests = [devices.build_delete_request(gone[:MAX_DELETED_A_TICK])]
    return dg.SensorResult(dynamic_partitions_requests=requests, skip_reason=told)
