"""Conditions on readings."""

from dataclasses import dataclass

import pyarrow as pa

from storage.comparison import is_met


@dataclass(frozen=True)
class Filter:
    """A condition on readings: their metric compares to a value. Readings without the metric do not meet it."""

    metric: str
    operator: str
    value: float

    def apply(self, rows: pa.Table) -> pa.Table:
        """The rows that meet the condition; equality is that of rules."""
        if self.metric not in rows.column_names:
            return rows.slice(0, 0)
        return rows.filter(pa.array(is_met(rows[self.metric].to_numpy(), self.operator, self.value)))
