from itertools import pairwise

import numpy as np
from hypothesis import given, strategies as st

from ingest.rules.pending import PendingState, apply_period

Series = list[tuple[int, bool]]

series = st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=25, unique_by=lambda reading: reading[0])


def evaluated(batches: list[Series], period: int) -> tuple[list[int], PendingState]:
    """The breaches of batches as they come, with the state that is kept between them."""
    state, newest, found = PendingState(), None, []
    for batch in batches:
        if not batch:
            continue
        batch.sort()
        times, met = np.array([t for t, _ in batch]), np.array([m for _, m in batch])
        breaches, state = apply_period(times, met, period, state, newest=newest)
        found += times[breaches].tolist()
        newest = max(newest or 0, batch[-1][0])
    return found, state


def one_by_one(readings: Series, period: int) -> list[int]:
    since, found = None, []
    for time, met in sorted(readings):
        since = None if not met else time if since is None else since
        if since is not None and time - since >= period:
            found.append(time)
    return found


def test_a_condition_must_hold_for_the_whole_period() -> None:
    assert evaluated([[(0, False), (10, True), (20, True)], [(30, True)], [(40, False), (50, True)]], 20)[0] == [30]
    assert evaluated([[(0, True)], [(1, False)], [(2, True), (21, True)], [(22, True)]], 20)[0] == [22]


def test_a_late_reading_ends_pending_but_never_starts_it() -> None:
    assert evaluated([[(10, True)], [(30, True)], [(15, False)], [(31, True), (50, True)], [(51, True)]], 20)[0] == [
        30,
        51,
    ]
    assert evaluated([[(100, False)], [(10, True), (50, True)], [(101, True)]], 20)[0] == []
    assert evaluated([[(10, True)], [(5, False)], [(30, True)]], 20)[0] == [30]


@given(series, st.integers(1, 30), st.lists(st.integers(0, 25), max_size=5))
def test_in_order_it_agrees_with_one_by_one_in_any_batches(readings: Series, period: int, cuts: list[int]) -> None:
    readings.sort()
    edges = [0, *sorted(c for c in cuts if c < len(readings)), len(readings)]
    batches = [readings[a:b] for a, b in pairwise(edges)]
    assert evaluated(batches, period)[0] == one_by_one(readings, period)


@given(st.lists(series, max_size=6), st.integers(1, 30))
def test_out_of_order_nothing_fires_against_what_is_known(batches: list[Series], period: int) -> None:
    seen: set[int] = set()
    batches = [[(t, m) for t, m in batch if t not in seen and not seen.add(t)] for batch in batches]  # type: ignore[func-returns-value] # each time once
    for end in range(1, len(batches) + 1):
        known = [reading for batch in batches[:end] for reading in batch]
        before, _ = evaluated([list(b) for b in batches[: end - 1]], period)
        now, _ = evaluated([list(b) for b in batches[:end]], period)
        for time in now[len(before) :]:
            span = [met for t, met in known if time - period <= t <= time]
            assert all(span)
            assert any(t <= time - period and met for t, met in known)
