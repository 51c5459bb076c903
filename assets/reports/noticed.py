"""What a report says of its readings: how complete they are, what was noticed about them, and what was corrected."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gap(Part):
    """A time without readings."""

    start: datetime
    end: datetime
    seconds: Number


class SuggestedCorrection(Part):
    """A correction that settles a finding, for `POST /api/v1/devices/{device_id}/corrections`; `end` is its `to`."""

    metric: str
    start: datetime
    end: datetime
    action: str


class Finding(Part):
    """Something noticed about the readings that energy rests on.

    `effect` is the energy (or what a counter counts, in `unit`) that it stands for; `counted` says whether the total
    includes it. `alike` is of how many findings this one tells. `correction` is what people mostly do about it; null
    where only the device's metadata can help.
    """

    metric: str
    kind: str
    start: datetime
    end: datetime
    value: Number | None
    effect: Number | None
    counted: bool
    detail: str
    unit: str = "kWh"
    alike: int = 1
    correction: SuggestedCorrection | None


class Correction(Part):
    """A correction that the figures hold: who said what, when and why."""

    metric: str
    start: datetime
    end: datetime
    action: str
    value: Number | None
    unit: str | None
    reason: str
    created_by: str
    created_at: datetime


class FailedCheck(Part):
    """A quality check that failed on some of the `checked_days`, at worst on `worst_day`.

    `worst` is a share of readings, minutes for `gaps` and `flatline`, or seconds for `clock_skew`. `metric` is the one
    that stood still, for `flatline`.
    """

    check: str
    status: Literal["warn", "error"]
    days: int
    checked_days: int
    worst: Number
    worst_day: date
    metric: str | None = None


class DataQuality(Part):
    """How complete the readings are.

    `completeness` is the share of the period that readings cover at the device's cadence, from 0 to 1.
    `measured_until` is earlier than the period's end if the report was generated before that. `gaps` lists the
    times without readings that are longer than `gap_rule_seconds`: at most 1000 of `gaps_total`, longest first.
    `waiting_days` are UTC days with readings that are not in a file yet; a later report will include them. Of
    `unexported_days` among them no reading is in a file. The readings of `removed_days` were deleted because of their
    age. Neither counts as missing. `checks` are the checks of days that failed.
    `findings` has the first of `findings_total`, in order of time. `corrections` are those within the period that are
    not undone, at most 1000, oldest first.
    """

    readings: int
    first: datetime | None
    last: datetime | None
    cadence_seconds: Number | None
    cadence_source: Literal["declared", "median"] | None
    completeness: Number | None
    missing_seconds: Number | None
    measured_until: datetime
    gap_rule_seconds: Number
    gaps: list[Gap]
    gaps_total: int
    waiting_days: list[date]
    unexported_days: list[date] = Field(default_factory=list)
    removed_days: list[date] = Field(default_factory=list)
    checks: list[FailedCheck] = Field(default_factory=list)
    findings: list[Finding]
    findings_total: int
    corrections: list[Correction]

    @property
    def absent_days(self) -> list[date]:
        """UTC days of which the report has no readings, although there were some."""
        return sorted({*self.unexported_days, *self.removed_days})
