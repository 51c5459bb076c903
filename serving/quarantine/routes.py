"""The quarantine: what intake refused, and its replay after a correction."""

from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Query, Request

from ingest.intake import MAX_REPLAYED, ReplayRunning, replay
from serving.auth.identified import IdentifiedRoute
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.http.errors import Conflict, problems
from serving.http.pagination import Page, paginate
from serving.quarantine.schemas import (
    QuarantineItem,
    QuarantineQuery,
    Refusal,
    ReplayAnswer,
    ReplayRequest,
    ReplayResult,
)
from storage.quarantine import QuarantinedReading, Selection, waiting_ids

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"], route_class=IdentifiedRoute)

MAX_REFUSALS = 100


@router.get("/quarantine")
def list_quarantine(session: DatabaseSession, query: Annotated[QuarantineQuery, Query()]) -> Page[QuarantineItem]:
    """List refused messages and items, newest first by default."""
    selection = Selection(
        device_id=query.device_id,
        reason=query.reason,
        metric=query.metric,
        since=query.start_time,
        until=query.end_time,
        replayed=query.replayed,
    )
    found = paginate(session, selection.rows(), query)
    return Page[QuarantineItem].of(query, [_item(row) for row in found.rows], found)


@router.post("/quarantine/replay", responses=problems(Conflict))
def replay_quarantine(
    request: Request, session: DatabaseSession, settings: PlatformSettings, body: ReplayRequest
) -> ReplayAnswer:
    """Decode and store refused payloads with the current registry and rules. What is refused again stays.

    A second replay changes nothing: rows that were accepted are not tried again.
    """
    selection = Selection(body.ids, body.device_id, body.reason, body.metric, body.start_time, body.end_time)
    ids = waiting_ids(session, selection, after=body.after_id, limit=MAX_REPLAYED)
    session.rollback()  # returns the connection while the replay works with its own
    try:
        replayed = replay(settings, request.app.state.engine, request.app.state.telemetry, ids)
    except ReplayRunning as running:
        raise Conflict(str(running)) from None
    has_more = replayed.stopped or len(ids) == MAX_REPLAYED
    return ReplayAnswer(
        data=ReplayResult(
            tried=replayed.tried,
            accepted=replayed.accepted,
            readings=replayed.readings,
            refused=len(replayed.refused),
            refusals=[Refusal(id=row_id, reason=reason) for row_id, reason in replayed.refused[:MAX_REFUSALS]],
            next_after_id=replayed.last_id if has_more else None,
            stopped=replayed.stopped,
        )
    )


def _item(row: QuarantinedReading) -> QuarantineItem:
    try:
        payload, encoding = row.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = b64encode(row.payload).decode(), "base64"
    return QuarantineItem.model_validate({**row.model_dump(), "payload": payload, "encoding": encoding})
