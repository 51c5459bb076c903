"""paho's MQTT client without its two costs per message: it reads a socket's worth at once and joins acknowledgements.

paho takes three reads of the socket for each packet and one write for each acknowledgement, 28 µs a message where this
takes 4 (`benchmarks/intake.py`). Everything else, connecting, keeping alive, trying again, is paho's. This leans on its
insides: `requirements.txt` pins the version and `tests/ingest/mqtt/test_bulk_client.py` holds it to what is used here.
"""

import logging
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket

READ_AT_ONCE = 64 * 1024

_PUBLISH, _PUBACK = int(MessageType.PUBLISH), int(MessageType.PUBACK)
_DUP, _QOS = 0x08, 0x06
_acknowledgement = struct.Struct("!BBH")

log = logging.getLogger(__name__)


class Arrived(NamedTuple):
    """A message as the broker sent it; `packet_id` is 0 for QoS 0, which is not acknowledged."""

    topic: bytes
    payload: bytes
    packet_id: int
    again: bool


class BulkClient(mqtt.Client):
    """Hands `take` what arrived, some hundred messages at a time, in the order of arrival, in paho's thread.

    Nothing is read while `has_room` says no; it may wait a little before it does.
    """

    def __init__(self, client_id: str, take: Callable[[list[Arrived]], None], has_room: Callable[[], bool]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True)
        self._take = take
        self._has_room = has_room
        self._rest = b""

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """In one piece, when the client's thread comes to it."""
        joined = b"".join([_acknowledgement.pack(_PUBACK, 2, packet_id) for packet_id in packet_ids])
        if joined:
            self._packet_queue(_PUBACK, joined, 0, 1)

    def reconnect(self) -> MQTTErrorCode:
        self._rest = b""
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 - paho's signature
        """Read what is there, at most `READ_AT_ONCE` bytes, and handle the packets that are whole."""
        if not self._has_room():
            self._hear()
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            read = self._sock_recv(READ_AT_ONCE)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            log.debug("the broker's socket cannot be read: %s", error)
            read = b""
        if not read:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._hear()
        data = self._rest + read
        arrived: list[Arrived] = []
        outcome, at = MQTTErrorCode.MQTT_ERR_SUCCESS, 0
        try:
            while packet := _next_packet(data, at):
                first, start, at = packet
                if first & 0xF0 == _PUBLISH:
                    arrived.append(_published(first, data, start, at))
                elif outcome := self._handle(first, data[start:at]):
                    break
        except (ValueError, LookupError, struct.error, MalformedPacket) as error:  # the last three are paho's
            log.error("the broker sends what is no MQTT: %s", error)  # noqa: TRY400 - where it was found is of no interest
            outcome = MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._rest = data[at:]
        if arrived:
            self._take(arrived)
        return self._loop_rc_handle(outcome) if outcome else outcome

    def _hear(self) -> None:
        """Note that the broker has sent something.

        Left unread for want of room, it may hide the answer to a ping: nobody waits for that answer any longer, and the
        next ping is sent when it is due.
        """
        with self._msgtime_mutex:
            self._last_bytes_received = mqtt.time_func()
        self._ping_t = 0.0

    def _handle(self, first: int, body: bytes) -> MQTTErrorCode:
        """Let paho handle another packet than a message; 0 if all is well."""
        self._in_packet["command"] = first
        self._in_packet["packet"] = bytearray(body)
        self._in_packet["remaining_length"] = len(body)
        outcome = self._packet_handle()
        return outcome if outcome > 0 else MQTTErrorCode.MQTT_ERR_SUCCESS


def _next_packet(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Its first byte, and where its body starts and ends; None if it has not arrived whole."""
    end = len(data)
    length, shift = 0, 0
    for i in range(at + 1, min(at + 5, end)):
        length |= (data[i] & 0x7F) << shift
        if not data[i] & 0x80:
            stop = i + 1 + length
            return (data[at], i + 1, stop) if stop <= end else None
        shift += 7
    if end >= at + 5:
        raise ValueError("a packet whose length has more than four bytes")
    return None


def _published(first: int, data: bytes, start: int, end: int) -> Arrived:
    topic_end = start + 2 + (data[start] << 8 | data[start + 1] if start + 2 <= end else end)
    payload = topic_end + 2 if first & _QOS else topic_end
    if payload > end:
        raise ValueError("a message that is shorter than its topic")
    packet_id = data[topic_end] << 8 | data[topic_end + 1] if first & _QOS else 0
    return Arrived(data[start + 2 : topic_end], data[payload:end], packet_id, bool(first & _DUP))
