"""Reports that are made by themselves: a Dagster schedule asks for those that are due, and sends those that are made.

The reports are jobs like those that clients ask for, and the sensor `launch_waiting_jobs` launches them. Senders of the
ingester deliver the notifications.
"""

import logging
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
from sqlmodel import Session

from assets.reports import due_until, next_due, reported_period
from orchestration.jobs.reports import report_job
from orchestration.resources import Platform
from storage import notifications, report_schedules
from storage.jobs import ACTIVE
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.times import utc_now

log = logging.getLogger(__name__)

# After a time without the platform, so many of a schedule's runs are made up, the newest ones.
MAX_MADE_UP = 7


@dg.schedule(
    job=report_job,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every minute: asks for the reports of the schedules that are due (/api/reports/schedules), and hands"
    " those that are made to the notification channels. The sensor `launch_waiting_jobs` launches their runs.",
)
def request_scheduled_reports(_: dg.ScheduleEvaluationContext, platform: Platform) -> dg.SkipReason:
    now, zone = utc_now(), platform.settings.zone
    with platform.session() as session:
        reports = sum(request_reports(session, row, zone, now) for row in report_schedules.due_schedules(session, now))
        session.commit()
        finished = sum(finish(session, run) for run in report_schedules.pending_runs(session))
        session.commit()
    return dg.SkipReason(f"{reports} reports were requested, and {finished} runs of schedules finished.")


def request_reports(session: Session, schedule: ReportSchedule, zone: ZoneInfo, now: datetime) -> int:
    """Add the runs of a schedule that is due, one for each time that it was due; how many reports they ask for.

    Of many times, the newest `MAX_MADE_UP` are made up, and the others are recorded as missed. The caller commits.
    """
    frequency, send_at = schedule.frequency, schedule.send_at
    assert schedule.next_run_at is not None  # noqa: S101 - the schedule is due
    due = due_until(frequency, send_at, zone, schedule.next_run_at, now)
    schedule.next_run_at = next_due(frequency, send_at, zone, now)
    requested = 0
    for number, due_at in enumerate(due):
        period = reported_period(frequency, zone, due_at)
        if number < len(due) - MAX_MADE_UP:
            report_schedules.add_missed_run(session, schedule, due_at, period)
        else:
            _, reports = report_schedules.start_run(session, schedule, due_at, period)
            requested += len(reports)
    if len(due) > MAX_MADE_UP:
        missed = len(due) - MAX_MADE_UP
        log.warning("schedule %s: %d runs were missed and are not made up", schedule.schedule_id, missed)
    return requested


def finish(session: Session, run: ReportScheduleRun) -> bool:
    """Complete a run if all its reports have ended, and add its notifications. The caller commits."""
    reports = report_schedules.reports_of(session, run.job_ids)
    if any(job.status in ACTIVE for job in reports):
        return False
    reasons = [f"{job.format}: {job.error_message or job.status}" for job in reports if job.status != "completed"]
    run.status = "completed" if any(job.status == "completed" for job in reports) else "failed"
    run.error_message = "; ".join(reasons) or None
    run.completed_at = utc_now()
    schedule = session.get_one(ReportSchedule, run.schedule_id)
    notifications.add_report_notifications(session, run, schedule.device_id, schedule.recipients)
    return True
