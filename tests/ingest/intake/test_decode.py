import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from ingest.devices.profile import UNREGISTERED, DeviceProfile
from ingest.intake.decode import MAX_AHEAD, Decoded, decode_payload, payload_of
from storage.devices import NAMED_METRICS, RESERVED
from storage.times import HOUR, SECOND, microseconds

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
        ("2026-02-12t10:00:00z", NOW),
        ("2026-02-12T11:00:00,25+0100", NOW + 250_000),
        ("2026-02-11T24:00:00Z", NOW - 10 * HOUR),
        ("20260211t2400z", NOW - 10 * HOUR),
        ("2026-02-11 24:00 +01:00", NOW - 11 * HOUR),
        ("2025-12-31T24:00:00.000Z", microseconds(datetime(2026, 1, 1, tzinfo=UTC))),
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
        (1_770_890_400, "Are these seconds? Send epoch milliseconds, not seconds."),
        (
            1_770_890_400_000_000,
            "is far in the future; the limit is 600 s. Are these microseconds? Send epoch milliseconds, not",
        ),
        (1_770_890_400_000_000_000, "Are these nanoseconds?"),
        ("2026-02-11T24:30:00Z", "cannot be read: send ISO 8601"),
        ("2026-02-11T24:00:00", "no offset"),
        ("9999-12-31T24:00:00Z", "cannot be read: send ISO 8601"),
        ("2026-02-12T10:00:00+25:00", "cannot be read: send ISO 8601"),
        ("1999-12-31T23:59:59Z", "before 2000"),
        ("2026-02-12T10:10:01Z", "601 s in the future"),
        (True, "neither text nor epoch milliseconds"),
        (1e300, "timestamp is far in the future; the limit is 600 s. Check the device's clock."),
        (1e306, "far in the future"),
        ("2026-02-12T10:00:00Z\0garbage", "cannot be read: send ISO 8601"),
        ("2026-02-12T10:00:00z\0+05:00", "cannot be read: send ISO 8601"),
        ("2026-02-11T24:00\0", "cannot be read: send ISO 8601"),
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
        ({**GOOD, "current": True}, "current: true is not a number", "current"),
        ({**GOOD, "voltage": 1000.1}, "plausible limits 0 to 1000", "voltage"),
        ({**GOOD, "temperature": -61}, "plausible limits -60 to 300", "temperature"),
        ({**GOOD, "voltage": 1000.0000001}, "voltage = 1000.0000001 is outside its plausible", "voltage"),
        ({**GOOD, "power": 1e13}, "power = 1e+13 is outside its plausible limits", "power"),
        ({"timestamp": GOOD["timestamp"]}, "no metric", None),
        ({"timestamp": GOOD["timestamp"], "voltage": None, "note": "x"}, "no metric", None),
        ({**GOOD, "device_id": "D2"}, "differs from the topic's", None),
        ({**GOOD, **{f"m{i}": 1 for i in range(29)}}, "33 metrics", None),
        ([], "0 items", None),
        ([GOOD] * 1001, "1001 items", None),
        ("text", "not a JSON object", None),
        (b"\xff\xfe", "not valid JSON", None),
        (b"", "not valid JSON", None),
        (b"[" * 100_000, "nested too deeply", None),
        (b'{"power": ' + b"9" * 5000 + b"}", "a number that is too long", None),
        (b'{"power": }', "not valid JSON: look at line 1, character 11", None),
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


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "NAN", "inf", "+inf", "-Inf", "Infinity", "-infinity", "1e999"])
def test_a_bare_word_for_no_number_costs_its_item_and_no_other(word: str) -> None:
    items = [GOOD, {**GOOD, "power": "HERE", "note": 'nan, "inf" \\'}, {**GOOD, "x": "HERE", "note": "-inf"}]
    decoded = taken(json.dumps(items).replace('"HERE"', word).encode())
    assert [r.metrics.keys() for r in decoded.readings] == [set(NAMED_METRICS)] * 2
    (rejected,) = decoded.rejected
    assert rejected.metric == "power"
    assert json.loads(rejected.payload)["note"] == 'nan, "inf" \\'
    assert decoded.ignored == 2


def test_an_extra_key_beyond_any_metric_is_dropped_alone() -> None:
    """A time in milliseconds, an IMEI and a number that no float can hold are not measurements."""
    decoded = taken({**GOOD, "last_seen": 1_770_890_400_000, "imei": 356938035643809, "huge": -(10**400), "oil": 1e12})
    assert set(decoded.readings[0].metrics) == {*NAMED_METRICS, "oil"}
    assert decoded.ignored == 3


@pytest.mark.parametrize("value", [6, -1, 1e13, math.inf, 10**400])
def test_an_extra_key_with_limits_of_its_own_costs_the_reading(value: float) -> None:
    decoded = taken({**GOOD, "oil": value}, DeviceProfile(limits={"oil": (0, 5)}))
    assert "outside its plausible limits 0 to 5" in decoded.rejected[0].reason
    assert decoded.rejected[0].metric == "oil"


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


@given(
    moment=st.timedeltas(timedelta(0), timedelta(days=9000)).map(lambda ago: datetime(2026, 2, 12, tzinfo=UTC) - ago),
    offset=st.sampled_from(["Z", "z", "+00:00", "+0000", "-00:00", "+00"]),
    separator=st.sampled_from("Tt "),
    point=st.sampled_from(".,"),
    digits=st.integers(1, 9),
)
def test_a_time_is_the_same_in_every_spelling(
    moment: datetime, offset: str, separator: str, point: str, digits: int
) -> None:
    fraction = f"{moment.microsecond:06d}123"[:digits]
    text = f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S}{point}{fraction}{offset}"
    expected = microseconds(moment.replace(microsecond=int(fraction[:6].ljust(6, "0"))))
    assert taken({**GOOD, "timestamp": text}).readings[0].time == expected
    for unit, factor in (("seconds", 1e-6), ("microseconds", 1), ("nanoseconds", 1000)):
        assert f"Are these {unit}?" in reason({**GOOD, "timestamp": expected * factor})


@given(values=st.lists(st.one_of(st.none(), st.floats(-1e12, 1e12)), min_size=1, max_size=20), data=st.data())
def test_an_array_loses_what_is_no_number_and_nothing_else(values: list[float | None], data: st.DataObject) -> None:
    """None stands for a bare word; it costs the reading's named metric, or only an extra one."""
    name = data.draw(st.sampled_from(["power", "oil"]))
    words = st.sampled_from(["nan", "NaN", "inf", "-Infinity", "+Inf"])
    numbers = [data.draw(words) if value is None else json.dumps(value) for value in values]
    texts = [f'{{"timestamp": {NOW // 1000 - i}, "voltage": 230, "{name}": {n}}}' for i, n in enumerate(numbers)]
    device = DeviceProfile(limits={"power": (-1e12, 1e12)})
    decoded = taken(f"[{','.join(texts)}]".encode(), device)
    good = [value for value in values if value is not None]
    assert [r.metrics[name] for r in decoded.readings if name in r.metrics] == good
    assert len(decoded.rejected) == (len(values) - len(good) if name == "power" else 0)
    assert len(decoded.readings) + len(decoded.rejected) == len(values)


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
