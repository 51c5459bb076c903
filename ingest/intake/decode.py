"""From an MQTT message to readings: the one seam where payloads become what the platform knows.

The topic is the identity. A reading outside a sensor's *plausible* limits is quarantined; outside its *nominal* band it
is kept and flagged. Every number of this file stands in the contract, "Telemetry in".
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from ingest.devices.profile import DeviceProfile
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, METRIC, NAMED_METRICS, RESERVED
from storage.telemetry import Reading
from storage.times import SECOND, microseconds

MAX_PAYLOAD_BYTES = 256_000
MAX_ITEMS = 1000
MAX_METRICS = 32
FAR = 10**15  # milliseconds, in both directions; what is further does not fit into a float of microseconds
MAX_AHEAD = 600 * SECOND
EARLIEST = 946_684_800 * SECOND  # 2000-01-01

PLAUSIBLE = {"voltage": (0.0, 1_000.0), "current": (0.0, 10_000.0), "power": (-1e7, 1e7), "temperature": (-60.0, 300.0)}
PLAUSIBLE_EXTRA = (-1e12, 1e12)
NOMINAL = {"voltage": (200.0, 250.0), "current": (0.0, 2.0), "power": (0.0, 500.0), "temperature": (20.0, 80.0)}

_identifier = re.compile(IDENTIFIER)
_metric_name = re.compile(METRIC)
_schema_version = re.compile(r"[A-Za-z0-9_.-]{1,50}")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message, or one item of its array, that is no reading; `payload` is that item alone."""

    topic: str
    device_id: str | None
    payload: bytes
    reason: str
    metric: str | None = None


@dataclass(slots=True)
class Decoded:
    """What one message held; `ignored` counts keys that are no metrics."""

    readings: list[Reading]
    rejected: list[Rejected]
    ignored: int = 0


class _Unfit(Exception):
    def __init__(self, reason: str, metric: str | None = None) -> None:
        self.reason = reason
        self.metric = metric


def decode(
    topic: str, device_id: str, payload: bytes, received_at: int, profile_of: Callable[[str], DeviceProfile]
) -> Decoded:
    """Readings of one message, enriched with what the registry knows; what is none of them, with the reason.

    Args:
        topic: as it came, for the quarantine.
        device_id: the topic's level that names the device.
        payload: a JSON object, or an array of up to 1,000.
        received_at: microseconds.
        profile_of: the registry's answer for a device id.

    """
    if not _is_identifier(device_id):
        reason = f"the topic's device id {_cut(device_id)} is none (letters, digits, _ . -, at most 50)"
        return Decoded([], [Rejected(topic, None, payload, reason)])
    try:
        items = _items(payload)
    except _Unfit as unfit:
        return Decoded([], [Rejected(topic, device_id, payload, unfit.reason)])
    decoded = Decoded([], [])
    facts = profile_of(device_id)
    for item in items:
        try:
            reading, ignored = _reading(item, device_id, received_at, facts)
        except _Unfit as unfit:
            alone = payload if len(items) == 1 else json.dumps(item).encode()
            decoded.rejected.append(Rejected(topic, device_id, alone, unfit.reason, unfit.metric))
        else:
            decoded.readings.append(reading)
            decoded.ignored += ignored
    return decoded


@lru_cache(maxsize=100_000)
def _is_identifier(text: str) -> bool:
    return len(text) <= MAX_IDENTIFIER and _identifier.fullmatch(text) is not None


def _items(payload: bytes) -> list[Any]:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _Unfit(f"the payload has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are taken")
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _lenient(payload)
    items = value if isinstance(value, list) else [value]
    if not 1 <= len(items) <= MAX_ITEMS:
        raise _Unfit(f"the array has {len(items)} items, 1 to {MAX_ITEMS} are taken")
    return items


