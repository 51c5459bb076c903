"""The API's connection to the broker, in its event loop: paho's own loop fails in a process with 1,024 sockets."""

import asyncio
from uuid import uuid4

import aiomqtt

from ingest import mqtt
from storage.settings import Settings


def open_client(
    settings: Settings, identifier: str, *, timeout: float, will: aiomqtt.Will | None = None
) -> aiomqtt.Client:
    """A client with the settings' address, login and TLS; `timeout` seconds are allowed for each answer."""
    options = mqtt.connection_options(settings)
    return aiomqtt.Client(
        options.host,
        options.port,
        username=options.username,
        password=options.password,
        tls_context=options.tls_context,
        identifier=identifier,
        keepalive=mqtt.KEEPALIVE_SECONDS,
        timeout=timeout,
        will=will,
    )


def check_broker(settings: Settings, timeout: float) -> None:
    """Log in to the broker: that something listens on the port does not mean that it is a broker and lets us in.

    Raises:
        OSError, TimeoutError, aiomqtt.MqttError: It does not answer, or refuses the login.

    """
    asyncio.run(_log_in(settings, timeout))


async def _log_in(settings: Settings, timeout: float) -> None:  # noqa: ASYNC109 - the client needs it too
    async with asyncio.timeout(timeout):
        try:
            async with open_client(settings, f"energy-ready-{uuid4().hex}", timeout=timeout):
                pass
        except aiomqtt.MqttCodeError as error:
            raise ConnectionError(f"the broker refuses the login: {error}") from None
