import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from ingest.devices.profile import UNREGISTERED, DeviceProfile
from ingest.intake.decode import MAX_AHEAD, Decoded, decode_payload, payload_of
from storage.devices import NAMED_METRICS, RESERVED
from storage.times import SECOND, microseconds

NOW = microseconds(datetime(2026, 2, 12, 10, tzinfo=UTC))
GOOD = {"timestamp": "2026-02-12T10:00:00Z", "voltage": 230.5, "current": 1.2, "power": 276.6, "temperature": 45.2}
REGISTERED = DeviceProfile(enrichment_status="success", device_type="compressor", location="Hall 1")


def taken(payload: object, device: DeviceProfile = REGISTERED, device_id: str = "D1") -> Decoded:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return decode_payload(f"devices/{device_id}/telemetry", device_id, raw, NOW, device)


def reason(payload: object, device: DeviceProfile = REGISTERED) -> str:
    decoded = taken(payload, device)
    assert not decoded.readings
    return decoded.rejected[0].reason


def test_the_handovers_payload() -> None:
    (reading,) = taken({**GOOD, "schema_version": "v1", "vibration_rms": 0.4}).readings
    assert (reading.device_id, reading.time, reading.schema_version) == ("D1", NOW, "v1")
    assert reading.metrics == {
        "voltage": 230.5,
        "current": 1.2,
        "power": 276.6,
        "temperature": 45.2,
        "vibration_rms": 0.4,
    }
    assert (reading.enrichment_status, reading.device_type, reading.location) == ("success", "compressor", "Hall 1")
    assert reading.out_of_band is None


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-02-12T11:00:00+01:00", NOW),
        ("2026-02-12T10:00:00.123456789Z", NOW + 123_456),
        (NOW // 1000, NOW),
        (NOW / 1000 + 0.25, NOW + 250),
        ("2026-02-12T10:10:00Z", NOW + MAX_AHEAD),
    ],
)
def test_timestamps(stamp: object, expected: int) -> None:
    assert taken({**GOOD, "timestamp": stamp}).readings[0].time == expected


@pytest.mark.parametrize(
    ("stamp", "says"),
    [
        (None, "missing"),
        ("2026-02-12T10:00:00", "no offset"),
        ("yesterday", "cannot be read"),
        (1_770_890_400, "not seconds"),
        ("1999-12-31T23:59:59Z", "before 2000"),
        ("2026-02-12T10:10:01Z", "601 s in the future"),
        (True, "neither text nor epoch milliseconds"),
        (1e300, "in the future"),
        (1e306, "in the future"),
        (-1e306, "before 2000"),
        (10**400, "neither text nor epoch milliseconds"),
        ("0001-01-01T00:00:00+14:00", "before 2000"),
    ],
)
def test_timestamps_refused(stamp: object, says: str) -> None:
    assert says in reason({**GOOD, "timestamp": stamp})


@pytest.mark.parametrize(
    ("payload", "says", "metric"),
    [
        ({**GOOD, "voltage": "230"}, "voltage: '230' is not a number. Send 230 without quotes.", "voltage"),
        ({**GOOD, "power": math.nan}, "power: nan is not a number", "power"),
        ({**GOOD, "power": math.inf}, "power: inf is not a number", "power"),
        ({**GOOD, "current": True}, "current: True is not a number", "current"),
        ({**GOOD, "voltage": 1000.1}, "plausible limits 0 to 1000", "voltage"),
        ({**GOOD, "temperature": -61}, "plausible limits -60 to 300", "temperature"),
        ({**GOOD, "vibration": 1e13}, "plausible limits", "vibration"),
        ({"timestamp": GOOD["timestamp"]}, "no metric", None),
        ({"timestamp": GOOD["timestamp"], "voltage": None, "note": "x"}, "no metric", None),
        ({**GOOD, "device_id": "D2"}, "differs from the topic's", None),
        ({**GOOD, **{f"m{i}": 1 for i in range(29)}}, "33 metrics", None),
        ([], "0 items", None),
        ([GOOD] * 1001, "1001 items", None),
        ("text", "not a JSON object", None),
        (b"\xff\xfe", "not valid JSON", None),
        (b"", "not valid JSON", None),
        (b"[" * 100_000, "not valid JSON", None),
        (b'{"a": 1' + b" " * 256_000 + b"}", "bytes", None),
    ],
)
def test_refused_with_the_reason(payload: object, says: str, metric: str | None) -> None:
    decoded = taken(payload)
    assert says in decoded.rejected[0].reason
    assert decoded.rejected[0].metric == metric
    assert len(decoded.rejected) == 1
    assert not decoded.readings


