"""The first step of a reading's path: paho's MQTT client, made to read many packets at once.

paho reads the socket three times for each packet and writes once for each acknowledgement: 28 µs a message. This client
reads up to 64 KiB at once and joins acknowledgements: 4 µs (`benchmarks/intake.py`). paho still connects, pings and
reconnects. The client depends on paho's internals: `requirements.txt` pins the version, and
`tests/ingest/mqtt/test_bulk_client.py` checks what is used here.
"""

import logging
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket

MAX_READ_BYTES = 64 * 1024

_PUBLISH, _PUBACK = int(MessageType.PUBLISH), int(MessageType.PUBACK)
_DUP, _QOS, _RETAIN = 0x08, 0x06, 0x01
_acknowledgement = struct.Struct("!BBH")

log = logging.getLogger(__name__)


class Publication(NamedTuple):
    """A message as the broker sent it; `packet_id` is 0 for QoS 0, which is not acknowledged."""

    topic: bytes
    payload: bytes
    packet_id: int
    redelivered: bool
    retained: bool = False  # the topic's last message, sent because we subscribed


class BulkClient(mqtt.Client):
    """Passes messages to `receive` in the order of arrival, a few hundred at a time, in paho's thread.

    Nothing is read while `has_room` returns False. It may wait a little before it does. `is_dead` is asked at least
    once a second; if it returns True, the client connects again.
    """

    def __init__(
        self,
        client_id: str,
        receive: Callable[[list[Publication]], None],
        has_room: Callable[[], bool],
        is_dead: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True)
        self._receive = receive
        self._has_room = has_room
        self._is_dead = is_dead
        self._unread = b""  # the start of a packet whose end has not arrived

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Acknowledge messages; the client's thread sends all acknowledgements in one piece."""
        joined = b"".join([_acknowledgement.pack(_PUBACK, 2, packet_id) for packet_id in packet_ids])
        if joined:
            self._packet_queue(_PUBACK, joined, 0, 1)

    def reconnect(self) -> MQTTErrorCode:
        self._unread = b""
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 - paho's signature
        """Read at most `MAX_READ_BYTES` and handle the packets that have arrived completely."""
        if not self._has_room():
            self._note_sign_of_life()
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            read = self._sock_recv(MAX_READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            log.debug("cannot read the broker's socket: %s", error)
            read = b""
        if not read:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._note_sign_of_life()
        data = self._unread + read
        received: list[Publication] = []
        outcome, at = MQTTErrorCode.MQTT_ERR_SUCCESS, 0
        try:
            while packet := _next_packet(data, at):
                first, start, at = packet
                if first & 0xF0 == _PUBLISH:
                    received.append(_publication(first, data, start, at))
                elif outcome := self._handle(first, data[start:at]):
                    break
        except (ValueError, LookupError, struct.error, MalformedPacket) as error:  # the last three are paho's
            log.error("the broker sent something that is not MQTT: %s", error)  # noqa: TRY400 - the message says it all
            outcome = MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._unread = data[at:]
        if received:
            self._receive(received)
        return self._loop_rc_handle(outcome) if outcome else outcome

    def loop_misc(self) -> MQTTErrorCode:
        """What paho does between packets, and a look whether the connection is dead."""
        outcome = super().loop_misc()
        if outcome == MQTTErrorCode.MQTT_ERR_SUCCESS and self._sock is not None and self._is_dead():
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        return outcome

    def _note_sign_of_life(self) -> None:
        """Record that the broker has sent something, so that paho does not take the connection for lost.

        Data that is left unread because there is no room may hide the answer to a ping. So no answer is expected any
        more, and the next ping is sent when it is due.
        """
        with self._msgtime_mutex:
            self._last_bytes_received = mqtt.time_func()
        self._ping_t = 0.0

    def _handle(self, first: int, body: bytes) -> MQTTErrorCode:
        """Let paho handle a packet that is not a message; 0 if that succeeds."""
        self._in_packet["command"] = first
        self._in_packet["packet"] = bytearray(body)
        self._in_packet["remaining_length"] = len(body)
        outcome = self._packet_handle()
        return outcome if outcome > 0 else MQTTErrorCode.MQTT_ERR_SUCCESS


def _next_packet(data: bytes, at: int) -> tuple[int, int, int] | None:
    """The packet's first byte and where its body starts and ends; None if it has not arrived completely."""
    end = len(data)
    length, shift = 0, 0
    for i in range(at + 1, min(at + 5, end)):
        length |= (data[i] & 0x7F) << shift
        if not data[i] & 0x80:
            stop = i + 1 + length
            return (data[at], i + 1, stop) if stop <= end else None
        shift += 7
    if end >= at + 5:
        raise ValueError("the length of a packet has more than four bytes")
    return None


def _publication(first: int, data: bytes, start: int, end: int) -> Publication:
    topic_end = start + 2 + (data[start] << 8 | data[start + 1] if start + 2 <= end else end)
    payload = topic_end + 2 if first & _QOS else topic_end
    if payload > end:
        raise ValueError("a message is shorter than its topic")
    packet_id = data[topic_end] << 8 | data[topic_end + 1] if first & _QOS else 0
    redelivered, retained = bool(first & _DUP), bool(first & _RETAIN)
    return Publication(data[start + 2 : topic_end], data[payload:end], packet_id, redelivered, retained)
