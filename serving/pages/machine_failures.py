"""Recorded failures of a machine, which its risk of a failure is learnt from."""

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.devices.schemas import DevicePath
from serving.failures import routes as failures
from serving.failures.schemas import FailureFields
from serving.http.errors import Conflict, Invalid
from serving.pages.forms import body_of
from serving.pages.route import form_of, pages, to_page
from storage.devices import metadata_of

router = pages()

# The API says so of others; the offsets of zones had odd seconds then.
YEARS = range(1970, 2200)


@router.post("/machines/{device_id}/analyses/failures")
def record_failure(
    request: Request, session: DatabaseSession, settings: PlatformSettings, device_id: DevicePath
) -> Response:
    """Record a failure, as POST /api/v1/devices/{device_id}/failures does; the form has the machine's local times."""
    form, zone = form_of(request), metadata_of(session, device_id).zone(settings.zone)
    times = {name: _instant(form[name], zone, name) for name in ("failed_at", "repaired_at") if form.get(name)}
    body = body_of(FailureFields, times | {"description": form.get("description", "").strip() or None})
    try:
        failures.create_failure(session, device_id, body)
    except Conflict:
        when = form["failed_at"].replace("T", " ")
        detail = f"a failure at {when} is recorded already; delete that one first, or give another time"
        raise Conflict(f"failed_at: {detail}") from None
    done = "The failure is recorded. Analyses that start from now on learn from it."
    return to_page(request, f"machines/{device_id}/analyses", done=done)


@router.post("/machines/{device_id}/analyses/failures/{failure_id}/delete")
def delete_failure(request: Request, session: DatabaseSession, device_id: DevicePath, failure_id: UUID) -> Response:
    """Delete a failure that was recorded by mistake."""
    failures.delete_failure(session, device_id, failure_id)
    return to_page(request, f"machines/{device_id}/analyses", done="The failure is deleted.")


def _instant(text: str, zone: ZoneInfo, field: str) -> str:
    """A local time with its offset.

    Raises:
        Invalid: The text is not a time, or clocks were put forward over it, so that it never was.

    """
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f'{field}: "{text}" is not a time; give a day and a time of day') from None
    if local.tzinfo is not None:
        return text
    if local.year not in YEARS:
        return f"{local.isoformat()}Z"
    moment = local.replace(tzinfo=zone)
    if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise Invalid(f"{field}: {local:%H:%M} did not exist on that day in {zone.key}; clocks were put forward")
    return moment.isoformat()
