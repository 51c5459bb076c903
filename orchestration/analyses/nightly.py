"""Every night the whole fleet is analysed: in runs of many devices, with a job's row and a result for each of them."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select

from assets.datasets import NoTelemetry
from orchestration.analyses.results import do_analysis, new_job
from orchestration.resources import Platform
from orchestration.run_job import run_job
from orchestration.shards import SHARD_TAG, Shard, split
from storage.devices import Device
from storage.jobs import AnalyticsJob
from storage.objects import ObjectStoreUnavailable
from storage.telemetry import StoreUnavailable
from storage.times import midnight

# What needs nothing but a device's past; a prediction needs its recorded failures, which a client gives.
ASSETS = {"anomaly": dg.AssetKey("anomaly_result"), "forecast": dg.AssetKey("forecast")}
DAYS = 28
# A device whose data do not carry an analysis (too few days, say, or errors in them) is passed over.
OUTCOMES = ("completed", "passed over", "failed", "cancelled", "without datasets")
MAX_NAMED = 100
NIGHT_TAG = "energy/night"


class NightConfig(Shard):
    """Closed days until `last` are looked at, of the shard's devices."""

    last: str


class _Night:
    """What the analyses of one night share."""

    def __init__(self, context: dg.OpExecutionContext, platform: Platform, session: Session, last: date) -> None:
        self._context, self._platform, self._session, self._last = context, platform, session, last
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.passed_over: list[dg.TableRecord] = []
        self.unexpected: list[str] = []

    def analyse(self, device_id: str, analysis_type: str) -> None:
        """As if it had been asked for over REST; one that cannot be done does not hold the others."""
        if _is_done(self._session, device_id, analysis_type, self._last):
            return
        first = self._last - timedelta(days=DAYS - 1)
        try:
            job = new_job(self._session, device_id, analysis_type, start=first, end=self._last)
        except NoTelemetry:
            self.counts["without datasets"] += 1
            return
        self.counts[self._outcome(job)] += 1

    def _outcome(self, job: AnalyticsJob) -> str:
        """A store that is away ends the night."""
        try:
            facts = run_job(self._context, self._platform, AnalyticsJob, job.job_id, do_analysis)
        except (ObjectStoreUnavailable, StoreUnavailable, OperationalError):
            raise
        except dg.Failure as failure:
            self._pass_over(job, failure.description or "")
            return "passed over"
        except Exception as error:
            self._context.log.exception(f"{job.analysis_type} of {job.device_id}")
            self.unexpected.append(f"{job.analysis_type} of {job.device_id}: {error}")
            return "failed"
        if facts is None:
            return "cancelled"
        made = dg.AssetMaterialization(ASSETS[job.analysis_type], partition=job.device_id, metadata=facts)
        self._context.instance.report_runless_asset_event(made)
        return "completed"

    def _pass_over(self, job: AnalyticsJob, reason: str) -> None:
        """A device's data do not carry the analysis: nobody asked for it, so no failed job is left every night."""
        self._session.delete(job)
        self._session.commit()
        self._context.log.info(f"{job.analysis_type} of {job.device_id} is passed over: {reason}")
        record = {"device": job.device_id, "analysis": job.analysis_type, "why": reason}
        self.passed_over.append(dg.TableRecord(record))

    @property
    def summary(self) -> dict[str, Any]:
        """What Dagster shows of the night."""
        return {**self.counts, **({"passed over, and why": _table(self.passed_over)} if self.passed_over else {})}


@dg.op(description="Analyses a shard's devices, one after the other; repeated, it does what is left.")
def analyse_shard(context: dg.OpExecutionContext, config: NightConfig, platform: Platform) -> None:
    """Analyse each device's days."""
    with platform.session() as session:
        night = _Night(context, platform, session, date.fromisoformat(config.last))
        for device_id in active_devices(session, config):
            for analysis_type in ASSETS:
                night.analyse(device_id, analysis_type)
    context.add_output_metadata(night.summary)
    if night.unexpected:
        raise dg.Failure(f"{len(night.unexpected)} analyses broke, among them {night.unexpected[0]}")


def _table(records: list[dg.TableRecord]) -> dg.TableMetadataValue:
    columns = [dg.TableColumn(name) for name in ("device", "analysis", "why")]
    return dg.MetadataValue.table(records[:MAX_NAMED], schema=dg.TableSchema(columns))


def active_devices(session: Session, shard: Shard) -> list[str]:
    """Those of the shard."""
    active = session.exec(select(Device.device_id).where(Device.status == "active").order_by(Device.device_id))
    return [device_id for device_id in active if shard.holds(device_id)]


def _is_done(session: Session, device_id: str, analysis_type: str, last: date) -> bool:
    """Whether the device's days until that one were analysed already."""
    end = midnight(last + timedelta(days=1))
    done = select(AnalyticsJob.id).where(
        AnalyticsJob.device_id == device_id,
        AnalyticsJob.analysis_type == analysis_type,
        AnalyticsJob.status == "completed",
        AnalyticsJob.date_range_end == end,
    )
    return session.exec(done.limit(1)).first() is not None


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "analytics", NIGHT_TAG: "yes"},
    description="Anomalies and forecasts of many devices in one run, over their last 28 closed days.",
)
def nightly_job() -> None:
    analyse_shard()


@dg.schedule(
    job=nightly_job,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:30 UTC: anomalies and forecasts of every active device. Large fleets are split over"
    " several runs, which follow one another.",
)
def analyse_fleet(context: dg.ScheduleEvaluationContext, platform: Platform) -> list[dg.RunRequest] | dg.SkipReason:
    last = (context.scheduled_execution_time - timedelta(days=1)).date()
    with platform.session() as session:
        devices = len(active_devices(session, Shard()))
    if not devices:
        return dg.SkipReason("no device is active")
    return [
        dg.RunRequest(
            run_key=f"{last} {part.tags[SHARD_TAG]}",
            run_config=dg.RunConfig(
                ops={"analyse_shard": NightConfig(last=last.isoformat(), shard=part.shard, shards=part.shards)}
            ),
            tags=part.tags,
        )
        for part in split(devices, platform.settings.split_runs_above_devices)
    ]
