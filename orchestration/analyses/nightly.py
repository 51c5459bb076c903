"""Every night the whole fleet is analysed, in runs of many devices; each analysis has a job's row and a result."""

import time
import zlib
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Any

import dagster as dg
from pydantic import Field
from sqlmodel import Session

from assets.analyses import (
    MIN_FAILURES,
    AnalysisType,
    AnomalyParameters,
    ForecastParameters,
    Parameters,
    PredictionParameters,
)
from assets.datasets import NoTelemetry
from orchestration.analyses.results import ANALYSIS_ASSETS, perform_analysis
from orchestration.analyses.run_config import add_job
from orchestration.claimed_job import claimed_job
from orchestration.resources import Platform
from orchestration.settings import OrchestrationSettings
from orchestration.shards import SHARD_TAG, Shard, split
from storage import jobs
from storage.devices import device_ids
from storage.fleet import failing_devices, longest_waiting
from storage.jobs import AnalyticsJob
from storage.stores import STORE_ERRORS
from storage.times import midnight, utc_now


@dataclass(frozen=True)
class NightlyAnalysis:
    """An analysis of every night, over the last closed days."""

    analysis_type: AnalysisType
    parameters: Parameters
    days: int


# Forecasts reach into the next morning, so that each of its hours has a band before the next night's forecasts.
OF_EVERY_DEVICE = (
    NightlyAnalysis("anomaly", AnomalyParameters(), 28),
    NightlyAnalysis("forecast", ForecastParameters(horizon_hours=30), 28),
)
# Of devices that can learn from recorded failures, once all devices have the others: failures are rare, so the days are
# more, and what a fleet has in common is fitted once.
PREDICTION = NightlyAnalysis("prediction", PredictionParameters(), 90)
# A device is skipped if its data cannot be analysed, for example because there are too few days.
OUTCOMES = ("completed", "skipped", "failed", "cancelled", "no datasets")
MAX_NAMED = 100
# dagster.yaml limits how many runs with this tag are active.
NIGHT_TAG = "energy/night"


class NightConfig(Shard):
    """The shard's devices, the days to analyse, and how long the run may take."""

    last: Annotated[
        str | None, Field(description="The last closed day to analyse, as 2026-02-12. By default, yesterday.")
    ] = None
    budget_minutes: Annotated[
        float | None, Field(description="How long the run may take. By default, NIGHT_BUDGET_MINUTES.")
    ] = None

    @property
    def last_day(self) -> date:
        """The last day to analyse.

        Raises:
            dg.Failure: `last` is not a day that has closed.

        """
        yesterday = utc_now().date() - timedelta(days=1)
        try:
            day = date.fromisoformat(self.last) if self.last else yesterday
        except ValueError:
            reason = f"last: {self.last} is not a day; write it as 2026-02-12."
            raise dg.Failure(reason, allow_retries=False) from None
        if day > yesterday:
            raise dg.Failure(f"last: {day} has not closed. Give {yesterday} or earlier.", allow_retries=False)
        return day


