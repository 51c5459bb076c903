"""The form that changes what is registered of a machine."""

import json

from fastapi import Request, Response

from serving.auth.principal import CurrentPrincipal, needs
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings
from serving.devices import routes as devices
from serving.devices.schemas import DevicePath, DeviceUpdate
from serving.pages.forms import body_of
from serving.pages.machine import machine_context
from serving.pages.render import show
from serving.pages.route import form_of, pages, to_page

router = pages()

OPTIONAL = ("location", "manufacturer", "model", "metadata_json")


@router.get("/machines/{device_id}/edit")
@needs("operate")
def edit_page(
    request: Request, session: DatabaseSession, settings: PlatformSettings, device_id: DevicePath
) -> Response:
    """The form, filled in with what is registered."""
    version = Response()
    device = devices.get_device(session, settings, version, device_id).data
    context = machine_context(session, device_id, "edit")
    context |= {"version": version.headers["ETag"], "metadata_text": _indented(device.metadata_json)}
    return show(request, "machine_edit.html", context)


@router.post("/machines/{device_id}/edit")
def change_machine(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    limits: LimitSettings,
    *,
    device_id: DevicePath,
) -> Response:
    """Change the machine, as PUT /api/v1/devices/{device_id} does, unless somebody else did so meanwhile."""
    form = form_of(request)
    fields = {name: form.get(name, "") for name in ("device_name", "device_type", "status")}
    body = body_of(DeviceUpdate, fields | {name: form.get(name, "").strip() or None for name in OPTIONAL})
    devices.update_device(session, principal, settings, limits, device_id, body=body, if_match=form.get("version"))
    return to_page(request, f"machines/{device_id}", done="The machine is changed.")


@router.post("/machines/{device_id}/delete")
def remove_machine(request: Request, session: DatabaseSession, device_id: DevicePath) -> Response:
    """Remove the machine softly, as DELETE /api/v1/devices/{device_id} does, and go to those that are left."""
    devices.delete_device(session, device_id)
    done = f"{device_id} is removed. The status “removed” above shows the machines that can be restored."
    return to_page(request, "machines", done=done)


@router.post("/machines/{device_id}/restore")
def restore_machine(
    request: Request, session: DatabaseSession, settings: PlatformSettings, device_id: DevicePath
) -> Response:
    """Restore a machine that was removed, as POST /api/v1/devices/{device_id}/restore does."""
    devices.restore_device(session, settings, device_id)
    return to_page(request, f"machines/{device_id}", done=f"{device_id} is restored.")


def _indented(metadata_json: str | None) -> str:
    try:
        return json.dumps(json.loads(metadata_json or "{}"), indent=2, ensure_ascii=False)
    except ValueError:
        return metadata_json or ""
