"""Payloads as broken devices, broken links and attackers make them."""

import json
import random
import struct
from typing import Any

_VALUES: list[Any] = [None, True, False, "", "12", "NaN", [], {}, [1], {"a": 1}, 0, -1, 1e308, -1e308, 10**30, 2**63,
                      float("nan"), float("inf"), "\0", "\ud800", "x" * 1_000, 230.5, 1e-320]  # fmt: skip
_TIMES: list[Any] = ["2026-02-12T10:00:00Z", "2026-02-12T10:00:00", "2026-13-12T10:00:00Z", "0000-00-00", 0, -1,
                     1_770_890_400, 1_770_890_400_000, 1e30, "9999-12-31T23:59:59Z", "2026-02-12T10:00:00+99:00",
                     "١٢", None, True, [], float("nan"), 1_770_890_400_000.5]  # fmt: skip
_NAMES = ["voltage", "power", "temperature", "current", "oil", "A-B", "", "time", "received_at", "x" * 70, "\0",
          "power'; --", "é", "schema_version", "device_id", "_count", "a" * 63]  # fmt: skip


def mutated(chosen: random.Random) -> bytes:
    """One payload; about half of them hold no reading."""
    kind = chosen.randrange(10)
    if kind == 0:
        return chosen.randbytes(chosen.randrange(200))
    text = json.dumps(_item(chosen) if kind < 7 else [_item(chosen) for _ in range(chosen.randrange(5))])
    payload = text.encode()
    if kind in (1, 2, 8) and payload:
        return _broken(chosen, payload)
    return payload


def _item(chosen: random.Random) -> Any:
    if chosen.random() < 0.03:
        return chosen.choice(_VALUES)
    good = {"timestamp": 1_770_890_400_000 + chosen.randrange(600), "voltage": 230.5, "power": 100.0, "oil": 1.5}
    for _ in range(chosen.randrange(3)):
        match chosen.randrange(4):
            case 0:
                good["timestamp"] = chosen.choice(_TIMES)
            case 1:
                good[chosen.choice(_NAMES)] = chosen.choice(_VALUES)
            case 2:
                good.pop(chosen.choice(list(good)), None)
            case 3:
                good |= {f"m{i}": 1.0 for i in range(chosen.choice([2, 40]))}
    return good


def _broken(chosen: random.Random, payload: bytes) -> bytes:
    at = chosen.randrange(len(payload))
    match chosen.randrange(6):
        case 0:
            return payload[:at]
        case 1:
            return payload[:at] + chosen.randbytes(1) + payload[at + 1 :]
        case 2:
            return payload[:at] + payload
        case 3:
            return b"[" * 3_000 + payload
        case 4:
            return payload + struct.pack("!I", at)
        case _:
            return payload.decode().encode("utf-16")
