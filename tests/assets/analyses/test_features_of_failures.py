"""What people call the features from which failures are predicted."""

import pytest

from assets.analyses.prognostics.features import in_words


@pytest.mark.parametrize(
    ("column", "metrics", "words"),
    [
        ("torque", ("torque",), "torque"),
        ("torque, trend", ("torque",), "torque, trend"),
        ("age", (), "age"),
        ("torque * speed", ("torque", "speed"), "torque together with speed (their product)"),
        ("torque - speed", ("torque", "speed"), "the difference between torque and speed"),
    ],
)
def test_words(column: str, metrics: tuple[str, ...], words: str) -> None:
    assert in_words(column, metrics) == words
