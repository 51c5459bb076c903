"""What an analysis returns, reports while it works, and raises if the data do not allow it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

Progress = Callable[[float, str], None]  # percent done, and the current step in words


class CannotAnalyse(Exception):
    """The data do not allow the analysis; the message says what is missing."""


@dataclass(frozen=True)
class Result:
    """The results and accuracy of one analysis, as JSON values without NaN.

    `scores` has a row for each row that was judged: `timestamp`, and the model's score or probability. `fitted` is what
    was learnt: given as `DeviceContext.kept`, a later analysis with the same parameters need not fit again. None if
    nothing was fitted that can be kept. `is_fleet`: it also holds for devices of the type that have not failed.
    """

    results: dict[str, Any]
    accuracy_metrics: dict[str, Any]
    scores: pa.Table | None = None
    fitted: Any = field(default=None, compare=False)
    is_fleet: bool = False
