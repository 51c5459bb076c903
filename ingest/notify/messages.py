"""Messages: what an alert, or the reports of a schedule, say to people and to programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ingest.notify.report_words import report_words
from storage.alerts import Alert, rule_shown
from storage.jobs import FLEET, ReportJob
from storage.objects import ObjectStore
from storage.report_schedules import ReportSchedule, ReportScheduleRun
from storage.times import rfc3339

# As long as an S3 server allows.
LINK_VALIDITY = timedelta(days=7)
# Mail servers take 25 MB and less, and a file in a mail is a third larger. Larger files are sent as a link.
MAX_ATTACHED_BYTES = 15_000_000


@dataclass(frozen=True)
class ReportFiles:
    """Where the files of reports are. Links to those in a local folder begin with `address`, the API's."""

    objects: ObjectStore
    address: str


@dataclass(frozen=True)
class File:
    """A report's file. `content` is None if it is sent as a link."""

    name: str
    media_type: str
    link: str
    content: bytes | None


@dataclass(frozen=True)
class Message:
    """A notification's content: `title` and `text` for people, `body` for webhooks."""

    tenant_id: str | None
    title: str
    text: str
    body: Mapping[str, Any]
    files: Sequence[File] = field(default=())


def of_alert(alert: Alert, zone: ZoneInfo) -> Message:
    """The message about an alert; its time is shown in the zone."""
    at = alert.reading_time.astimezone(zone)
    text = (
        f"{alert.message}\n\nDevice: {alert.device_id}\nRule: {_line(alert.rule.get('rule_name'))}\n"
        f"Severity: {alert.severity}\nTime: {at:%Y-%m-%d %H:%M:%S %Z}\nAlert: {alert.alert_id}\n"
    )
    shown = {**alert.model_dump(mode="json"), "rule": rule_shown(alert, alert.tenant_id)}
    title = f"[{alert.severity}] {alert.device_id}: {_line(alert.rule.get('rule_name'))}"
    return Message(alert.tenant_id, title, text, {"alert": shown})


def of_reports(
    run: ReportScheduleRun,
    schedule: ReportSchedule,
    reports: Sequence[ReportJob],
    store: ReportFiles,
    zone: ZoneInfo,
) -> Message:
    """The message with the reports of a run of a schedule. Days are shown in the zone.

    Raises:
        KeyError: a report's file is gone.
        ObjectStoreUnavailable: the files' store does not answer.

    """
    made = [job for job in reports if job.status == "completed" and job.results]
    words = report_words(schedule, made)
    title = f"{_line(schedule.name or words.subject(schedule))}: {words.period(run.period_start, run.period_end, zone)}"
    files = [_file(job, store, is_attached=schedule.delivery == "attachment") for job in made]
    lines = [words.announced(schedule)]
    lines += [words.not_made.format(format=job.format, reason=job.error_message) for job in reports if job not in made]
    if not reports and run.error_message:
        lines.append(words.nothing_made.format(reason=run.error_message))
    body = {
        "run_id": str(run.run_id),
        "schedule_id": str(schedule.schedule_id),
        "name": schedule.name,
        "frequency": schedule.frequency,
        "device_id": None if schedule.device_id == FLEET else schedule.device_id,
        "period_start": rfc3339(run.period_start),
        "period_end": rfc3339(run.period_end),
        "status": run.status,
        "error_message": run.error_message,
        "files": [
            {"job_id": job.job_id, "format": job.format, "name": file.name, "download_url": file.link}
            for job, file in zip(made, files, strict=True)
        ],
    }
    return Message(run.tenant_id, title, "\n".join(lines), {"report": body}, files)


def _file(job: ReportJob, store: ReportFiles, *, is_attached: bool) -> File:
    results = job.results or {}
    key, is_attached = results["key"], is_attached and results["size_bytes"] <= MAX_ATTACHED_BYTES
    link = store.objects.download_url(key, LINK_VALIDITY)
    return File(
        name=key.rsplit("/", 1)[-1],
        media_type=results["media_type"],
        link=link if "://" in link else store.address + link,
        content=store.objects.get(key) if is_attached else None,
    )


def _line(text: object) -> str:
    """The text in one line, as the subject of a mail must be."""
    return " ".join(str(text).split())
