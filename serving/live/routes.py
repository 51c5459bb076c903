"""The live stream: `WS /ws/telemetry/{device_id}` sends a device's readings and alerts as they are committed.

A connection that stays open has missed only what its `dropped` frames count. If the stream has another gap, the
connection is closed with 1012. A refusal closes it with 4000 + the status that REST would answer; so does the end of
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
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.auth.principal import public
from serving.live.frames import HEARTBEAT
from serving.live.hub import Hub
from serving.live.subscriber import Subscriber
from storage import access, dirty_days
from storage.access import Principal
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, Device
from storage.settings import Settings

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 30.0
# Frames that are sent before other clients get their turn, and how long a client may take to read them.
FRAMES_AT_ONCE = 64
SEND_TIMEOUT_SECONDS = 60.0
INTERRUPTED = 1012
TRY_AGAIN = 1013
# What the kernel buffers for a client; without a limit that grows to megabytes of outdated frames.
SEND_BUFFER_BYTES = 256 * 1024


class BoundedProtocol(WebSocketsSansIOProtocol):
    """The server's WebSocket with a small kernel buffer, and a time limit for the client to read it.

    Without the limit, a closed connection stays until the client has read its last byte: for ever if it never does.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_TIMEOUT_SECONDS * 1000))


# How the server treats WebSockets. Compression would need memory for each client, and its own encoding of every frame.
# Messages of clients are not read, and a client that does not answer a ping is gone.
SERVER_OPTIONS: dict[str, Any] = {
    "ws": BoundedProtocol,
    "ws_per_message_deflate": False,
    "ws_max_size": 4096,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}


@asynccontextmanager
async def _hub(app: FastAPI) -> AsyncIterator[None]:
    app.state.hub = hub = Hub(app.state.settings)
    checking = asyncio.create_task(_check_principals(app.state.engine, app.state.settings, hub))
    yield
    checking.cancel()
    await hub.stop()


async def _check_principals(engine: Engine, settings: Settings, hub: Hub) -> None:
    """At every heartbeat, end the streams of principals that would not be let in any more."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            hub.refuse(await run_in_threadpool(_invalid, engine, settings, hub.principals()))
        except Exception as error:  # noqa: BLE001 - without this check revoked keys would go on for ever
            log.warning("cannot check the keys of the live stream, will try again: %s", error)


def _invalid(engine: Engine, settings: Settings, principals: set[Principal]) -> set[Principal]:
    with Session(engine) as session:
        return {principal for principal in principals if not access.is_still_valid(session, settings, principal)}


router = APIRouter(lifespan=_hub)


@router.websocket("/ws/telemetry/{device_id}")
async def stream_telemetry(websocket: WebSocket, device_id: str) -> None:
    """Send the frames of one device until the client leaves. Messages of the client are ignored."""
    principal: Principal = websocket.state.principal
    hub: Hub = websocket.app.state.hub
    if len(device_id) > MAX_IDENTIFIER or not re.fullmatch(IDENTIFIER, device_id):
        raise WebSocketException(4422, "the device id is not valid: use letters, digits, _ . -, at most 50")
    try:
        known = await run_in_threadpool(_is_known, websocket.app.state.engine, device_id, principal.tenant_id)
    except (OperationalError, InterfaceError):
        raise WebSocketException(TRY_AGAIN, "the database does not answer; connect again in a moment") from None
    if not known:
        raise WebSocketException(4404, f"there is no device {device_id}, and no telemetry from it")
    if not await hub.is_connected():
        raise WebSocketException(TRY_AGAIN, "the broker does not answer; connect again in a moment")
    await websocket.accept()
    with hub.subscribe(device_id, principal) as subscriber:
        await _stream(websocket, subscriber)


@router.websocket("/ws/{path:path}")
@public
async def no_stream(websocket: WebSocket, path: str) -> None:  # noqa: ARG001 - FastAPI names what it passes
    """Refuse any other path."""
    raise WebSocketException(4404, "there is no stream here; the streams are at /ws/telemetry/{device_id}")


def _is_known(engine: Engine, device_id: str, tenant_id: str | None) -> bool:
    with Session(engine) as session:
        device = session.get(Device, device_id)
        if tenant_id is not None:
            return device is not None and device.tenant_id == tenant_id
        return device is not None or dirty_days.has_telemetry(session, device_id)


async def _stream(websocket: WebSocket, subscriber: Subscriber) -> None:
    leaving = asyncio.create_task(_until_left(websocket))
    leaving.add_done_callback(lambda _: subscriber.woken.set())
    try:
        await _send_frames(websocket, subscriber, leaving)
    except (WebSocketDisconnect, TimeoutError, RuntimeError):
        pass  # it left, it does not read, or the server closed it because it did not answer a ping
    finally:
        leaving.cancel()


async def _send_frames(websocket: WebSocket, subscriber: Subscriber, leaving: asyncio.Task[Any]) -> None:
    clock = asyncio.get_running_loop().time
    heartbeat_at = clock() + HEARTBEAT_SECONDS
    while not leaving.done():
        if subscriber.is_refused:
            raise WebSocketException(4401, "the key was revoked or has expired, or a key is now needed")
        frames = subscriber.take(FRAMES_AT_ONCE)
        if clock() >= heartbeat_at:
            heartbeat_at += HEARTBEAT_SECONDS
            frames.append(HEARTBEAT)
        if frames:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                for frame in frames:
                    await websocket.send_text(frame)
            await asyncio.sleep(0)
        elif subscriber.is_interrupted:
            raise WebSocketException(
                INTERRUPTED, "the stream has a gap; connect again, the REST API has the missing readings"
            )
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(heartbeat_at):
                    await subscriber.woken.wait()


async def _until_left(websocket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
