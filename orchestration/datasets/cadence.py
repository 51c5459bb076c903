"""When datasets are made: the open day every minute, late days once they are quiet, and each day as it closes."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
from sqlmodel import Session

from orchestration.datasets.daily import ExportConfig
from orchestration.datasets.jobs import closed_day_job, dataset_job
from orchestration.partitions import devices, first_day
from orchestration.reload import reload_definitions
from orchestration.resources import Platform
from orchestration.runs import UNFINISHED
from orchestration.settings import OrchestrationSettings
from orchestration.shards import SHARD_TAG, split
from storage import checked_days, dirty_days
from storage.dataset_start import move_dataset_start
from storage.devices import device_ids
from storage.dirty_days import DirtyDay
from storage.job_runs import DEVICE_PARTITIONS, PARTITION_TAG
from storage.settings import Settings
from storage.times import microseconds, midnight, moment, utc_now

# Late days wait until no more telemetry arrives: a device that empties its buffer is one export, not twenty.
QUIET_TIME, MAX_WAIT = timedelta(minutes=5), timedelta(minutes=15)
# Most causes of a failed run last longer than a minute.
RETRY_DELAY = timedelta(minutes=5)
MAX_RUNS_A_TICK = 20
MAX_DELETED_A_TICK = 500
JOBS = (dataset_job.name, closed_day_job.name)


@dataclass(frozen=True)
class DueDay:
    """A day to export, and about how many of its devices."""

    day: date
    devices: int


@dg.sensor(
    jobs=[dataset_job, closed_day_job],
    minimum_interval_seconds=OrchestrationSettings.load().export_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests one run per day with new telemetry: for the open day at once, for a late day after 5"
    " minutes without telemetry (15 at most), and for each day when it closes. Without new telemetry it requests no"
    " runs. The days of large fleets are split over several runs.",
)
def export_touched_days(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    settings, platform_settings, now = OrchestrationSettings.load(), Settings.load(), utc_now()
    cursor = context.cursor or look_back(platform, now)
    with platform.session() as session:
        due = due_days(session, now)
        start = move_dataset_start(session, platform_settings)
        session.commit()
    early = [d.day for d in due if d.day < first_day]
    if start < first_day:
        context.log.info(f"There is older telemetry; the definitions are loaded again, and days begin on {start}.")
        # The answer comes when this process has ended: the code server replaces it.
        reload_definitions(platform_settings, timeout_seconds=1)
    elif early:
        context.log.warning(
            f"{len(early)} days before DATASET_START_DATE={first_day} are not exported, the first is {early[0]}."
            " Set DATASET_START_DATE to an earlier day to export them."
        )
    occupied = _occupied_partitions(context.instance, now)
    requests = [
        request
        for d in due
        if d.day >= first_day
        for request in _requests(d, now.date(), settings.split_runs_above_devices)
        if (request.partition_key, request.tags[SHARD_TAG]) not in occupied
    ]
    reason = None if requests else "There is no new telemetry to export."
    return dg.SensorResult(run_requests=requests[:MAX_RUNS_A_TICK], skip_reason=reason, cursor=cursor)


def look_back(platform: Platform, now: datetime) -> str:
    """Mark days of the last LOOKBACK_HOURS dirty if `dirty_days` does not know them, and return the sensor's cursor.

    The first tick does this, for telemetry that came without being marked.
    """
    since = microseconds(now - timedelta(hours=OrchestrationSettings.load().lookback_hours))
    with platform.stores() as stores:
        session = stores.session
        unknown = [
            (device_id, time)
            for device_id, time in stores.telemetry.device_days(since)
            if session.get(DirtyDay, (device_id, moment(time).date())) is None
        ]
        dirty_days.mark_dirty(session, unknown)
        session.commit()
    return f"looked back at {now.isoformat(timespec='seconds')}"


def due_days(session: Session, now: datetime) -> list[DueDay]:
    """The dirty days whose time has come, and the days that closed since they were exported; oldest first."""
    due = {
        waiting.day: waiting.devices
        for waiting in dirty_days.waiting_by_day(session)
        if waiting.day >= now.date()
        or waiting.last_marked_at < now - QUIET_TIME
        or waiting.first_marked_at < now - MAX_WAIT
    }
    open_from = now.date() if now - midnight(now.date()) > QUIET_TIME else now.date() - timedelta(days=1)
    for closed, count in checked_days.unchecked(session, before=open_from).items():
        due[closed] = due.get(closed, 0) + count
    return [DueDay(day, due[day]) for day in sorted(due)]


def _requests(due: DueDay, today: date, max_devices: int) -> list[dg.RunRequest]:
    """The requests for one run, or for several if the day has many devices."""
    job = dataset_job if due.day >= today else closed_day_job
    return [
        dg.RunRequest(
            job_name=job.name,
            partition_key=due.day.isoformat(),
            run_config=dg.RunConfig(
                ops={"telemetry_dataset": ExportConfig(only_touched=True, shard=part.shard, shards=part.shards)}
            ),
            tags=part.tags,
        )
        for part in split(due.devices, max_devices)
    ]


def _occupied_partitions(instance: dg.DagsterInstance, now: datetime) -> set[tuple[str | None, str | None]]:
    """The days and shards with an unfinished run, and those of closed days whose run has just failed."""
    filters = [
        *(dg.RunsFilter(job_name=name, statuses=UNFINISHED) for name in JOBS),
        dg.RunsFilter(
            job_name=closed_day_job.name, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - RETRY_DELAY
        ),
    ]
    runs = [run for filter_ in filters for run in instance.get_runs(filter_, limit=200)]
    return {(run.tags.get(PARTITION_TAG), run.tags.get(SHARD_TAG)) for run in runs}


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps the device partitions in step with the registry: adds new devices, and deletes those that are"
    " not registered and have sent nothing.",
)
def follow_registry(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    partitions = set(context.instance.get_dynamic_partitions(DEVICE_PARTITIONS))
    with platform.session() as session:
        registered = set(device_ids(session))
        # A device that sends without being registered is analysed too: a run whose partition is deleted fails.
        deleted = dirty_days.unknown_devices(session, sorted(partitions - registered))
    new = sorted(registered - partitions)
    if new:
        # All at once: from a request the daemon looks each partition up by itself, which takes minutes for 10,000.
        context.instance.add_dynamic_partitions(DEVICE_PARTITIONS, new)
    reason = f"{len(new)} device partitions were added." if new else "The device partitions match the registry."
    if not deleted:
        return dg.SkipReason(reason)
    requests = [devices.build_delete_request(deleted[:MAX_DELETED_A_TICK])]
    return dg.SensorResult(dynamic_partitions_requests=requests, skip_reason=reason)
