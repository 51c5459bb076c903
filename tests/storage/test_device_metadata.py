"""The keys of a device's metadata that energy rests on are typed, and refused when they are wrong."""

from typing import Any

import pytest

from storage.devices import DeviceMetadata, metadata_text

COUNTERS = {"kwh": {"unit": "kWh"}}


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"counters": {"kwh": {"unit": "kWh", "role": "use"}}}, "counters.kwh.role"),
        ({"counters": {"kwh": {"unit": "kWh", "factor": 0}}}, "counters.kwh.factor"),
        ({"counters": {"kwh": {"unit": "kWh", "net": 1}}}, "counters.kwh.net"),
        ({"counters": {"kwh": {"unit": "kWh", "net": True, "rollover": 9}}}, "give one of net and rollover"),
        ({"reporting": {"power": "sometimes"}}, "reporting.power"),
        ({"meter_changes": [{"counter": "kwh", "at": "2026-02-12T10:00:00Z"}]}, "declare it under counters"),
        (
            {"counters": COUNTERS, "meter_changes": [{"counter": "kwh", "at": "2026-02-12T10:00"}]},
            "meter_changes.0.at",
        ),
        ({"max_power_w": 0}, "max_power_w"),
        ({"max_power_w": "5000"}, "max_power_w"),
        ({"exports": "yes"}, "exports"),
        ({"off_below_w": 50, "idle_below_w": 10}, "off_below_w is above idle_below_w"),
        ({"working_hours": [{"days": [7], "from": "06:00", "to": "22:00"}]}, "working_hours.0.days"),
        ({"parent_device": "a/b"}, "parent_device"),
        ({"tariff": {"price": 0.3}}, "is reserved for energy management"),
    ],
)
def test_what_is_refused(metadata: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        metadata_text(metadata)


def test_what_is_taken() -> None:
    metadata = {
        "counters": {
            "kwh": {"unit": "Wh", "factor": 0.1, "rollover": 1e6, "role": "import"},
            "net": {"unit": "kWh", "net": True},
        },
        "reporting": {"power": "on_change"},
        "meter_changes": [{"counter": "kwh", "at": "2026-02-12T10:00:00+01:00", "last_old": 7001.4, "first_new": 12}],
        "max_power_w": 5000,
        "exports": True,
        "off_below_w": 5,
        "idle_below_w": 100.5,
        "working_hours": [{"days": [0, 1, 2, 3, 4], "from": "06:00", "to": "22:00"}],
        "parent_device": "main-feeder",
        "anything": {"else": 1},
    }
    parsed = DeviceMetadata.parse(metadata_text(metadata))
    assert parsed.counters["kwh"].role == "import"
    assert parsed.plausible_limits == {"current": (-10_000.0, 10_000.0)}
    assert DeviceMetadata.parse('{"exports": true, "limits": {"current": [-5, 5]}}').plausible_limits == {
        "current": (-5, 5)
    }
    assert DeviceMetadata.parse("{}").plausible_limits == {}


def test_what_an_older_version_kept_wrongly_spoils_nothing_else() -> None:
    kept = '{"tariff": "night", "exports": "yes", "counters": {"kwh": {"unit": "kWh"}}, "timezone": "Europe/Paris"}'
    parsed = DeviceMetadata.parse(kept)
    assert (list(parsed.counters), parsed.timezone, parsed.exports) == (["kwh"], "Europe/Paris", False)
    assert DeviceMetadata.parse("no JSON") == DeviceMetadata.parse("[1]") == DeviceMetadata()
    assert DeviceMetadata.parse('{"ignore": ["power"], "bands": {"power": [0, 1]}}') == DeviceMetadata()


@pytest.mark.parametrize(
    "metadata",
    [
        {"counters": {"energy_total": {"unit": "kWh", "factor": 1e300}}},
        {"limits": {"power": [-1e308, 1e308]}},
        {"max_power_w": 1e300},
    ],
)
def test_numbers_that_would_overflow_are_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is out of range; give .* or (less|more)"):
        metadata_text(metadata)
