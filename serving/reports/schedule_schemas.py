"""Requests and answers about reports that are made and sent by themselves."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from assets.reports import LanguageCode
from serving.devices.schemas import DeviceId
from serving.http.fields import NAME, Moment, Text
from serving.http.pagination import SORT, CursorQuery
from serving.reports.schemas import Format
from serving.reports.subject import AnalysesFields, Scope
from serving.rules.schemas import Channels
from storage.report_schedules import Delivery, Frequency, RunStatus
from storage.validation import form

TIME_OF_DAY = form(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "write a time of day as 06:00")
Name = Annotated[Text, Field(min_length=1, max_length=255, examples=["Compressors, weekly"]), NAME]
ScheduleStatus = Literal["active", "paused"]


class ScheduleFields(AnalysesFields):
    """What is reported, how often, and to whom.

    Reports cover the day, week (from Monday) or month that ended last. They are made at `send_at` in the site's time
    zone: every day, on Mondays, or on the first of the month. `recipients` are configured notification channels, such
    as `email`; without any, the reports are made and can be downloaded.
    """

    name: Name | None = None
    frequency: Frequency
    send_at: Annotated[str, Field(pattern=TIME_OF_DAY, examples=["06:00"])] = "06:00"
    formats: list[Format] = Field(["pdf"], min_length=1, max_length=4)
    recipients: Channels = Field([])
    delivery: Annotated[
        Delivery,
        Field(description="Whether files are attached, where the channel can do that, or a link to each is sent"),
    ] = "attachment"
    language: Annotated[
        LanguageCode | None, Field(description="Of its texts, numbers and dates; else SITE_LANGUAGE")
    ] = None
    status: ScheduleStatus = "active"


class ReportOfRun(BaseModel):
    """A report that a run of a schedule asked for. `download` is the path that answers a link to its file."""

    job_id: str
    format: Format
    status: str
    size_bytes: int | None
    error_message: str | None
    download: str


class DeliveryOfRun(BaseModel):
    """A notification of a run: to whom, how it stands, and what the receiver answered last."""

    recipient: str
    status: str
    sent_at: Moment | None
    detail: str | None


class ScheduleRun(BaseModel):
    """One time that a schedule was due, or was run by hand.

    `status` is `pending` while the reports are made, then `completed`, or `failed` if none could be made. It is
    `missed` if the platform was away for so long that the run was not made up.
    """

    run_id: UUID
    schedule_id: UUID
    status: RunStatus
    due_at: Moment
    period_start: Moment
    period_end: Moment
    error_message: str | None
    created_at: Moment
    completed_at: Moment | None
    reports: list[ReportOfRun]
    deliveries: list[DeliveryOfRun]


class Schedule(BaseModel):
    """A schedule. `next_run_at` is null while it is paused. `warnings` name recipients that have no address."""

    schedule_id: UUID
    tenant_id: str | None
    name: str | None
    scope: Scope
    device_id: str | None
    device_ids: list[str] | None = Field(description="The devices of a fleet report; null for all of them")
    frequency: Frequency
    send_at: str
    timezone: str
    formats: list[Format]
    recipients: list[str]
    delivery: Delivery
    analysis_types: list[str]
    compute_missing: bool
    language: LanguageCode | None
    status: ScheduleStatus
    next_run_at: Moment | None
    created_at: Moment
    updated_at: Moment
    last_run: ScheduleRun | None
    warnings: list[str] = []


class ScheduleQuery(CursorQuery):
    tenant_id: Annotated[Text, Field(max_length=50)] | None = None
    device_id: Annotated[DeviceId, Field(description="Schedules of this device")] | None = None
    frequency: Frequency | None = None
    status: ScheduleStatus | None = None
    sort: Annotated[Literal["created_at", "-created_at", "next_run_at", "-next_run_at"], SORT] = "-created_at"


class RunQuery(CursorQuery):
    status: RunStatus | None = None
    sort: Annotated[Literal["due_at", "-due_at"], SORT] = "-due_at"
