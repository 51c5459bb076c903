from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from assets.reports.canvas import rounded
from assets.reports.content import Kpi, Period
from assets.reports.look import language

EN, DE = language("en"), language("de")


def typed(words: str) -> str:
    """As a keyboard has it: without the signs that print better."""
    return words.replace("\u2212", "-").replace("\u2013", "-").replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.00012, "0.00012"), (0.5, "0.500"), (1, "1.00"), (37, "37.0"), (1795.6, "1,796"), (-2.68, "-2.68")],
)
def test_figures_have_as_many_digits_as_a_person_needs(value: float, written: str) -> None:
    assert typed(EN.figure(value)) == written


@pytest.mark.parametrize(
    ("value", "written"), [(226.0, "226"), (0.5, "0.5"), (9500, "9,500"), (-10, "-10"), (1e6, "1,000,000")]
)
def test_limits_are_written_as_people_set_them(value: float, written: str) -> None:
    assert typed(EN.plain(value)) == written


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (None, "W", "-"),
        (999, "W", "999.0 W"),
        (1796, "W", "1.80 kW"),
        (-2_500_000, "W", "-2.50 MW"),
        (9999, "kWh", "9,999 kWh"),
        (43_890, "kWh", "43.9 MWh"),
        (0.97, "1", "0.970"),
    ],
)
def test_power_and_energy_in_the_multiple_that_suits(value: float | None, unit: str, written: str) -> None:
    assert typed(EN.quantity(value, unit)) == written


@pytest.mark.parametrize(
    ("share", "written"),
    [(1, "100 %"), (0.9999, "99.9 %"), (0.697, "69.7 %"), (0.0001, "under 0.1 %"), (0, "0 %"), (None, "-")],
)
def test_less_than_all_is_never_written_as_100_percent(share: float | None, written: str) -> None:
    assert typed(EN.percent(share)) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.25, "0.2 s"),
        (59.96, "1 min"),
        (300, "5 min"),
        (5160, "1 h 26 min"),
        (23 * 3600, "23 h"),
        (86_399, "1 d"),
        (7 * 86_400 - 60, "7 d"),
        (6 * 86_400 + 6 * 3600, "6 d 6 h"),
    ],
)
def test_durations(seconds: float, written: str) -> None:
    assert typed(EN.duration(seconds)) == written


@given(st.floats(0, 4e8))
def test_a_duration_names_at_most_two_units(seconds: float) -> None:
    assert 1 <= len(EN.duration(seconds).split(" ")) <= 2


def test_key_figures() -> None:
    assert EN.kpi(Kpi(key="voltage_mean", label="", value=230.04, unit="V")) == "230.0\u00a0V"
    assert EN.kpi(Kpi(key="completeness", label="", value=0.5, unit="1")) == "50\u00a0%"
    assert EN.kpi(Kpi(key="load_factor", label="", value=0.264, unit="1")) == "0.26"
    assert typed(EN.kpi(Kpi(key="energy", label="", value=None, unit="kWh"))) == "-"


@pytest.mark.parametrize(
    ("start", "end", "zone", "written"),
    [
        ("2026-02-01T00:00+01:00", "2026-02-02T00:00+01:00", "Europe/Paris", "1 February 2026"),
        ("2026-02-01T00:00+01:00", "2026-02-12T23:59:59+01:00", "Europe/Paris", "1 - 12 February 2026"),
        ("2026-01-30T00:00Z", "2026-02-03T00:00Z", "UTC", "30 January - 2 February 2026"),
        ("2025-12-30T00:00Z", "2026-01-02T00:00Z", "UTC", "30 December 2025 - 1 January 2026"),
        ("2026-02-01T10:00Z", "2026-02-01T10:01Z", "Europe/Paris", "1 Feb 2026, 11:00 - 1 Feb 2026, 11:01"),
        ("2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", "Europe/Paris", "29 March 2026"),
    ],
)
def test_periods_on_the_wall_clock(start: str, end: str, zone: str, written: str) -> None:
    period = Period(start=datetime.fromisoformat(start), end=datetime.fromisoformat(end), tz=zone)
    assert typed(EN.period(period)) == written


def test_time_zones_with_their_offsets() -> None:
    start = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Paris"))
    assert (
        EN.zone(Period(start=start, end=start + timedelta(days=1), tz="Europe/Paris"))
        == "Europe/Paris (UTC+01 and UTC+02)"
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert EN.zone(Period(start=now, end=now, tz="UTC")) == "UTC"
    assert EN.zone(Period(start=now, end=now, tz="Asia/Kolkata")) == "Asia/Kolkata (UTC+05:30)"


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("energy_kwh", "Energie"), ("voltage_l1", "Spannung\u00a0L1"), ("power_l2_n", "Leistung\u00a0L2-N"),
        ("energy", "Energie"), ("oil_level_c", "oil level c"), ("power_factor_l3", "Leistungsfaktor\u00a0L3"),
    ],
)  # fmt: skip
def test_a_metrics_name_has_no_unit_and_names_its_phase(metric: str, name: str) -> None:
    assert DE.metric(metric) == name


def test_no_difference_has_no_sign() -> None:
    assert DE.points(-0.0002) == "±0\u00a0%-Punkte"
    assert DE.points(0.0002) == "±0\u00a0%-Punkte"
    assert DE.points(-0.002) == "\u22120,2\u00a0%-Punkte"
    assert DE.change(-0.0002) == "±0\u00a0%"


@pytest.mark.parametrize(("low", "step"), [(0.999997, 1.5e-6), (0.999999, 2.5e-7), (400.0, 50.0), (-0.5, 0.25)])
def test_neighbouring_ticks_have_different_numbers(low: float, step: float) -> None:
    ticks = [low + i * step for i in range(4)]
    written = [DE.plain(rounded(tick, ticks)) for tick in ticks]
    assert len(set(written)) == len(ticks)
    assert [float(typed(one).replace(",", ".")) for one in written] == pytest.approx(ticks)
