"""Recorded failures of a machine, which its risk of a failure is learnt from."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.devices.schemas import DevicePath
from serving.failures import routes as failures
from serving.failures.schemas import FailureFields
from serving.pages.forms import body_of
from serving.pages.route import form_of, pages, to_page
from storage.devices import metadata_of

router = pages()


@router.post("/machines/{device_id}/analyses/failures")
def record_failure(
    request: Request, session: DatabaseSession, settings: PlatformSettings, device_id: DevicePath
) -> Response:
    """Record a failure, as POST /api/v1/devices/{device_id}/failures does; the form has the machine's local times."""
    form, zone = form_of(request), metadata_of(session, device_id).zone(settings.zone)
    times = {name: _instant(form[name], zone) for name in ("failed_at", "repaired_at") if form.get(name)}
    body = body_of(FailureFields, times | {"description": form.get("description", "").strip() or None})
    failures.create_failure(session, device_id, body)
    return to_page(request, f"machines/{device_id}/analyses")


@router.post("/machines/{device_id}/analyses/failures/{failure_id}/delete")
def delete_failure(request: Request, session: DatabaseSession, device_id: DevicePath, failure_id: UUID) -> Response:
    """Delete a failure that was recorded by mistake."""
    failures.delete_failure(session, device_id, failure_id)
    return to_page(request, f"machines/{device_id}/analyses")


def _instant(text: str, zone: ZoneInfo) -> str:
    """A local time with its offset; text that is no time stays, and the API says so."""
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (local if local.tzinfo else local.replace(tzinfo=zone)).isoformat()