def test_only_the_bad_item_of_an_array_is_refused() -> None:
    bad = {**GOOD, "power": math.nan}
    decoded = taken([GOOD, bad, {"timestamp": "2026-02-12T10:00:01Z", "voltage": 229}])
    assert [r.time for r in decoded.readings] == [NOW, NOW + SECOND]
    assert decoded.rejected[0].payload == json.dumps(bad).encode()


def test_keys_that_are_no_metrics_are_ignored_and_counted() -> None:
    decoded = taken(
        {**GOOD, "state": "on", "flag": True, "nested": {}, "Camel": 1, "hour": 3, "x": math.nan, "none": None}
    )
    assert decoded.ignored == 6
    assert set(decoded.readings[0].metrics) == set(NAMED_METRICS)


def test_bands_flag_and_limits_quarantine() -> None:
    device = DeviceProfile(
        limits={"voltage": (0, 500)}, bands={"voltage": (390, 410), "oil": (1, 2)}, ignore=frozenset(["power"])
    )
    (reading,) = taken({**GOOD, "voltage": 380, "oil": 3, "power": "broken", "current": 5}, device).readings
    assert reading.out_of_band == ["voltage", "current", "oil"]
    assert "power" not in reading.metrics
    assert "0 to 500" in reason({**GOOD, "voltage": 501}, device)


@pytest.mark.parametrize(("edited", "expected"), [(NOW - MAX_AHEAD, None), (NOW - MAX_AHEAD + 1, []), (NOW + 1, [])])
def test_what_may_have_been_judged_by_other_bands_is_told_so(edited: int, expected: list[str] | None) -> None:
    """A reading may be up to ten minutes ahead of the edit that it came before."""
    assert taken(GOOD, DeviceProfile(edited_at=edited)).readings[0].out_of_band == expected


def test_an_unregistered_device_is_taken() -> None:
    assert taken(GOOD, UNREGISTERED).readings[0].enrichment_status == "failed"


@pytest.mark.parametrize("device_id", ["", " ", "a b", "../x", "a..b", "x" * 51, "é", "-a", "a\n"])
def test_identifiers_refused(device_id: str) -> None:
    decoded = taken(GOOD, device_id=device_id)
    assert "device id" in decoded.rejected[0].reason
    assert decoded.rejected[0].device_id is None


metric_names = st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True).filter(lambda name: name not in RESERVED)
numbers = st.floats(-1e6, 1e6)


@given(
    metrics=st.dictionaries(metric_names.filter(lambda n: n not in NAMED_METRICS), numbers, min_size=1, max_size=32),
    ago=st.timedeltas(timedelta(0), timedelta(days=9000)),
)
def test_what_is_good_comes_through_unchanged(metrics: dict[str, float], ago: timedelta) -> None:
    stamp = datetime(2026, 2, 12, 10, tzinfo=UTC) - ago
    (reading,) = taken({"timestamp": stamp.isoformat(), **metrics}).readings
    assert reading.metrics == metrics
    assert reading.time == microseconds(stamp)
    (again,) = taken(payload_of(reading)).readings
    assert (again.metrics, again.time) == (reading.metrics, reading.time)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.sampled_from([*GOOD, "device_id"]), children),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_a_reading_or_a_reason(value: object) -> None:
    decoded = taken(value)
    items = value if isinstance(value, list) and value else [value]
    assert len(decoded.readings) + len(decoded.rejected) == len(items)
    for rejected in decoded.rejected:
        assert rejected.reason.isprintable()


@given(st.binary())
def test_any_bytes_are_a_reading_or_a_reason(payload: bytes) -> None:
    decoded = taken(payload)
    assert decoded.readings or decoded.rejected
