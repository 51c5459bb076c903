"""The live stream: `WS /ws/telemetry/{device_id}` sends a device's readings and alerts as they are committed.

A connection that stays open has missed nothing but what its `dropped` frames count: where the way from ingestion was
interrupted, it is closed with 1012. Refusals close with 4000 + the status that REST would answer; so does the end of
the key that opened it.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlmodel import Session
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.auth.principal import public
from serving.live.hub import Hub, Subscriber
from storage import access, dirty_days
from storage.access import Principal
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, Device
from storage.settings import Settings

log = logging.getLogger(__name__)

HEARTBEAT_EVERY = 30.0
HEARTBEAT = '{"type":"heartbeat"}'
# Frames that are sent before others get their turn, and how long these may take with a client that does not read.
AT_ONCE = 64
PATIENCE = 60.0
INTERRUPTED = 1012
TRY_AGAIN = 1013
# Bytes that the kernel takes for a client; left alone it grows to megabytes, all of them old news by then.
SEND_BUFFER = 256 * 1024


class BoundedProtocol(WebSocketsSansIOProtocol):
    """The server's WebSocket, whose kernel keeps little for a client, and ends it when that does not arrive in time.

    Without that a closed connection stays until its last byte is read: for ever, if its client never reads.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        end = transport.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(PATIENCE * 1000))


# How the server treats WebSockets. Compression costs each client its own state and every frame its own encoding, and
# what clients say is not listened to. One that answers no ping is gone.
SERVER_OPTIONS: dict[str, Any] = {
    "ws": BoundedProtocol,
    "ws_per_message_deflate": False,
    "ws_max_size": 4096,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}


@asynccontextmanager
async def _audience(app: FastAPI) -> AsyncIterator[None]:
    app.state.hub = hub = Hub(app.state.settings)
    asking = asyncio.create_task(_ask_again(app.state.engine, app.state.settings, hub))
    yield
    asking.cancel()
    await hub.stop()


async def _ask_again(engine: Engine, settings: Settings, hub: Hub) -> None:
    """At every heartbeat: end the streams of those who would not be let in any more."""
    while True:
        await asyncio.sleep(HEARTBEAT_EVERY)
        try:
            hub.turn_away(await run_in_threadpool(_ended, engine, settings, hub.identities()))
        except SQLAlchemyError as error:
            log.warning("whether the live stream's keys are still valid is asked again later: %s", error)


def _ended(engine: Engine, settings: Settings, identities: set[Principal]) -> set[Principal]:
    with Session(engine) as session:
        return {principal for principal in identities if not access.is_still_valid(session, settings, principal)}


router = APIRouter(lifespan=_audience)


@router.websocket("/ws/telemetry/{device_id}")
async def stream_telemetry(websocket: WebSocket, device_id: str) -> None:
    """Frames of one device until the client leaves; what the client says is not listened to."""
    principal: Principal = websocket.state.principal
    hub: Hub = websocket.app.state.hub
    if len(device_id) > MAX_IDENTIFIER or not re.fullmatch(IDENTIFIER, device_id):
        raise WebSocketException(4422, "the device id is none (letters, digits, _ . -, at most 50)")
    try:
        known = await run_in_threadpool(_is_known, websocket.app.state.engine, device_id, principal.tenant_id)
    except (OperationalError, InterfaceError):
        raise WebSocketException(TRY_AGAIN, "the database does not answer; connect again in a moment") from None
    if not known:
        raise WebSocketException(4404, f"there is no device {device_id}, and no telemetry of one")
    if not await hub.is_connected():
        raise WebSocketException(TRY_AGAIN, "the broker does not answer; connect again in a moment")
    await websocket.accept()
    with hub.watch(device_id, principal) as watcher:
        await _stream(websocket, watcher)


@router.websocket("/ws/{path:path}")
@public
async def no_stream(websocket: WebSocket, path: str) -> None:  # noqa: ARG001 - FastAPI names what it passes
    """Any other path."""
    raise WebSocketException(4404, "no stream is here; /ws/telemetry/{device_id} is one")


def _is_known(engine: Engine, device_id: str, tenant_id: str | None) -> bool:
    with Session(engine) as session:
        device = session.get(Device, device_id)
        if tenant_id is not None:
            return device is not None and device.tenant_id == tenant_id
        return device is not None or dirty_days.has_telemetry(session, device_id)


async def _stream(websocket: WebSocket, watcher: Subscriber) -> None:
    leaving = asyncio.create_task(_until_left(websocket))
    leaving.add_done_callback(lambda _: watcher.arrived.set())
    try:
        await _send_frames(websocket, watcher, leaving)
    except (WebSocketDisconnect, TimeoutError, RuntimeError):
        pass  # it left, it does not read at all, or the server closed it because it answered no ping
    finally:
        leaving.cancel()


async def _send_frames(websocket: WebSocket, watcher: Subscriber, leaving: asyncio.Task[Any]) -> None:
    clock = asyncio.get_running_loop().time
    heartbeat_at = clock() + HEARTBEAT_EVERY
    while not leaving.done():
        if watcher.turned_away:
            raise WebSocketException(
                4401, "the key that opened the stream was revoked or has expired, or one is needed"
            )
        frames = watcher.take(AT_ONCE)
        if clock() >= heartbeat_at:
            heartbeat_at += HEARTBEAT_EVERY
            frames.append(HEARTBEAT)
        if frames:
            async with asyncio.timeout(PATIENCE):
                for frame in frames:
                    await websocket.send_text(frame)
            await asyncio.sleep(0)
        elif watcher.interrupted:
            raise WebSocketException(
                INTERRUPTED, "the stream was interrupted; connect again, the REST API has what is missing"
            )
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(heartbeat_at):
                    await watcher.arrived.wait()


async def _until_left(websocket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