def _lenient(payload: bytes) -> Any:
    """JSON as Python writes it, where NaN and Infinity stand for a broken channel of an otherwise good reading."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _Unfit(f"the payload is no JSON: {error}") from None


def _reading(item: Any, device_id: str, received_at: int, facts: DeviceProfile) -> tuple[Reading, int]:
    if not isinstance(item, dict):
        raise _Unfit("the reading is no JSON object")
    if item.get("device_id", device_id) != device_id:
        raise _Unfit(f"device_id {_cut(item['device_id'])} is not the topic's {device_id!r}")
    time = _time(item.get("timestamp"), received_at)
    metrics, out_of_band, ignored = _metrics(item, facts)
    if out_of_band is None and time < facts.registered_at + MAX_AHEAD:
        out_of_band = []  # it may have come before the device's last edit, and have been judged by other bands
    version = item.get("schema_version")
    return (
        Reading(
            device_id=device_id,
            time=time,
            metrics=metrics,
            received_at=received_at,
            schema_version=version if isinstance(version, str) and _is_schema_version(version) else "v1",
            enrichment_status=facts.enrichment_status,
            device_type=facts.device_type,
            location=facts.location,
            out_of_band=out_of_band,
        ),
        ignored,
    )


def _time(value: Any, received_at: int) -> int:
    if isinstance(value, str):
        try:
            time = microseconds(datetime.fromisoformat(value))
        except (ValueError, OverflowError) as error:
            hint = "" if "offset" in str(error) else " (ISO 8601 with an offset is, or epoch milliseconds)"
            raise _Unfit(f"timestamp {_cut(value)} cannot be read: {error}{hint}") from None
    elif _number(value) is not None:
        time = round(max(-FAR, min(value, FAR)) * 1000)
    else:
        raise _Unfit("timestamp is missing" if value is None else "timestamp is no text and no number of milliseconds")
    if time < EARLIEST:
        raise _Unfit("timestamp lies before 2000-01-01 (are these seconds? a number is epoch milliseconds)")
    if time > received_at + MAX_AHEAD:
        ahead = (time - received_at) / SECOND
        raise _Unfit(f"timestamp lies {ahead:.0f} s ahead, at most 600 s are taken; check the device's clock")
    return time


def _metrics(item: Mapping[str, Any], facts: DeviceProfile) -> tuple[dict[str, float], list[str] | None, int]:
    """The metrics, those that are out of their band if any is, and how many keys are no metrics."""
    limits, bands, ignore = facts.limits, facts.bands, facts.ignore
    metrics: dict[str, float] = {}
    out_of_band: list[str] | None = None
    ignored = 0
    for name, value in item.items():
        if value is None or name in RESERVED or name in ignore:
            ignored += name in ignore or (name in RESERVED and name not in _EXPECTED)
            continue
        low, high = (limits and limits.get(name)) or PLAUSIBLE.get(name, PLAUSIBLE_EXTRA)
        # Nearly every value is a number within its limits; NaN is within none.
        if type(value) not in _NUMBERS or not low <= value <= high:
            number = _number(value)
            if number is None and name in NAMED_METRICS:
                raise _Unfit(f"{name} is no number: {_cut(value)}", name)
            if number is not None and _is_metric(name):
                raise _Unfit(f"{name} = {number:g} is outside its plausible limits {low:g} to {high:g}", name)
            ignored += 1
            continue
        band = (bands and bands.get(name)) or NOMINAL.get(name)
        if band is None and not _is_metric(name):
            ignored += 1
            continue
        metrics[name] = float(value)
        if band is not None and not band[0] <= value <= band[1]:
            out_of_band = [*(out_of_band or ()), name]
    if not metrics:
        raise _Unfit("no metric: the reading has none of voltage, current, power, temperature and no other number")
    if len(metrics) > MAX_METRICS:
        raise _Unfit(f"the reading has {len(metrics)} metrics, at most {MAX_METRICS} are taken")
    return metrics, out_of_band, ignored


@lru_cache(maxsize=10_000)
def _is_metric(name: str) -> bool:
    return _metric_name.fullmatch(name) is not None


@lru_cache(maxsize=1_000)
def _is_schema_version(text: str) -> bool:
    return _schema_version.fullmatch(text) is not None


_NUMBERS = (float, int)  # and no subclass: a truth value is no number
_EXPECTED = ("timestamp", "device_id", "schema_version")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _cut(value: Any) -> str:
    """A value as it can stand in a sentence: printable, and not the whole payload."""
    return repr(value)[:60]


def payload_of(reading: Reading) -> bytes:
    """A reading as the device could have sent it alone."""
    item = {"timestamp": reading.time / 1000, "schema_version": reading.schema_version, **reading.metrics}
    return json.dumps(item).encode()
