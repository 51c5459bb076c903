"""The settings: preferences of this browser, channels, keys, and what is kept."""

from typing import Any

from fastapi import Request, Response
from sqlmodel import Session

from serving.auth.principal import CurrentPrincipal, needs
from serving.auth.tenancy import DatabaseSession
from serving.channels import routes as channels
from serving.channels.routes import ChannelPath
from serving.dependencies import NotificationSettings, PlatformSettings
from serving.keys import routes as keys
from serving.keys.routes import KeyCreate, KeyToRevoke
from serving.pages.forms import body_of, number_of
from serving.pages.render import show
from serving.pages.route import form_of, pages
from serving.usage import routes as usage

router = pages()


@router.get("/settings")
def settings_page(
    request: Request,
    session: DatabaseSession,
    principal: CurrentPrincipal,
    settings: PlatformSettings,
    notify: NotificationSettings,
) -> Response:
    """The preferences of this browser for everybody; the rest for administrators."""
    context: dict[str, Any] = {
        "channels": channels.list_channels(notify, principal).data,
        "site_zone": settings.site_timezone,
        "keys": [],
        "usage": None,
    }
    if principal.may("admin"):
        context |= _keys(session)
        if principal.tenant_id is None:
            context["usage"] = usage.get_usage(session, settings, principal).data
    return show(request, "settings.html", context)


@router.post("/settings/channels/{channel}/test")
@needs("admin")
def test_channel(
    request: Request, notify: NotificationSettings, principal: CurrentPrincipal, channel: ChannelPath
) -> Response:
    """Send a test message, and show what the receiver said."""
    outcome = channels.test_channel(notify, principal, channel).data
    return show(request, "partials/channel_outcome.html", {"outcome": outcome})


@router.post("/settings/keys")
@needs("admin")
def create_key(request: Request, session: DatabaseSession, principal: CurrentPrincipal) -> Response:
    """Create a key, and show its secret, this once."""
    form = form_of(request)
    body = body_of(
        KeyCreate,
        {
            "name": form.get("name", ""),
            "role": form.get("role", "read"),
            "tenant_id": form.get("tenant_id") or None,
            "days": number_of(form, "days"),
        },
    )
    created = keys.create_key(session, principal, body).data
    response = show(request, "partials/key_list.html", _keys(session) | {"created": created})
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/settings/keys/revoke")
@needs("admin")
def revoke_key(request: Request, session: DatabaseSession, principal: CurrentPrincipal) -> Response:
    """End a key and its sessions."""
    keys.revoke_key(session, principal, body_of(KeyToRevoke, {"name": form_of(request).get("name", "")}))
    return show(request, "partials/key_list.html", _keys(session))


def _keys(session: Session) -> dict[str, Any]:
    return {"keys": keys.list_keys(session).data, "created": None}
