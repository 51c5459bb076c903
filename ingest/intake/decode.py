"""Decoding: the one place where an MQTT payload becomes readings.

The topic says which device a reading is of. A reading outside a sensor's *plausible* limits is quarantined. One outside
its *nominal* band is kept and flagged.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from ingest.devices.profile import DeviceProfile
from ingest.intake.lenient_json import decode_leniently
from storage.bands import NOMINAL_BANDS
from storage.devices import IDENTIFIER, MAX_IDENTIFIER, METRIC, NAMED_METRICS, RESERVED
from storage.telemetry import Reading
from storage.times import SECOND, iso8601, microseconds
from storage.validation import short_number

MAX_PAYLOAD_BYTES = 256_000
MAX_ITEMS = 1000
MAX_METRICS = 32
MAX_AHEAD = 600 * SECOND  # so much a device's clock may be ahead
FAR_SECONDS = 1e8  # a clock is not that wrong, but a unit is
EARLIEST = 946_684_800 * SECOND  # 2000-01-01
# In milliseconds, in both directions. Larger numbers lose precision when they are converted.
MAX_TIMESTAMP = 10**15
# What other units of time since 1970 are in milliseconds.
OTHER_UNITS = {"seconds": 1e3, "microseconds": 1e-3, "nanoseconds": 1e-6}

PLAUSIBLE = {"voltage": (0.0, 1_000.0), "current": (0.0, 10_000.0), "power": (-1e7, 1e7), "temperature": (-60.0, 300.0)}
PLAUSIBLE_EXTRA = (-1e12, 1e12)

_identifier = re.compile(IDENTIFIER)
_metric_name = re.compile(METRIC)
_schema_version = re.compile(r"[A-Za-z0-9_.-]{1,50}")
_json_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message, or one item of its array, that is not a valid reading; `payload` is that item alone."""

    topic: str
    device_id: str | None
    payload: bytes
    reason: str
    metric: str | None = None


class Decoded(msgspec.Struct, gc=False):
    """What one message held; `ignored` counts keys that were dropped.

    They are not metrics, or beyond what any metric can be, or the device's profile ignores them.
    """

    readings: list[Reading]
    rejected: list[Rejected]
    ignored: int = 0


class _Invalid(Exception):
    def __init__(self, reason: str, metric: str | None = None) -> None:
        self.reason = reason
        self.metric = metric


def decode_payload(topic: str, device_id: str, payload: bytes, received_at: int, profile: DeviceProfile) -> Decoded:
    """The readings of one message, enriched with the device's profile, and what was rejected, with the reasons.

    Args:
        topic: the message's topic, for the quarantine.
        device_id: the level of the topic that names the device.
        payload: a JSON object, or an array of up to 1,000 objects.
        received_at: when the message was received, in microseconds.
        profile: the device's profile.

    """
    if not is_identifier(device_id):
        reason = f"the topic's device id {_cut(device_id)} is not valid. Use at most 50 letters, digits, _ . and -"
        return Decoded([], [Rejected(topic, None, payload, reason)])
    try:
        items = _items(payload)
    except _Invalid as invalid:
        return Decoded([], [Rejected(topic, device_id, payload, invalid.reason)])
    return decode_items(topic, device_id, items, received_at, profile, payload=payload if len(items) == 1 else None)


def decode_items(
    topic: str,
    device_id: str,
    items: Sequence[Any],
    received_at: int,
    profile: DeviceProfile,
    *,
    payload: bytes | None = None,
) -> Decoded:
    """The readings of items that are decoded from JSON; `payload` is what a single item was decoded from."""
    decoded = Decoded([], [])
    for item in items:
        try:
            reading, ignored = _reading(item, device_id, received_at, profile)
        except _Invalid as invalid:
            own_payload = json.dumps(item).encode() if payload is None else payload
            decoded.rejected.append(Rejected(topic, device_id, own_payload, invalid.reason, invalid.metric))
        else:
            decoded.readings.append(reading)
            decoded.ignored += ignored
    return decoded


@lru_cache(maxsize=100_000)
def is_identifier(text: str) -> bool:
    """Whether a text can be a device's id."""
    return len(text) <= MAX_IDENTIFIER and _identifier.fullmatch(text) is not None


def _items(payload: bytes) -> list[Any]:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _Invalid(f"the payload has {len(payload)} bytes; the limit is {MAX_PAYLOAD_BYTES}")
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = decode_leniently(payload)
        except ValueError as error:
            raise _Invalid(str(error)) from None
    items = value if isinstance(value, list) else [value]
    if not 1 <= len(items) <= MAX_ITEMS:
        raise _Invalid(f"the array has {len(items)} items. Send 1 to {MAX_ITEMS}.")
    return items


def _reading(item: Any, device_id: str, received_at: int, profile: DeviceProfile) -> tuple[Reading, int]:
    if not isinstance(item, dict):
        raise _Invalid("the reading is not a JSON object")
    if item.get("device_id", device_id) != device_id:
        raise _Invalid(f"device_id {_cut(item['device_id'])} differs from the topic's {device_id!r}")
    time = _time(item.get("timestamp"), received_at)
    metrics, out_of_band, ignored = _metrics(item, profile)
    if out_of_band is None and time < profile.edited_at + MAX_AHEAD:
        out_of_band = []  # the device was edited recently, so an earlier delivery may have been flagged by other bands
    version = item.get("schema_version")
    return (
        Reading(
            device_id=device_id,
            time=time,
            metrics=metrics,
            received_at=received_at,
            schema_version=version if isinstance(version, str) and _is_schema_version(version) else "v1",
            enrichment_status=profile.enrichment_status,
            device_type=profile.device_type,
            location=profile.location,
            out_of_band=out_of_band,
        ),
        ignored,
    )


