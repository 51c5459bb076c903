import re
from typing import Any

import pytest

from assets.datasets import UnfitDatasets, export_day, export_range, read_history
from assets.quality.settings import DEFAULT_THRESHOLDS, QualitySettings, Thresholds
from storage.devices import Device
from storage.settings import SettingsError
from storage.stores import Stores
from storage.telemetry import Reading
from tests.support.plant import DAY, reading, store

WHOLE = range(1440)


def normal(minute: float) -> Reading:
    """Of a machine whose readings leave nothing to complain of."""
    wave = (minute * 7) % 13
    return reading(minute, voltage=230 + wave / 10, current=1 + wave / 100, power=200 + wave, temperature=40 + wave)


def checked(stores: Stores, *readings: Reading) -> dict[str, Any]:
    store(stores, *readings)
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert exported.dataset.checks is not None
    return exported.dataset.checks


def test_a_good_day_has_nothing_against_it(stores: Stores) -> None:
    checks = checked(stores, *map(normal, WHOLE))
    assert list(checks) == list(DEFAULT_THRESHOLDS)
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert checks["completeness"]["value"] == pytest.approx(1, abs=0.001)


def test_missing_readings_and_gaps(stores: Stores) -> None:
    checks = checked(stores, *(normal(m) for m in WHOLE if not 300 <= m < 420))
    assert checks["completeness"]["value"] == pytest.approx(1 - 120 / 1440, abs=0.001)
    assert checks["completeness"]["status"] == checks["gaps"]["status"] == "warn"
    assert checks["gaps"]["detail"] == "1 gaps, the longest 121 min"
    assert {check["status"] for check in checks.values()} == {"ok", "warn"}


def test_the_first_day_of_a_device_begins_with_its_first_reading(stores: Stores) -> None:
    assert checked(stores, *(normal(m) for m in range(1300, 1440)))["completeness"]["status"] == "ok"
    store(stores, reading(-1))
    exported = export_day(stores, "D1", DAY)
    assert exported is not None
    assert exported.dataset.checks is not None
    assert exported.dataset.checks["completeness"]["status"] == "error"


def test_a_device_that_sends_faster_for_a_while_is_complete(stores: Stores) -> None:
    checks = checked(stores, *map(normal, WHOLE), *(normal(1000 + m / 12) for m in range(1, 2400) if m % 12))
    assert checks["completeness"]["status"] == checks["duplicates"]["status"] == "ok"


def test_the_declared_cadence_counts(stores: Stores) -> None:
    stores.session.add(
        Device(device_id="D1", device_name="Pump", device_type="pump", metadata_json='{"cadence_seconds": 5}')
    )
    checks = checked(stores, *map(normal, WHOLE))
    assert checks["completeness"]["value"] == pytest.approx(1 / 12, abs=0.001)
    assert checks["completeness"]["status"] == "error"


def test_readings_sent_twice(stores: Stores) -> None:
    again = [reading(m + 0.01, **normal(m).metrics) for m in range(0, 1440, 10)]
    checks = checked(stores, *map(normal, WHOLE), *again)
    assert checks["duplicates"]["status"] == "warn"
    assert checks["duplicates"]["detail"] == "144 of 1584 readings repeat the one before"


def test_a_stuck_sensor_is_told_from_a_machine_that_is_off(stores: Stores) -> None:
    stuck = [reading(m, power=0, temperature=41.5 if m < 600 else 20 + m / 100) for m in WHOLE]
    checks = checked(stores, *stuck)
    assert checks["flatline"] == {
        "status": "warn", "value": 599.0, "detail": "temperature did not move for 599 min"
    }  # fmt: skip
    assert "power_consistency" not in checks


def test_out_of_band_and_power_that_cannot_be(stores: Stores) -> None:
    readings = [normal(m) for m in WHOLE]
    for r in readings[:720]:
        r.out_of_band = ["power"]
        r.metrics["power"] = 600.0 + r.time % 7
    checks = checked(stores, *readings)
    assert (checks["out_of_band"]["value"], checks["out_of_band"]["status"]) == (0.5, "warn")
    assert (checks["power_consistency"]["value"], checks["power_consistency"]["status"]) == (0.5, "warn")


