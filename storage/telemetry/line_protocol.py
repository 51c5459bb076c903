"""InfluxDB's line protocol for readings.

Besides the metrics a point has the field `received_at` (integer microseconds). If a value is out of band, the field
`<metric>.out_of_band` holds the same value: the metric is flagged as long as the two are equal. A correction therefore
removes the flag, and a later reading of other metrics leaves it. If the same value may have been flagged before, under
other bands, a different number in that field removes the flag.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from storage.telemetry.store import Reading

MEASUREMENT = "device_telemetry"
TAGS = ("device_type", "enrichment_status", "location", "schema_version")
RECEIVED_AT = "received_at"
OUT_OF_BAND = ".out_of_band"

# Line protocol cannot escape these: a newline ends the line, and a backslash at the end would escape what follows.
_unwritable = re.compile(r"[\n\r]|\\\Z|%(?=0A|0D|5C|25)")
_written = re.compile(r"%(0A|0D|5C|25)")
_special = re.compile(r"[,= ]")


def lines(readings: Iterable[Reading]) -> bytes:
    """A line per reading, with times in microseconds. Every metric is written as a float."""
    return "\n".join([_line(reading) for reading in readings]).encode()


def tag_text(tag: str) -> str:
    """The text that the platform wrote as this tag's value."""
    return _written.sub(lambda match: chr(int(match[1], 16)), tag)


def _line(reading: Reading) -> str:
    r = reading
    fields = [f"{name}={value}" for name, value in r.metrics.items()]
    if r.out_of_band is not None:
        fields += [
            f"{name}{OUT_OF_BAND}={value if name in r.out_of_band else _other(value)}"
            for name, value in r.metrics.items()
        ]
    series = _series(r.device_id, r.device_type, r.enrichment_status, r.location, r.schema_version)
    return f"{series} {','.join(fields)},{RECEIVED_AT}={r.received_at}i {r.time}"


def _other(value: float) -> float:
    """A different number."""
    return -1.0 if value >= 0 else 1.0


@lru_cache(maxsize=10_000)
def _series(device_id: str, *tags: str | None) -> str:
    pairs = zip(("device_id", *TAGS), (device_id, *tags), strict=True)
    return ",".join([MEASUREMENT, *(f"{name}={_tag(value)}" for name, value in pairs if value)])


def _tag(text: str) -> str:
    written = _unwritable.sub(lambda match: f"%{ord(match[0]):02X}", text)
    return _special.sub(r"\\\g<0>", written)
