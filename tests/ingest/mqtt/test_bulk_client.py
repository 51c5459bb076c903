"""The client reads a stream of packets however it is cut, and leans on paho's insides where paho still has them."""

import socket
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import paho.mqtt.client as mqtt
from hypothesis import given, strategies as st
from paho.mqtt.enums import MQTTErrorCode

from ingest.mqtt.bulk_client import BulkClient, Publication
from tests.support.publisher import field, packet

MESSAGES = st.lists(
    st.builds(
        Publication, st.binary(min_size=1, max_size=20), st.binary(max_size=300), st.integers(0, 65_535), st.booleans()
    ).map(lambda m: m._replace(redelivered=m.redelivered and m.packet_id > 0)),
    max_size=20,
)


def encoded(message: Publication) -> bytes:
    first = 0x30 | (0x08 if message.redelivered else 0) | (0x02 if message.packet_id else 0) | message.retained
    number = struct.pack("!H", message.packet_id) if message.packet_id else b""
    return packet(first, field(message.topic) + number + message.payload)


class Wire:
    """The client at one end of a pair of sockets."""

    def __init__(self) -> None:
        self.taken: list[Publication] = []
        self.room = True
        self.lost: list[Any] = []
        self.client = BulkClient("test", self.taken.extend, lambda: self.room)
        self.client.on_disconnect = lambda *facts: self.lost.append(facts[3])
        ours, self.far = socket.socketpair()
        ours.setblocking(False)
        self.client._sock = ours

    def receive(self, pieces: Sequence[bytes]) -> MQTTErrorCode:
        outcome = MQTTErrorCode.MQTT_ERR_SUCCESS
        for piece in pieces:
            self.far.sendall(piece)
            outcome = self.client.loop_read() or outcome
        return outcome

    def close(self) -> None:
        self.client._sock_close()
        self.far.close()


@given(MESSAGES, st.lists(st.integers(0, 4_000), max_size=8))
def test_a_stream_cut_anywhere_gives_the_same_messages(messages: list[Publication], cuts: list[int]) -> None:
    stream = b"".join(encoded(m) + b"\xd0\x00" for m in messages)  # an answer to a ping after each
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    wire = Wire()
    assert wire.receive([stream[i:j] for i, j in pairwise(places)]) == 0
    assert wire.taken == messages
    wire.close()


@given(st.binary(min_size=1, max_size=200))
def test_nonsense_ends_the_connection_or_waits_for_more(data: bytes) -> None:
    wire = Wire()
    outcome = wire.receive([data])
    assert outcome in (0, MQTTErrorCode.MQTT_ERR_PROTOCOL)
    assert (wire.client._sock is None) == bool(wire.lost)
    wire.close()


def test_a_length_without_end_and_a_message_without_a_topic_are_no_mqtt() -> None:
    for nonsense in (b"\x30\xff\xff\xff\xff\x01", packet(0x32, b"\x00\x05abc"), packet(0x32, b"\x00"), b"\x00\x00"):
        wire = Wire()
        assert wire.receive([nonsense]) == MQTTErrorCode.MQTT_ERR_PROTOCOL
        assert wire.lost
        wire.close()


def test_nothing_is_read_without_room() -> None:
    wire = Wire()
    wire.room = False
    assert wire.receive([encoded(Publication(b"t", b"p", 1, redelivered=False))]) == 0
    assert wire.taken == []
    wire.room = True
    assert wire.receive([b""]) == 0
    assert [m.packet_id for m in wire.taken] == [1]
    wire.close()


def test_the_end_of_the_connection_is_told() -> None:
    wire = Wire()
    wire.far.close()
    assert wire.client.loop_read() == MQTTErrorCode.MQTT_ERR_CONN_LOST
    assert wire.lost
    wire.close()


def test_acknowledgements_are_joined_in_one_write() -> None:
    wire = Wire()
    wire.client._sockpairR, wire.client._sockpairW = socket.socketpair()
    wire.client.acknowledge([])
    wire.client.acknowledge([1, 65_535, 7])
    if wire.client.want_write():
        wire.client.loop_write()
    assert wire.far.recv(100) == b"\x40\x02\x00\x01\x40\x02\xff\xff\x40\x02\x00\x07"
    wire.client._reset_sockets(sockpair_only=True)
    wire.close()


def test_a_new_connection_begins_without_the_rest_of_the_last_one() -> None:
    wire = Wire()
    whole = encoded(Publication(b"t", b"payload", 3, redelivered=False))
    wire.receive([whole[:5]])
    with socket.create_server(("127.0.0.1", 0)) as server:
        wire.client.connect_async("127.0.0.1", server.getsockname()[1])
        wire.client.reconnect()
        accepted, _ = server.accept()
        accepted.sendall(whole)
        while not wire.taken:
            wire.client.loop_read()
        accepted.close()
    assert wire.taken == [Publication(b"t", b"payload", 3, redelivered=False)]
    wire.close()


def test_what_is_used_of_paho_is_there() -> None:
    inside = ("_sock_recv", "_packet_handle", "_packet_queue", "_loop_rc_handle", "_sock_close")
    assert all(callable(getattr(mqtt.Client, name)) for name in inside)
    client = BulkClient("test", lambda _: None, lambda: True)
    assert {"command", "packet", "remaining_length"} <= set(client._in_packet)
    assert hasattr(client, "_last_bytes_received")
    assert hasattr(client, "_msgtime_mutex")
