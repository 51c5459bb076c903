"""Recorded failures of devices: what failure prediction learns from."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from serving.auth.identified import IdentifiedRoute
from serving.auth.tenancy import DatabaseSession
from serving.devices.schemas import DevicePath
from serving.failures.schemas import FailureAnswer, FailureFields, FailurePublic, FailureQuery
from serving.http.errors import Conflict, NotFound, PreconditionFailed, problems
from serving.http.etags import UNCHANGED, IfMatch, IfNoneMatch, not_modified, refuse_stale
from serving.http.pagination import Page, paginate
from serving.telemetry.routes import refuse_unknown
from storage import failures
from storage.failures import Failure
from storage.times import rfc3339, utc_now

router = APIRouter(prefix="/api/v1/devices/{device_id}/failures", tags=["failures"], route_class=IdentifiedRoute)


@router.get("", responses=problems(NotFound))
def list_failures(
    session: DatabaseSession, device_id: DevicePath, query: Annotated[FailureQuery, Query()]
) -> Page[FailurePublic]:
    """List a device's recorded failures, the newest first by default."""
    refuse_unknown(session, [device_id])
    found = paginate(session, failures.of_device(device_id), query, "source", during="failed_at")
    return Page[FailurePublic].of(query, [_public(row) for row in found.rows], found)


@router.get("/{failure_id}", response_model=FailureAnswer, responses=problems(NotFound) | UNCHANGED)
def get_failure(
    session: DatabaseSession,
    response: Response,
    device_id: DevicePath,
    failure_id: UUID,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """One recorded failure, with its ETag and Last-Modified."""
    failure = _existing(session, device_id, failure_id)
    return not_modified(response, failure, if_none_match) or FailureAnswer(data=_public(failure))


@router.post("", status_code=201, responses=problems(NotFound, Conflict))
def create_failure(session: DatabaseSession, device_id: DevicePath, body: FailureFields) -> FailureAnswer:
    """Record a failure of a device. Predictions that start from now on learn from it."""
    refuse_unknown(session, [device_id])
    failure = Failure(device_id=device_id, source="api", **body.model_dump())
    session.add(failure)
    _commit(session, failure)
    return FailureAnswer(data=_public(failure))


@router.put("/{failure_id}", responses=problems(NotFound, Conflict, PreconditionFailed))
def update_failure(
    session: DatabaseSession, device_id: DevicePath, failure_id: UUID, body: FailureFields, if_match: IfMatch = None
) -> FailureAnswer:
    """Replace the fields of a recorded failure; its source stays."""
    failure = _existing(session, device_id, failure_id, for_update=True)
    refuse_stale(failure, if_match)
    for name, value in body.model_dump().items():
        setattr(failure, name, value)
    failure.updated_at = utc_now()
    _commit(session, failure)
    return FailureAnswer(data=_public(failure))


@router.delete("/{failure_id}", status_code=204, responses=problems(NotFound))
def delete_failure(session: DatabaseSession, device_id: DevicePath, failure_id: UUID) -> None:
    """Delete a failure that was recorded by mistake."""
    session.delete(_existing(session, device_id, failure_id))
    session.commit()


def _existing(session: Session, device_id: str, failure_id: UUID, *, for_update: bool = False) -> Failure:
    failure = session.get(Failure, failure_id, with_for_update=for_update or None)
    if failure is None or failure.device_id != device_id:
        path = f"/api/v1/devices/{device_id}/failures"
        raise NotFound(f"{device_id} has no failure {failure_id}; GET {path} lists its failures")
    return failure


def _commit(session: Session, failure: Failure) -> None:
    detail = f"{failure.device_id} has a failure at {rfc3339(failure.failed_at)} already; change that one instead"
    try:
        session.commit()
    except IntegrityError:
        raise Conflict(detail, field="failed_at") from None


def _public(failure: Failure) -> FailurePublic:
    return FailurePublic.model_validate(failure, from_attributes=True)
