"""What intake could not take: the quarantine, and a second chance for it."""

from base64 import b64encode
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import select

from ingest.intake import quarantine
from ingest.intake.quarantine import MAX_REPLAYED, ReplayRunning
from serving.dependencies import A_NUMBER, DatabaseSession, DeviceId, Instant, Moment, PlatformSettings, Text
from serving.http.errors import Conflict, problems
from serving.http.pagination import SORT, During, Page, paginate
from storage.devices import METRIC
from storage.quarantine import QuarantinedReading, Selection

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

SHOWN_REFUSALS = 100

Reason = Annotated[Text, Field(min_length=1, max_length=200, description="A part of the reason's text")]
Metric = Annotated[str, Field(pattern=METRIC, examples=["temperature"])]
RowId = Annotated[int, Field(ge=1, lt=2**63), A_NUMBER]


class QuarantineItem(BaseModel):
    """A message, or one item of one; `payload` is text, or base64 where it is none."""

    id: int
    device_id: str | None
    topic: str
    payload: str
    encoding: Literal["utf-8", "base64"]
    reason: str
    metric: str | None
    received_at: Moment
    replayed_at: Moment | None


class QuarantineList(BaseModel):
    success: Literal[True] = True
    data: list[QuarantineItem]
    total: int
    page: int
    page_size: int


class QuarantineQuery(Page, During):
    """`start_time` and `end_time` are about when a message came."""

    device_id: DeviceId | None = None
    reason: Reason | None = None
    metric: Metric | None = None
    replayed: Annotated[bool, Field(description="Whether it was taken at its second chance")] | None = None
    sort: Annotated[Literal["received_at", "-received_at"], SORT] = "-received_at"


class ReplayRequest(BaseModel):
    """Which rows: by id, or by what `GET /api/v1/data/quarantine` filters by; all that wait if nothing is said."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[RowId], Field(min_length=1, max_length=MAX_REPLAYED)] | None = None
    device_id: DeviceId | None = None
    reason: Reason | None = None
    metric: Metric | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    after_id: Annotated[
        int, Field(ge=0, lt=2**63, description="The `next_after_id` of the answer before"), A_NUMBER
    ] = 0


class Refusal(BaseModel):
    id: int
    reason: str


class ReplayResult(BaseModel):
    """What became of the rows that were tried: at most 10,000 at once, `next_after_id` asks for the others.

    `accepted` rows held `readings` good readings together; `refusals` are the first 100 of those refused again, with
    the reason of now. `stopped` says which store did not answer any more.
    """

    tried: int
    accepted: int
    readings: int
    refused: int
    refusals: list[Refusal]
    next_after_id: int | None
    stopped: str | None


class ReplayAnswer(BaseModel):
    success: Literal[True] = True
    data: ReplayResult


@router.get("/quarantine")
def list_quarantine(session: DatabaseSession, query: Annotated[QuarantineQuery, Query()]) -> QuarantineList:
    """Messages and items that were refused, newest first unless sorted otherwise."""
    asked = query.device_id, query.reason, query.metric, query.start_time, query.end_time, query.replayed
    rows, total = paginate(session, Selection(None, *asked).of(select(QuarantinedReading)), query)
    data = [_item(row) for row in rows]
    return QuarantineList(data=data, total=total, page=query.page, page_size=query.page_size)


@router.post("/quarantine/replay", responses=problems(Conflict))
def replay_quarantine(
    request: Request, session: DatabaseSession, settings: PlatformSettings, body: ReplayRequest
) -> ReplayAnswer:
    """Decode and keep refused payloads with today's registry and rules; what is refused again stays where it is.

    Doing so twice changes nothing: what was taken is not tried again.
    """
    selection = Selection(body.ids, body.device_id, body.reason, body.metric, body.start_time, body.end_time)
    ids = quarantine.waiting(session, selection, after=body.after_id, most=MAX_REPLAYED)
    session.rollback()  # gives the connection back while the replay works with its own
    try:
        done = quarantine.replay(settings, request.app.state.engine, request.app.state.telemetry, ids)
    except ReplayRunning as running:
        raise Conflict(str(running)) from None
    refusals = [Refusal(id=row_id, reason=reason) for row_id, reason in done.refused[:SHOWN_REFUSALS]]
    return ReplayAnswer(
        data=ReplayResult(
            tried=done.tried,
            accepted=done.accepted,
            readings=done.readings,
            refused=len(done.refused),
            refusals=refusals,
            next_after_id=done.last_id if done.stopped or len(ids) == MAX_REPLAYED else None,
            stopped=done.stopped,
        )
    )


def _item(row: QuarantinedReading) -> QuarantineItem:
    try:
        payload, encoding = row.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = b64encode(row.payload).decode(), "base64"
    return QuarantineItem.model_validate({**row.model_dump(), "payload": payload, "encoding": encoding})
