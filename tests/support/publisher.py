"""A source of load that costs next to nothing: MQTT packets built ahead, sent in bulk over a plain socket, QoS 1.

It knows which of its messages the broker has acknowledged, and publishes nothing while too many are not.
"""

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

ROUND = 60_000  # packet ids in use
_STAMP = b"2000-01-01T00:00:00Z"


def field(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def packet(kind: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        length += bytes([rest & 0x7F | (0x80 if rest > 0x7F else 0)])
        rest >>= 7
        if not rest:
            return bytes([kind]) + length + body


def message(topic: str, payload: bytes, number: int, *, retain: bool = False) -> bytes:
    """A PUBLISH of QoS 1 whose packet id follows from its number."""
    return packet(0x32 | retain, field(topic.encode()) + struct.pack("!H", number % ROUND + 1) + payload)


class Publisher:
    """One connection. Numbers name messages; at most `window` of them are without an answer."""

    def __init__(self, port: int, login: tuple[str, str] | None = None, *, window: int = 20_000) -> None:
        self.acknowledged: set[int] = set()
        self.refused_connection = False
        self._outstanding: dict[int, int] = {}
        self._window = window
        self._changed = threading.Condition()
        self._lost = False
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        flags = 0xC2 if login else 0x02
        names = b"".join(field(part.encode()) for part in ("source-" + str(id(self)), *(login or ())))
        try:
            self._socket.sendall(packet(0x10, field(b"MQTT") + bytes([4, flags, 0, 0]) + names))
            answer = self._socket.recv(4)
            if answer[3:] != b"\0":
                raise ConnectionRefusedError(f"the broker answers {answer!r}")
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def publish(self, numbers: Sequence[int], packets: bytes) -> None:
        """Send packets that were built ahead, one for each number.

        Raises:
            ConnectionError: the broker is gone; what it acknowledged until then is known.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._lost or len(self._outstanding) < self._window, 60)
            if self._lost or len(self._outstanding) >= self._window:
                raise ConnectionError("the broker does not answer")
            self._outstanding.update((number % ROUND + 1, number) for number in numbers)
        try:
            self._socket.sendall(packets)
        except OSError as error:
            raise ConnectionError(str(error)) from error

    def settle(self, seconds: float = 30) -> bool:
        """Wait until everything published is acknowledged."""
        with self._changed:
            self._changed.wait_for(lambda: self._lost or not self._outstanding, seconds)
            return not self._outstanding

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                read = self._socket.recv(65_536)
            except OSError:
                read = b""
            if not read:
                break
            data = rest + read
            whole = len(data) - len(data) % 4
            rest = data[whole:]
            self._count(struct.unpack(f"!{whole // 2}H", data[:whole])[1::2])
        with self._changed:
            self._lost = True
            self._changed.notify_all()

    def _count(self, packet_ids: Iterable[int]) -> None:
        with self._changed:
            take = self._outstanding.pop
            self.acknowledged.update([take(packet_id) for packet_id in packet_ids])
            self._changed.notify_all()


def device_id(number: int) -> str:
    return f"M-{number:04d}"


class Fleet:
    """Packets of every device for one moment, a block; blocks differ in values, moments are put in when they are sent.

    Every hundredth device reports 490.5 W, the others 100 to 400.
    """

    def __init__(self, devices: int = 1_000, start: int | None = None) -> None:
        self.devices = devices
        self.start = int(time.time()) - 10_800 if start is None else start
        chosen = random.Random(2)
        self._blocks = [[self._packet(chosen, block, i) for i in range(devices)] for block in range(self._kinds)]

    @property
    def _kinds(self) -> int:
        """Packet ids follow from a message's number, and are put in here: their round must hold whole blocks."""
        return ROUND // self.devices

    def _packet(self, chosen: random.Random, block: int, device: int) -> bytes:
        hot = device % 100 == 0
        payload = {
            "timestamp": _STAMP.decode(),
            "voltage": round(chosen.uniform(220, 240), 1),
            "current": round(chosen.uniform(0.5, 1.5), 2),
            "power": 490.5 if hot else round(chosen.uniform(100, 400), 1),
            "temperature": round(chosen.uniform(30, 60), 1),
            "schema_version": "v1",
        }
        topic = f"devices/{device_id(device)}/telemetry"
        return message(topic, json.dumps(payload).encode(), block * self.devices + device)

    def block(self, tick: int, some: slice = slice(None)) -> tuple[range, bytes]:
        """The numbers and the packets of one moment, `tick` seconds after the start, of all devices or some."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.start + tick)).encode()
        numbers = range(tick * self.devices, (tick + 1) * self.devices)
        return numbers[some], b"".join(self._blocks[tick % self._kinds][some]).replace(_STAMP, stamp)