@pytest.mark.parametrize(
    ("delays", "status", "words"),
    [
        ([1, 2], "ok", "1 s late"),
        ([-120, -119], "warn", "120 s ahead"),
        ([7200, 7201], "error", "7200 s late, as from a slow clock"),
        ([1, 7200], "ok", "no sign of a wrong clock"),
    ],
)
def test_clocks(stores: Stores, delays: list[int], status: str, words: str) -> None:
    readings = [normal(m) for m in WHOLE]
    for i, r in enumerate(readings):
        r.received_at = r.time + delays[i % 2] * 1_000_000
    check = checked(stores, *readings)["clock_skew"]
    assert check["status"] == status
    assert words in check["detail"]


HOURS_LATE = 6 * 3600


@pytest.mark.parametrize(
    ("delays", "status"),
    [
        ({600: HOURS_LATE}, "ok"),  # the day's only reading
        ({600: HOURS_LATE, 601: HOURS_LATE - 60, 602: HOURS_LATE - 120}, "ok"),  # sent together
        ({m / 60: HOURS_LATE for m in range(1, 5)}, "ok"),  # sent together, within seconds
        ({**dict.fromkeys(range(0, 1440, 60), 1), 90: HOURS_LATE}, "ok"),
        ({60: 1, 120: HOURS_LATE}, "ok"),
        ({h * 60: (3600 if h % 2 else 0) for h in range(24)}, "ok"),  # sent every two hours
        (dict.fromkeys(range(0, 1440, 60), HOURS_LATE), "error"),
        (dict.fromkeys(range(0, 1440, 480), HOURS_LATE), "error"),
        ({**dict.fromkeys(range(0, 1440, 60), HOURS_LATE), 90: 2 * HOURS_LATE}, "error"),
        ({m: HOURS_LATE + (600 - m) * 60 * (m < 400) for m in range(0, 1440, 5)}, "error"),  # and held back for a while
    ],
)
def test_a_late_reading_is_told_from_a_slow_clock(stores: Stores, delays: dict[float, int], status: str) -> None:
    readings = [normal(m) for m in delays]
    for r, delay in zip(readings, delays.values(), strict=True):
        r.received_at = r.time + delay * 1_000_000
    assert checked(stores, *readings)["clock_skew"]["status"] == status


def test_thresholds_can_be_changed(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUALITY_THRESHOLDS", '{"gaps": {"error": 30}, "completeness": {"warn": null}}')
    thresholds = QualitySettings.load().thresholds
    assert thresholds["gaps"] == Thresholds(warn=60, error=30)
    assert thresholds["gaps"].status(31) == "error"
    assert (thresholds["completeness"].status(0.9), thresholds["completeness"].status(0.05)) == ("ok", "error")
    monkeypatch.setenv("QUALITY_THRESHOLDS", '{"gps": {"error": 30}}')
    with pytest.raises(SettingsError, match="QUALITY_THRESHOLDS"):
        QualitySettings.load()


def test_days_with_errors_are_left_out_and_named_unless_wanted(stores: Stores) -> None:
    checked(stores, reading(-1), *(normal(m) for m in range(100)))
    store(stores, *(normal(1440 + m) for m in WHOLE))
    tomorrow = DAY.replace(day=DAY.day + 1)
    export_day(stores, "D1", tomorrow)
    made = export_range(stores, "D1", DAY, tomorrow)
    for choice in ({"start": DAY, "end": tomorrow}, {"key": made.dataset.key}):
        _, table, left_out = read_history(stores, "D1", **choice)
        assert len(table) == 1440
        assert {time.day for time in table["timestamp"].to_pylist()} == {tomorrow.day}
        assert [day.day for day in left_out] == [DAY]
        assert re.search(r"completeness \((?:6\.9|7\.0)% of the day", left_out[0].reason)
    with pytest.raises(UnfitDatasets, match=r"2026-02-12 completeness \((?:6\.9|7\.0)% of the day.*with_errors"):
        read_history(stores, "D1", start=DAY, end=DAY)
    chosen, table, _ = read_history(stores, "D1", key=made.dataset.key, with_errors=True)
    assert ([d.kind for d in chosen], len(table)) == (["range"], 1540)
    assert len(read_history(stores, "D1", start=tomorrow, end=tomorrow)[1]) == 1440
