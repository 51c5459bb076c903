"""InfluxDB's line protocol for readings.

Besides the metrics a point has the field `received_at` (integer microseconds). If a value is out of band, the field
`<metric>.out_of_band` holds the same value: the metric is flagged as long as the two are equal. A correction therefore
removes the flag, and a later reading of other metrics leaves it. If the same value may have been flagged before, under
other bands, a different number in that field removes the flag.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from storage.telemetry.store import Reading

MEASUREMENT = "device_telemetry"
TAGS = ("device_type", "enrichment_status", "location", "schema_version")
RECEIVED_AT = "received_at"
OUT_OF_BAND = ".out_of_band"

_RECEIVED_AT = RECEIVED_AT.encode()
_json = msgspec.json.Encoder().encode

# Line protocol cannot escape these: a newline ends the line, and a backslash at the end would escape what follows.
_unwritable = re.compile(r"[\n\r]|\\\Z|%(?=0A|0D|5C|25)")
_written = re.compile(r"%(0A|0D|5C|25)")
_special = re.compile(r"[,= ]")


def lines(readings: Iterable[Reading]) -> bytes:
    """A line per reading, with times in microseconds. Every metric is written as a float."""
    return b"\n".join([_line(reading) for reading in readings])


def tag_text(tag: str) -> str:
    """The text that the platform wrote as this tag's value."""
    return _written.sub(lambda match: chr(int(match[1], 16)), tag)


def _line(reading: Reading) -> bytes:
    r = reading
    fields = _fields(r.metrics)
    if r.out_of_band is not None:
        flags = {n + OUT_OF_BAND: v if n in r.out_of_band else _other(v) for n, v in r.metrics.items()}
        fields += b"," + _fields(flags)
    series = _series(r.device_id, r.device_type, r.enrichment_status, r.location, r.schema_version)
    return b"%b %b,%b=%di %d" % (series, fields, _RECEIVED_AT, r.received_at, r.time)


def _fields(values: Mapping[str, float]) -> bytes:
    """Fields are what is left of a JSON object of numbers without its braces and quotes. No name needs escaping."""
    return _json(values)[2:-1].replace(b'":', b"=").replace(b',"', b",")


def _other(value: float) -> float:
    """A different number."""
    return -1.0 if value >= 0 else 1.0


@lru_cache(maxsize=10_000)
def _series(device_id: str, *tags: str | None) -> bytes:
    pairs = zip(("device_id", *TAGS), (device_id, *tags), strict=True)
    return ",".join([MEASUREMENT, *(f"{name}={_tag(value)}" for name, value in pairs if value)]).encode()


def _tag(text: str) -> str:
    written = _unwritable.sub(lambda match: f"%{ord(match[0]):02X}", text)
    return _special.sub(r"\\\g<0>", written)
