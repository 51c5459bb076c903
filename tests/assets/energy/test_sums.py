"""Sums over devices count a parent or its children, never both."""

from hypothesis import given, strategies as st

from assets.energy.sums import Counted, counted_devices

HALL = {"press": "hall", "oven": "hall", "pump": "press"}
ALL = ("hall", "oven", "press", "pump")


def test_the_uppermost_device_that_measured_counts() -> None:
    assert counted_devices(ALL, HALL, ALL) == Counted(
        ("hall",), {"oven": "hall", "press": "hall", "pump": "hall"}, {}, ()
    )


def test_children_stand_in_for_a_parent_that_measured_nothing() -> None:
    found = counted_devices(ALL, HALL, {"oven", "pump"})
    assert found == Counted(("oven", "pump"), {}, {"oven": "hall", "pump": "press"}, ())


def test_a_parent_that_is_not_summed_or_does_not_exist_counts_nothing() -> None:
    found = counted_devices(("oven", "press", "pump"), HALL | {"oven": "nowhere"}, ALL)
    assert found == Counted(("oven", "press"), {"pump": "press"}, {}, ())
    assert counted_devices(("hall", "pump"), HALL, ALL).counted_by == {"pump": "hall"}


def test_a_circle_is_broken_at_its_first_device_and_told() -> None:
    found = counted_devices(("a", "b", "c", "d"), {"a": "b", "b": "c", "c": "a", "d": "b"}, ("a", "b", "c", "d"))
    assert found == Counted(("a",), {"b": "a", "c": "a", "d": "a"}, {}, ("a", "b", "c"))
    assert counted_devices(("a",), {"a": "a"}, ("a",)) == Counted(("a",), {}, {}, ("a",))


names = st.sampled_from("abcdefgh")


@given(st.dictionaries(names, names), st.sets(names), st.sets(names))
def test_every_device_is_counted_once(parents: dict[str, str], summed: set[str], measured: set[str]) -> None:
    found = counted_devices(summed, parents, measured)
    counted = set(found.devices)
    assert counted <= summed & measured
    assert set(found.counted_by.values()) <= counted
    assert not counted & set(found.counted_by)
    # What measured something is in the sum: itself, or the one that counts for it.
    assert summed & measured <= counted | set(found.counted_by)
    assert set(found.stands_in_for) <= counted
    assert not set(found.stands_in_for.values()) & measured