def _time(value: Any, received_at: int) -> int:
    number = None
    if isinstance(value, str):
        try:
            time = microseconds(iso8601(value))
        except (ValueError, OverflowError) as error:
            advice = str(error) if "no offset" in str(error) else "send ISO 8601 with an offset, or epoch milliseconds"
            raise _Invalid(f"timestamp {_cut(value)} cannot be read: {advice}") from None
    elif (number := _number(value)) is not None:
        time = round(max(-MAX_TIMESTAMP, min(number, MAX_TIMESTAMP)) * 1000)
    else:
        raise _Invalid("timestamp is missing" if value is None else "timestamp is neither text nor epoch milliseconds")
    if time < EARLIEST:
        raise _Invalid(f"timestamp is before 2000-01-01{_unit_hint(number, received_at)}")
    if time > received_at + MAX_AHEAD:
        ahead = (time - received_at) / SECOND
        hint = _unit_hint(number, received_at) or ". Check the device's clock."
        far = f"{ahead:.0f} s" if ahead < FAR_SECONDS else "far"
        raise _Invalid(f"timestamp is {far} in the future; the limit is 600 s{hint}")
    return time


def _unit_hint(number: float | None, received_at: int) -> str:
    """Advice about a number that would be a good time in another unit."""
    for unit, milliseconds in OTHER_UNITS.items():
        if number is not None and EARLIEST <= number * milliseconds * 1000 <= received_at + MAX_AHEAD:
            return f". Are these {unit}? Send epoch milliseconds, not {unit}."
    return ""


def plausible_limits(metric: str, limits: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """The limits of what a sensor can measure; `limits` are those that the device declares."""
    return (limits and limits.get(metric)) or PLAUSIBLE.get(metric, PLAUSIBLE_EXTRA)


def _metrics(item: Mapping[str, Any], profile: DeviceProfile) -> tuple[dict[str, float], list[str] | None, int]:
    """The metrics, the names of those out of their band (None if there are none), and how many keys are not metrics."""
    limits, bands, ignore = profile.limits, profile.bands, profile.ignore
    usual = {} if limits or bands or ignore else NOMINAL_BANDS
    metrics: dict[str, float] = {}
    out_of_band: list[str] | None = None
    ignored = 0
    for name, value in item.items():
        # Nearly every value is a float in the band of a named metric.
        if (usual_band := usual.get(name)) and type(value) is float and usual_band[0] <= value <= usual_band[1]:
            metrics[name] = value
            continue
        if value is None or name in RESERVED or name in ignore:
            ignored += name in ignore or (name in RESERVED and name not in _EXPECTED)
            continue
        low, high = plausible_limits(name, limits)
        # NaN is not within any limits.
        if type(value) not in _NUMBERS or not low <= value <= high:
            _check_ignorable(name, value, (low, high), has_limits=name in PLAUSIBLE or name in limits)
            ignored += 1
            continue
        band = (bands and bands.get(name)) or NOMINAL_BANDS.get(name)
        if band is None and not _is_metric(name):
            ignored += 1
            continue
        metrics[name] = float(value)
        if band is not None and not band[0] <= value <= band[1]:
            out_of_band = [*(out_of_band or ()), name]
    if not metrics:
        raise _Invalid("the reading has no metric. Send at least one number, such as a voltage, current or power.")
    if len(metrics) > MAX_METRICS:
        raise _Invalid(f"the reading has {len(metrics)} metrics; the limit is {MAX_METRICS}")
    return metrics, out_of_band, ignored


def _check_ignorable(name: str, value: Any, plausible: tuple[float, float], *, has_limits: bool) -> None:
    """Raise `_Invalid` if a value that is not a number within its limits makes the reading worthless."""
    low, high = plausible
    if name in NAMED_METRICS and _number(value) is None:
        raise _Invalid(_not_a_number(name, value), name)
    # A value that is too great for any metric is none, such as an IMEI or a time in milliseconds.
    if has_limits and type(value) in _NUMBERS and (value < low or value > high):
        limits_text = f"{short_number(low)} to {short_number(high)}"
        raise _Invalid(f"{name} = {short_number(value)} is outside its plausible limits {limits_text}", name)


@lru_cache(maxsize=10_000)
def _is_metric(name: str) -> bool:
    return _metric_name.fullmatch(name) is not None


@lru_cache(maxsize=1_000)
def _is_schema_version(text: str) -> bool:
    return _schema_version.fullmatch(text) is not None


_NUMBERS = (float, int)  # not their subclasses, since bool is one of int
_EXPECTED = ("timestamp", "device_id", "schema_version")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _not_a_number(name: str, value: Any) -> str:
    hint = f". Send {value} without quotes." if isinstance(value, str) and _is_numeric(value) else ""
    return f"{name}: {_cut(value)} is not a number{hint}"


def _is_numeric(text: str) -> bool:
    return len(text) <= 30 and _json_number.fullmatch(text) is not None


def _cut(value: Any) -> str:
    """A value as it can stand in a sentence: printable and short, and as JSON has it."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return (repr(value) if is_plain else json.dumps(value))[:60]


def payload_of(reading: Reading) -> bytes:
    """The payload with which the device could have sent the reading alone."""
    item = {"timestamp": reading.time / 1000, "schema_version": reading.schema_version, **reading.metrics}
    return json.dumps(item).encode()
