"""An unbroken series of local hours, as the models take it."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from assets.analyses.forecasting.calendar import LocalHours
from storage.arrays import Floats, Mask

# What a model has fitted, by names of its own: it fills an empty one, and does not fit again what it finds there.
Fit = dict[str, Any]


@dataclass(frozen=True)
class Hours:
    """Hourly means, oldest first. All arrays have one value for each local hour.

    `known` says which hours were measured. `companions` are other metrics of the device, NaN where unknown.
    `silent` are the hours of a week (0: Monday, 0 o'clock) at which the device sends nothing as a rule.
    """

    values: Floats
    clock: LocalHours
    known: Mask
    companions: dict[str, Floats] = field(default_factory=dict)
    silent: frozenset[int] = frozenset()
    interpolated: int = 0
    filled: int = 0
    gaps: tuple[tuple[pd.Timestamp, pd.Timestamp], ...] = ()

    def __len__(self) -> int:
        return len(self.values)
