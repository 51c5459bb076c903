"""What a report is made from, as plain data."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa

from assets.energy import EnergyFigures, StateFigures
from assets.quality.cadence import Steps
from assets.reports.comparison_periods import Basis
from storage.devices import Counter

REPORT_ID = r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*"


@dataclass(frozen=True)
class Earlier:
    """What the device used over another period, [start, end), and the working hours (µs) in it."""

    basis: Basis
    start: datetime
    end: datetime
    energy: EnergyFigures
    working: Sequence[tuple[int, int]] | None


class Missing(NamedTuple):
    """Why an analysis could not be made: a kind of reason, and what the analysis itself says."""

    kind: Literal["no_readings", "unfit", "unsuitable", "failed"]
    detail: str


@dataclass(frozen=True)
class ReportInput:
    """All data of one report. Times are aware and the period is half-open, `[start, end)`.

    Args:
        report_id: letters, digits and single dashes.
        zone: the device's time zone; days are counted in it.
        readings: the columns of a dataset, in any order of time. It may be empty; rows outside the period are ignored.
        alerts: as the API returns them, the newest first. There may be more: see `alerts_total`.
        analyses: per requested type the completed job that suits the period best, with `changed_days` if the readings
            of so many days that it was made from have changed since, and `not_renewed`, a `Missing`, if a newer one
            could not be made; or `{"missing": reason}`, in which the reason may
            be a `Missing`.
        datasets: the files that the readings were read from: `key`, `sha256` and `rows`.
        bands: the nominal band of each metric, from the device's metadata.
        counters: the registers among the metrics, from the device's metadata.
        cadence_seconds: the interval between readings that the device's metadata declare, if any.
        alerts_total: how many alerts there are in the period; None if `alerts` holds them all.
        waiting_days: UTC days with readings that are not in a file yet.
        unexported_days: those of them that have no file at all.
        removed_days: UTC days whose readings retention has deleted.
        checks: the quality checks of UTC days, as the catalogue has them.
        maker: manufacturer and model of the device, if they are known.
        max_power_w: the most that the device can use, if its metadata say so.
        usual_bands: those of `bands` that are the platform's, since the metadata name none.
        earlier: the same device over other periods, to compare with.
        energy: of the period, as the catalogue knows it; None to work it out from `readings` alone.
        failures: the recorded failures that began in the period, oldest first, with the fields of `storage.failures`.
        corrections: what was corrected in the period, oldest first, with the fields of `storage.corrections`.
        outside_hours_of_year: the hours outside working hours in the year up to the period's end; None if unknown.
        states: time and energy of each state of the machine; None if its metadata declare no threshold.
        working: the working hours in the period (µs), ascending and apart; None if they are unknown.
        steps: the steps between readings of UTC days (µs of their start), as the catalogue knows them.

    Raises:
        ValueError: a time is naive, the period is empty, or the report id has other characters.

    """

    report_id: str
    device_id: str
    device_name: str
    device_type: str
    location: str | None
    zone: ZoneInfo
    start: datetime
    end: datetime
    readings: pa.Table
    alerts: list[dict[str, Any]]
    analyses: dict[str, dict[str, Any]]
    generated_at: datetime
    datasets: list[dict[str, Any]]
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)
    cadence_seconds: float | None = None
    code_version: str | None = None
    alerts_total: int | None = None
    waiting_days: Sequence[date] = ()
    unexported_days: Sequence[date] = ()
    removed_days: Sequence[date] = ()
    checks: Sequence[tuple[date, Mapping[str, Any]]] = ()
    maker: str | None = None
    max_power_w: float | None = None
    usual_bands: Collection[str] = ()
    earlier: Sequence[Earlier] = ()
    energy: EnergyFigures | None = None
    steps: Mapping[int, Steps] = field(default_factory=dict)
    corrections: Sequence[Mapping[str, Any]] = ()
    failures: Sequence[Mapping[str, Any]] = ()
    working: Sequence[tuple[int, int]] | None = None
    outside_hours_of_year: float | None = None
    states: StateFigures | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(REPORT_ID, self.report_id):
            raise ValueError(
                f"{self.report_id!r} is not a valid report id. Use letters and digits, separated by single dashes."
            )
        if any(moment.tzinfo is None for moment in (self.start, self.end, self.generated_at)):
            raise ValueError("start, end and generated_at need a UTC offset.")
        if not self.start < self.end:
            raise ValueError(f"The period from {self.start} to {self.end} is empty. The end must be after the start.")
