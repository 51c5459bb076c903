"""Corrections of a device's readings: preview, store, list, undo. Raw readings are never changed."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlmodel import Session, col

from assets.datasets import Change, change_of
from assets.energy import EnergyFigures
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import ANONYMOUS_ACTOR, DatabaseSession
from serving.corrections.checks import check
from serving.corrections.schemas import (
    CorrectionAnswer,
    CorrectionFields,
    CorrectionPublic,
    CorrectionQuery,
    PreviewAnswer,
    UndoFields,
)
from serving.dependencies import PlatformSettings, Readings
from serving.devices.schemas import DevicePath
from serving.http.errors import Conflict, NotFound, problems
from serving.http.formats import json_answer
from serving.http.pagination import Page, paginate
from serving.telemetry.items import json_consumption, json_findings
from serving.telemetry.routes import refuse_unknown
from storage import corrections
from storage.access import Principal
from storage.corrections import Correction
from storage.devices import metadata_of
from storage.settings import Settings
from storage.telemetry import MetricStatistics
from storage.times import moment, rfc3339

router = APIRouter(prefix="/api/v1/devices/{device_id}/corrections", tags=["corrections"], route_class=IdentifiedRoute)
log = logging.getLogger(__name__)

Preview = Annotated[bool, Query(description="Answer what would change, and store nothing")]
PREVIEW: dict[int | str, dict[str, Any]] = {200: {"model": PreviewAnswer, "description": "With `preview=true`"}}


@router.get("", responses=problems(NotFound))
def list_corrections(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    device_id: DevicePath,
    query: Annotated[CorrectionQuery, Query()],
) -> Page[CorrectionPublic]:
    """List a device's corrections, the newest first by default, with those that were undone."""
    refuse_unknown(session, [device_id])
    rows = corrections.of_device(device_id)
    if query.status is not None:
        undone = col(Correction.undone_at)
        rows = rows.where(undone.is_(None) if query.status == "active" else undone.is_not(None))
    found = paginate(session, rows, query, "metric", columns={"from": "starts_at"})
    return Page[CorrectionPublic].of(query, _public(session, principal, *found.rows), found)


@router.post("", status_code=201, response_model=CorrectionAnswer, responses=PREVIEW | problems(NotFound, Conflict))
def create_correction(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    reader: Readings,
    settings: PlatformSettings,
    device_id: DevicePath,
    *,
    body: CorrectionFields,
    preview: Preview = False,
) -> Any:
    """Correct readings of a device. Energy, statistics and reports follow at once, and the days' files are made again.

    The readings themselves, and alerts that they raised, stay. Where corrections overlap, the newest one decides.
    """
    unit = check(session, reader, device_id, body)
    row = Correction(device_id=device_id, unit=unit, created_by=principal.name or ANONYMOUS_ACTOR, **body.model_dump())
    if preview:
        others = corrections.active(session, device_id)
        change = change_of(session, reader, row, others, _zone(session, settings, device_id))
        return _preview(session, settings, row, change)
    corrections.add(session, row)
    session.commit()
    _log("made", row, row.created_by, row.reason)
    return CorrectionAnswer(data=_public(session, principal, row)[0])


@router.post("/{correction_id}/undo", response_model=CorrectionAnswer | PreviewAnswer, responses=problems(NotFound))
def undo_correction(
    session: DatabaseSession,
    principal: CurrentPrincipal,
    reader: Readings,
    settings: PlatformSettings,
    device_id: DevicePath,
    *,
    correction_id: int,
    body: UndoFields | None = None,
    preview: Preview = False,
) -> Any:
    """Undo a correction: energy, statistics and files are again what they were. Undoing it twice changes nothing."""
    row = _existing(session, device_id, correction_id, for_update=not preview)
    if preview:
        others = [other for other in corrections.active(session, device_id) if other.correction_id != correction_id]
        zone = _zone(session, settings, device_id)
        change = change_of(session, reader, row, others, zone, undo=row.undone_at is None)
        return _preview(session, settings, row, change)
    if row.undone_at is None:
        by, reason = principal.name or ANONYMOUS_ACTOR, body.reason if body else None
        corrections.undo(session, row, by=by, reason=reason)
        session.commit()
        _log("undone", row, by, reason)
    return CorrectionAnswer(data=_public(session, principal, row)[0])


def _existing(session: Session, device_id: str, correction_id: int, *, for_update: bool) -> Correction:
    is_id = 0 < correction_id < 2**63
    row = session.get(Correction, correction_id, with_for_update=for_update or None) if is_id else None
    if row is None or row.device_id != device_id:
        path = f"/api/v1/devices/{device_id}/corrections"
        raise NotFound(f"{device_id} has no correction {correction_id}; GET {path} lists its corrections")
    return row


def _public(session: Session, principal: Principal, *rows: Correction) -> list[CorrectionPublic]:
    return [
        CorrectionPublic.model_validate({**row, "status": "active" if row["undone_at"] is None else "undone"})
        for row in corrections.seen_by(session, rows, principal.tenant_id)
    ]


def _zone(session: Session, settings: Settings, device_id: str) -> Any:
    return metadata_of(session, device_id).zone(settings.zone)


def _preview(session: Session, settings: Settings, row: Correction, change: Change) -> Response:
    data = {
        "device_id": row.device_id,
        "metric": row.metric,
        "readings": change.readings,
        "timezone": _zone(session, settings, row.device_id).key,
        "start_time": moment(change.start),
        "end_time": moment(change.end),
        "before": _numbers(change.before),
        "after": _numbers(change.after),
        "metric_before": _metric_numbers(change.statistics_before),
        "metric_after": _metric_numbers(change.statistics_after),
        "consumption_before": json_consumption(change.before),
        "consumption_after": json_consumption(change.after),
        "days": [
            {
                "day": day.day.isoformat(),
                "readings": day.readings,
                "before": _numbers(day.before),
                "after": _numbers(day.after),
            }
            for day in change.days
        ],
        "findings_removed": json_findings(change.removed),
        "findings_added": json_findings(change.added),
    }
    return json_answer({"success": True, "data": data})


def _numbers(energy: EnergyFigures) -> dict[str, Any]:
    return {
        "energy_kwh": energy.kwh,
        "energy_export_kwh": energy.export_kwh,
        "coverage": energy.coverage,
        "peak_demand_15min": energy.peak_demand and energy.peak_demand.watts,
        "peak_feed_in_15min": energy.peak_feed_in and energy.peak_feed_in.watts,
    }


def _metric_numbers(found: MetricStatistics | None) -> dict[str, Any]:
    if found is None:
        return {"count": 0, "min": None, "max": None, "mean": None}
    return {"count": found.count, "min": found.min, "max": found.max, "mean": found.mean}


def _log(what: str, row: Correction, by: str, reason: str | None) -> None:
    log.info(
        "correction %s of %s was %s by %s: %s %s from %s to %s (%s)",
        row.correction_id,
        row.device_id,
        what,
        by,
        row.action,
        row.metric,
        rfc3339(row.starts_at),
        rfc3339(row.ends_at),
        repr(reason) if reason else "no reason given",
    )
