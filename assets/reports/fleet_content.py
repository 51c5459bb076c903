"""What a fleet report says: the content that all its formats show, and its JSON format.

The docstrings of the models are the descriptions in the schema.
"""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from assets.reports.content import Generator, Period
from assets.reports.noticed import Number, Part
from assets.reports.texts import LanguageCode


class FleetDevice(Part):
    """A device of the fleet. It is in the sums if it is `counted`; `share` is then its part of the fleet's energy.

    `counted_by` is the device above it that counts in its place, and `stands_in_for` the parent that measured nothing.
    `energy_before_kwh` is that of the period before. `change` compares energy per day of 24 measured hours with that
    period: 0.1 is 10 % more; null if less than half of it was measured. `base_load_w` is what the device always uses,
    and `outside_hours_kwh` what it uses outside working hours. `daily_kwh` follows the days of the fleet; `coverage` is
    the measured share of the period, from 0 to 1.

    Its energies count every reading; `doubtful_kwh` is the part of them that stands for readings that may be wrong, and
    `trusted_kwh` the energy without it, by which devices are ranked. Its other figures are without these readings.
    """

    id: str
    name: str
    type: str
    location: str | None
    counted: bool
    counted_by: str | None
    stands_in_for: str | None
    energy_kwh: Number | None
    energy_export_kwh: Number | None
    energy_source: str | None
    share: Number | None
    energy_before_kwh: Number | None
    change: Number | None
    coverage: Number
    mean_power_w: Number | None
    peak_demand_w: Number | None
    peak_demand_at: datetime | None
    load_factor: Number | None
    base_load_w: Number | None
    outside_hours_kwh: Number | None
    outside_hours_share: Number | None
    alerts: int
    alerts_open: int
    findings: int
    waiting_days: int
    daily_kwh: list[Number | None]
    doubtful_kwh: Number = 0.0
    trusted_kwh: Number | None = None


class FleetDay(Part):
    """A calendar day in the report's time zone, or the part of it within the period, and the energy of the fleet."""

    day: date
    start: datetime
    end: datetime
    energy_kwh: Number | None
    energy_export_kwh: Number | None
    doubtful_kwh: Number = 0.0


class FleetGroup(Part):
    """The counted devices of one type together."""

    name: str
    devices: int
    energy_kwh: Number | None
    share: Number | None
    doubtful_kwh: Number = 0.0


class FleetPeak(Part):
    """The quarter hour in which the fleet took most (W), and the device that took most of it then.

    What is not measured of a device counts as nothing. `share` is that device's part of it. `is_doubtful` says that a
    reading of that device in this quarter hour may be wrong: see `doubtful`.
    """

    watts: Number
    at: datetime
    device_id: str
    share: Number
    is_doubtful: bool = False


class FleetReading(Part):
    """A reading of power (W) that is counted and may be wrong, and the energy that it stands for."""

    device_id: str
    at: datetime
    value_w: Number | None
    energy_kwh: Number


class FleetTotals(Part):
    """Sums over the counted devices. `change` is that of their energy per day, of the devices that have both.

    These are all but those in `not_compared`.

    `outside_hours_share` is the share of the energy that was used outside working hours, from 0 to 1. The energies
    and `peak` count every reading: `doubtful_kwh` of the energy taken stands for readings that may be wrong,
    `trusted_kwh` is without it, and `peak_without_doubtful` is set if `peak` rests on one. Other figures are without
    these readings.
    """

    energy_kwh: Number | None
    energy_export_kwh: Number | None
    energy_before_kwh: Number | None
    change: Number | None
    not_compared: list[str] = Field(default_factory=list)
    outside_hours_kwh: Number | None
    outside_hours_share: Number | None = None
    peak: FleetPeak | None
    peak_without_doubtful: FleetPeak | None = None
    doubtful_kwh: Number = 0.0
    trusted_kwh: Number | None = None
    devices: int
    devices_counted: int
    devices_without_energy: int
    alerts: int


class FleetFile(Part):
    """The day files of a device that its figures come from: how many, and a hash over their hashes."""

    device_id: str
    files: int
    sha256: str


class FleetContent(Part):
    """A report over several devices as data. Times are in UTC and unknown values are null.

    `devices` are ranked by energy. A parent or its children are in the sums, never both. `circular` names devices that
    are above themselves through `parent_device`, and `left_out` requested ones that are not registered any more.
    `doubtful` readings of counted devices are far above all others of their day, the one of the most energy first.
    """

    schema_version: Literal["1.0"] = "1.0"
    kind: Literal["fleet"] = "fleet"
    language: LanguageCode = "en"
    report_id: str
    generated_at: datetime
    generator: Generator
    period: Period
    totals: FleetTotals
    devices: list[FleetDevice]
    days: list[FleetDay]
    types: list[FleetGroup]
    circular: list[str]
    left_out: list[str]
    files: list[FleetFile] = Field(default_factory=list)
    doubtful: list[FleetReading] = Field(default_factory=list)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @property
    def counted(self) -> list[FleetDevice]:
        """The devices that are in the sums, those with most energy first."""
        return [device for device in self.devices if device.counted]


def fleet_schema() -> dict[str, Any]:
    """The published JSON schema of a fleet report."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | FleetContent.model_json_schema(mode="serialization")
