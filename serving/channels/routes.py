"""Channels of notifications: which have an address, and whether a test message arrives."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from ingest.notify import DeliveryFailed, Unconfigured, send_test
from serving.auth.identified import IdentifiedRoute
from serving.auth.principal import CurrentPrincipal, needs
from serving.dependencies import NotificationSettings
from serving.http.errors import Refused
from serving.rules.schemas import CHANNEL
from storage.settings import SettingsError

router = APIRouter(prefix="/api/v1/channels", tags=["alerts"], route_class=IdentifiedRoute)

ChannelPath = Annotated[str, Path(pattern=CHANNEL, max_length=50, examples=["email"])]


class ChannelPublic(BaseModel):
    """A channel with an address. `own`: the tenant has the address for itself; other tenants do not use it."""

    channel: str
    kind: Literal["webhook", "message"]
    own: bool


class ChannelList(BaseModel):
    success: Literal[True] = True
    data: list[ChannelPublic]


class ChannelTest(BaseModel):
    """The outcome of a test message, and what the receiver answered, if it answered."""

    channel: str
    outcome: Literal["sent", "failed", "unconfigured"]
    detail: str | None


class ChannelTestAnswer(BaseModel):
    success: bool
    data: ChannelTest


@router.get("")
def list_channels(notify: NotificationSettings, principal: CurrentPrincipal) -> ChannelList:
    """List the channels that have an address, as the API's own variables say."""
    tenant_id = principal.tenant_id
    return ChannelList(
        data=[
            ChannelPublic(
                channel=channel,
                kind="webhook" if channel.split("_", 1)[0] == "webhook" else "message",
                own=tenant_id is not None and notify.own_address_name(channel, tenant_id) is not None,
            )
            for channel in notify.channels(tenant_id)
        ]
    )


@router.post("/{channel}/test")
@needs("admin")
def test_channel(notify: NotificationSettings, principal: CurrentPrincipal, channel: ChannelPath) -> ChannelTestAnswer:
    """Send a test message over a channel, and wait for the receiver's answer, at most 20 s.

    A tenant's administrator tests channels with an address of the tenant's own.
    """
    tenant_id = principal.tenant_id
    shared = notify.address_name(channel, None)
    if tenant_id is not None and shared is not None and notify.own_address_name(channel, tenant_id) is None:
        raise Refused(f"{channel} is shared by all tenants; this needs an admin's key without a tenant")
    outcome: Literal["sent", "failed", "unconfigured"]
    try:
        outcome, detail = "sent", send_test(notify, channel, tenant_id)
    except Unconfigured:
        outcome = "unconfigured"
        detail = f"NOTIFY_{channel.upper()} is not set here. Set it for the ingester and the API, and start both again."
    except (DeliveryFailed, SettingsError) as error:
        outcome, detail = "failed", str(error)
    return ChannelTestAnswer(
        success=outcome == "sent", data=ChannelTest(channel=channel, outcome=outcome, detail=detail)
    )
