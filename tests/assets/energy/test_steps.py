"""Steps of a register between levels: counted together they are what each one is alone."""

import numpy as np
from hypothesis import given, strategies as st

from assets.energy.cells import joined
from assets.energy.registers import rises_between, spread
from storage.times import HOUR, MINUTE, QUARTER
from tests.support.plant import START


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30) | st.integers(0, 900),  # minutes since the last step; 0: it ends where this one begins
            st.integers(1, 600_000_000) | st.sampled_from([QUARTER, HOUR, 4 * HOUR]),
            st.floats(0, 50),
            st.sampled_from([3 * HOUR, HOUR, MINUTE]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sets(st.integers(0, 3000), max_size=2),
)
def test_steps_together_count_what_each_counts_alone(
    drawn: list[tuple[int, int, float, int]], cut_minutes: set[int]
) -> None:
    at, value = START, 1000.0
    steps, limits = [], []
    for minutes, length, rise, limit in drawn:
        at, value = at + minutes * MINUTE, value + 0.01 * minutes
        steps.append(((at, value), (at + length, value + rise)))
        limits.append(limit)
        at, value = steps[-1][1]
    cuts = tuple(START + minute * MINUTE + 7 for minute in sorted(cut_minutes))
    cells, lumps = rises_between(steps, limits, cuts)
    alone = [spread(*step, limit, cuts) for step, limit in zip(steps, limits, strict=True)]
    assert lumps == tuple(lump for _, of_step in alone for lump in of_step)
    one, other = joined([cells]), joined([of_step for of_step, _ in alone])
    for name in ("starts", "amounts", "out", "covered"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
