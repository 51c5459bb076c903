"""Machines that publish over MQTT, each with a client of its own, as devices of a plant do."""

import json
import socket
import time
from contextlib import suppress

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.servers import wait_until

V311 = MQTTProtocolVersion.MQTTv311


def connect(
    port: int, name: str, protocol: MQTTProtocolVersion = V311, login: tuple[str, str] | None = None
) -> mqtt.Client:
    """A client; it is connected, unless the broker refuses it."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, reconnect_on_failure=False)
    if login:
        client.username_pw_set(*login)
    answers: list[bool] = []
    client.on_connect = lambda _c, _u, _f, reason, _p: answers.append(not reason.is_failure)
    client.on_disconnect = lambda *_: answers.append(False)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(lambda: answers, "the broker answers")
    return client


def send(client: mqtt.Client, device_id: str, qos: int = 1, *, retain: bool = False) -> None:
    """Publish one reading of now."""
    payload = json.dumps({"timestamp": int(time.time() * 1000), "power": 1.0})
    client.publish(f"devices/{device_id}/telemetry", payload, qos=qos, retain=retain).wait_for_publish(10)


def leave(client: mqtt.Client) -> None:
    client.disconnect()
    client.loop_stop()


def die(port: int, login: tuple[str, str] | None = None) -> mqtt.Client:
    """A client with a will that is no reading loses its connection without a word; the caller ends its loop."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="dying", reconnect_on_failure=False)
    if login:
        client.username_pw_set(*login)
    client.will_set("devices/dying/telemetry", b"offline", qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(client.is_connected, "it is connected")
    link = client.socket()
    assert isinstance(link, socket.socket)
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)  # no DISCONNECT is sent
    return client
