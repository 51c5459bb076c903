"""A machine's energy: what it used by day, its demand, and what was noticed about its meter."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from assets.energy import SiteSettings
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.corrections import routes as corrections
from serving.corrections.schemas import CorrectionFields, CorrectionQuery, UndoFields
from serving.dependencies import PlatformSettings, Readings, WorkingSite
from serving.devices.schemas import DevicePath
from serving.http.errors import Problem
from serving.pages.charts import ChartData, Series, Style
from serving.pages.display import told_apart
from serving.pages.forms import body_of
from serving.pages.machine import machine_context
from serving.pages.render import show
from serving.pages.route import form_of, pages, to_page
from serving.telemetry.energy import Interval, energy_data
from storage.devices import metadata_of
from storage.settings import Settings
from storage.times import microseconds, midnight, utc_now

router = pages()

# What people say of a finding, as the correction that it becomes.
VERDICTS = {"confirm": "It is real", "exclude": "It is left out"}

# How a range is divided, by its length in days.
INTERVALS: dict[int, Interval] = {1: "15m", 3: "hour", 7: "hour", 31: "day", 366: "month"}


class EnergyQuery(BaseModel):
    """The last days, today included."""

    days: Annotated[int, Field(ge=1, le=366)] = 31


@router.get("/machines/{device_id}/energy")
def energy_tab(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    *,
    site: WorkingSite,
    principal: CurrentPrincipal,
    device_id: DevicePath,
    query: Annotated[EnergyQuery, Query()],
) -> Response:
    """Energy and demand of the days, findings with what can be done about them, and corrections."""
    context = machine_context(session, device_id, "energy")
    context |= {
        "energy": _energy(session, reader, settings, site, device_id, days=query.days),
        "days": query.days,
        "ranges": INTERVALS,
        "minute": timedelta(minutes=1),
        "corrections": corrections.list_corrections(session, principal, device_id, CorrectionQuery(page_size=20)),
    }
    return show(request, "machine_energy.html", context)


@router.get("/machines/{device_id}/energy-chart")
def energy_chart(
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    site: WorkingSite,
    *,
    device_id: DevicePath,
    query: Annotated[EnergyQuery, Query()],
    what: Annotated[str, Query(pattern="^(energy|demand)$")] = "energy",
) -> Response:
    """Energy or demand by interval."""
    energy = _energy(session, reader, settings, site, device_id, days=query.days)
    items, is_demand = energy["items"], what == "demand"
    style: Style = "line" if is_demand else "bars"
    label, unit = ("Mean demand", "W") if is_demand else ("Energy taken", "kWh")
    series = [Series(label, [item["demand" if is_demand else "energy_kwh"] for item in items], unit, style=style)]
    if not is_demand and any(item["energy_export_kwh"] for item in items):
        fed_in = Series("Energy fed in", [item["energy_export_kwh"] for item in items], unit, style="bars")
        # Beside what is taken as points, since bars would hide each other.
        series = [*series, replace(fed_in, style="points")] if energy["energy_kwh"] else [fed_in]
    middle = [(_seconds(item["start_time"]) + _seconds(item["end_time"])) / 2 for item in items]
    start, end, interval = _seconds(energy["start_time"]), _seconds(energy["end_time"]), energy["interval"]
    zone = energy["timezone"] if interval in ("day", "month") else None
    return ChartData(start, end, middle, series, interval=interval, zone=zone).answer()


@router.post("/machines/{device_id}/corrections")
def correct(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    *,
    reader: Readings,
    settings: PlatformSettings,
    device_id: DevicePath,
    query: Annotated[EnergyQuery, Query()],
) -> Response:
    """Settle a finding, as POST /api/v1/devices/{device_id}/corrections does."""
    body = body_of(CorrectionFields, _fields(request))
    create = partial(corrections.create_correction, session, principal, reader, settings, device_id, body=body)
    effect = _effect(create(preview=True))
    create()
    done = f"{VERDICTS[body.action]}. {effect} It can be undone below."
    return to_page(request, f"machines/{device_id}/energy?days={query.days}", done=done)


@router.post("/machines/{device_id}/corrections/preview")
def preview(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    *,
    reader: Readings,
    settings: PlatformSettings,
    device_id: DevicePath,
) -> Response:
    """What either verdict on a finding would change; nothing is stored."""
    effects = {}
    for action, verdict in VERDICTS.items():
        body = body_of(CorrectionFields, _fields(request) | {"action": action, "reason": "preview"})
        try:
            found = corrections.create_correction(
                session, principal, reader, settings, device_id, body=body, preview=True
            )
            effects[verdict] = _effect(found)
        except Problem as problem:
            effects[verdict] = problem.detail
    return show(request, "partials/correction_effects.html", {"effects": effects})


@router.post("/machines/{device_id}/corrections/{correction_id}/undo")
def undo(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    *,
    reader: Readings,
    settings: PlatformSettings,
    device_id: DevicePath,
    correction_id: int,
    query: Annotated[EnergyQuery, Query()],
) -> Response:
    """Undo a correction."""
    reason = form_of(request).get("reason")
    body = body_of(UndoFields, {"reason": reason}) if reason else None
    settle = partial(corrections.undo_correction, session, principal, reader, settings, device_id, body=body)
    effect = _effect(settle(correction_id=correction_id, preview=True))
    settle(correction_id=correction_id)
    done = f"The correction is undone. {effect}"
    return to_page(request, f"machines/{device_id}/energy?days={query.days}", done=done)


def _fields(request: Request) -> dict[str, str]:
    form = form_of(request)
    return {name: form[name] for name in ("metric", "from", "to", "action", "reason") if form.get(name)}


def _effect(answer: Response) -> str:
    """What the answer to a preview says of the energy of the days that are touched."""
    found = json.loads(bytes(answer.body))["data"]
    names = {"energy_kwh": "Energy of these days", "energy_export_kwh": "Energy fed in on these days"}
    changes = [
        f"{name}: {told_apart(now, was, 'kWh')} instead of {told_apart(was, now, 'kWh')}."
        for key, name in names.items()
        if (was := found["before"][key]) != (now := found["after"][key])
    ]
    return " ".join(changes) or "The energy of these days stays the same."


def _energy(
    session: Session, reader: Readings, settings: Settings, site: SiteSettings, device_id: str, *, days: int
) -> dict[str, Any]:
    zone = metadata_of(session, device_id).zone(settings.zone)
    now = utc_now().astimezone(zone)
    start = midnight(now.date() - timedelta(days=days - 1), zone)
    interval = next(interval for most, interval in INTERVALS.items() if days <= most)
    return energy_data(
        session, reader, settings, site, device_id, start=microseconds(start), end=microseconds(now), interval=interval
    )


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