@dataclass
class Night:
    """The outcomes of a run: how many analyses had each, and the reasons of those that were skipped or failed."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    skipped: list[dg.TableRecord] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def metadata(self) -> dict[str, Any]:
        names = ", ".join(self.left[:MAX_NAMED]) + (" …" if len(self.left) > MAX_NAMED else "")
        left = {"devices left": len(self.left), "left for the next night": names} if self.left else {}
        if not self.skipped:
            return {**self.counts, **left}
        columns = [dg.TableColumn(name) for name in ("device", "analysis", "reason")]
        table = dg.MetadataValue.table(self.skipped[:MAX_NAMED], schema=dg.TableSchema(columns))
        return {**self.counts, **left, "skipped analyses": table}


@dg.op(
    description="Analyses the devices of a shard one by one, first those that have waited the longest. Kept models"
    " score the new day, and each device's models are fitted again once a week. Then failures are predicted for devices"
    " with recorded failures, their own or those of their type. A repeated run performs only what is missing."
)
def analyse_shard(context: dg.OpExecutionContext, config: NightConfig, platform: Platform) -> None:
    config.check()
    night, last = Night(), config.last_day
    until = midnight(last + timedelta(days=1))
    budget = config.budget_minutes or OrchestrationSettings.load().night_budget_minutes
    deadline = time.monotonic() + 60 * budget
    with platform.session() as session:
        active = active_devices(session, config)
        failing = failing_devices(session, until - timedelta(days=PREDICTION.days), MIN_FAILURES)
        work = [
            (device_id, analyses)
            for analyses, devices in ((OF_EVERY_DEVICE, active), ((PREDICTION,), set(active) & set(failing)))
            for device_id in longest_waiting(session, devices, until, [one.analysis_type for one in analyses])
        ]
        for i, (device_id, analyses) in enumerate(work):
            if time.monotonic() > deadline:
                night.left = list(dict.fromkeys(device_id for device_id, _ in work[i:]))
                context.log.warning(
                    f"{budget:g} minutes are over (NIGHT_BUDGET_MINUTES). {len(night.left)} devices are left; the next"
                    f" night begins with them: {', '.join(night.left[:MAX_NAMED])}"
                )
                break
            for analysis in analyses:
                # A device that has not failed itself takes part in its fleet's model, and has none of its own.
                is_fitted = analysis is not PREDICTION or failing[device_id] > 0
                refit = is_fitted and is_refit_night(device_id, last)
                if jobs.is_analysed(session, device_id, analysis.analysis_type, until):
                    continue
                try:
                    job = add_job(
                        session,
                        device_id,
                        analysis.analysis_type,
                        start=last - timedelta(days=analysis.days - 1),
                        end=last,
                        parameters=analysis.parameters.model_copy(update={"refit": refit}),
                    )
                except NoTelemetry:
                    night.counts["no datasets"] += 1
                    continue
                session.commit()
                night.counts[_analyse(context, platform, session, job, night)] += 1
    context.add_output_metadata(night.metadata())
    if night.failures:
        raise dg.Failure(f"{len(night.failures)} analyses failed, the first is {night.failures[0]}")


def _analyse(
    context: dg.OpExecutionContext, platform: Platform, session: Session, job: AnalyticsJob, night: Night
) -> str:
    """Perform one analysis and return its outcome. Only a store that is unavailable ends the run."""
    name = f"{job.analysis_type} of {job.device_id}"
    try:
        with claimed_job(context, platform, AnalyticsJob, job.job_id) as claimed:
            if claimed:
                metadata, asset = perform_analysis(claimed, keep_scores=False), ANALYSIS_ASSETS[job.analysis_type]
                context.instance.report_runless_asset_event(
                    dg.AssetMaterialization(asset.key, partition=job.device_id, metadata=metadata)
                )
                return "completed"
    except STORE_ERRORS:
        raise
    except dg.Failure as failure:
        # No client asked for this job, so it does not stay as a failed one every night.
        session.delete(job)
        session.commit()
        context.log.info(f"{name} was skipped: {failure.description}")
        record = {"device": job.device_id, "analysis": job.analysis_type, "reason": failure.description or ""}
        night.skipped.append(dg.TableRecord(record))
        return "skipped"
    except Exception as error:
        context.log.exception(f"{name} failed")
        night.failures.append(f"{name}: {error}")
        return "failed"
    return "cancelled"


def is_refit_night(device_id: str, last: date) -> bool:
    """Whether the device's models are fitted and tested again: once a week, by the hash of its id."""
    return zlib.crc32(f"refit {device_id}".encode()) % 7 == last.toordinal() % 7


def active_devices(session: Session, shard: Shard) -> list[str]:
    """The shard's active devices."""
    return [device_id for device_id in device_ids(session, status="active") if shard.holds(device_id)]


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "analytics", NIGHT_TAG: "yes"},
    description="Detects anomalies, makes forecasts and predicts failures for many devices in one run, from their last"
    " 28 closed days, and failures from the last 90.",
)
def nightly_job() -> None:
    analyse_shard()


@dg.schedule(
    job=nightly_job,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at 03:30 UTC: anomalies and forecasts of every active device, and failure predictions"
    " where failures are recorded. Large fleets are split over several runs, one after the other.",
)
def analyse_fleet(context: dg.ScheduleEvaluationContext, platform: Platform) -> list[dg.RunRequest] | dg.SkipReason:
    last = (context.scheduled_execution_time - timedelta(days=1)).date()
    settings = OrchestrationSettings.load()
    with platform.session() as session:
        devices = len(active_devices(session, Shard()))
    if not devices:
        return dg.SkipReason("No device is active.")
    return [
        dg.RunRequest(
            run_key=f"{last} {part.tags[SHARD_TAG]}",
            run_config=dg.RunConfig(
                ops={
                    "analyse_shard": NightConfig(
                        last=last.isoformat(),
                        shard=part.shard,
                        shards=part.shards,
                        budget_minutes=settings.night_budget_minutes / part.shards,
                    )
                }
            ),
            tags=part.tags,
        )
        for part in split(devices, settings.split_runs_above_devices)
    ]
