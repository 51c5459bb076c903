"""Makes the content of a fleet report: each device's figures, their ranking, and the sums that agree with them."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from zoneinfo import ZoneInfo

from assets.energy import Counted, EnergyFigures, Standby, fleet_energy, fleet_peak, total
from assets.reports.comparison import can_be_compared, energy_per_day
from assets.reports.content import Generator, Period
from assets.reports.doubtful import doubtful_readings, is_of_doubtful, without_doubtful
from assets.reports.fleet_content import (
    FleetContent,
    FleetDay,
    FleetDevice,
    FleetFile,
    FleetGroup,
    FleetPeak,
    FleetReading,
    FleetTotals,
)
from assets.reports.period import midnights
from assets.reports.texts import LanguageCode
from storage.times import microseconds, moment


@dataclass(frozen=True)
class FleetMember:
    """A device of a fleet with what was measured of it. `before` is the energy of the period before.

    `standby` is without readings that may be wrong.
    """

    device_id: str
    name: str
    type: str
    location: str | None
    energy: EnergyFigures
    before: EnergyFigures
    standby: Standby
    alerts: int
    alerts_open: int
    waiting_days: int
    files: int
    files_sha256: str

    @cached_property
    def trusted(self) -> EnergyFigures:
        """Its energy without readings that may be wrong."""
        return without_doubtful(self.energy)

    @property
    def doubtful_kwh(self) -> float:
        return (self.energy.kwh or 0.0) - (self.trusted.kwh or 0.0)

    @property
    def is_measured(self) -> bool:
        return self.energy.kwh is not None or self.energy.export_kwh is not None

    @property
    def per_day(self) -> tuple[float, float] | None:
        """Energy per measured day in the period and in the one before; None if they cannot be compared."""
        now, before = energy_per_day(self.trusted), energy_per_day(without_doubtful(self.before))
        return (now, before) if now is not None and before is not None and can_be_compared(self.before) else None


@dataclass(frozen=True)
class FleetInput:
    """All data of a fleet report. Times are aware, the period is half-open, and `parents` is that of sums."""

    report_id: str
    zone: ZoneInfo
    start: datetime
    end: datetime
    members: Sequence[FleetMember]
    parents: Mapping[str, str]
    generated_at: datetime
    left_out: Sequence[str] = ()
    code_version: str | None = None


def compose_fleet(data: FleetInput, language: LanguageCode) -> FleetContent:
    """The content of the report. Equal input gives equal content."""
    members = {member.device_id: member for member in data.members}
    summed = fleet_energy({name: member.energy for name, member in members.items()}, data.parents)
    counted, energy = summed.counted, summed.kwh
    in_sums = [members[device_id] for device_id in counted.devices]
    edges = list(midnights(data.start, data.end, data.zone))
    doubtful = sum(member.doubtful_kwh for member in in_sums)
    trusted = None if energy is None else energy - doubtful
    devices = [_device(member, counted, edges, trusted) for member in data.members]
    devices.sort(key=lambda device: (-(device.trusted_kwh or 0.0), device.energy_kwh is None, device.id))
    outside = total([member.standby.outside_kwh for member in in_sums])
    both = [member.per_day for member in in_sums if member.per_day is not None]
    return FleetContent(
        language=language,
        report_id=data.report_id,
        generated_at=data.generated_at.astimezone(UTC),
        generator=Generator(name="energy-platform", version=data.code_version or version("energy-platform")),
        period=Period(start=data.start.astimezone(UTC), end=data.end.astimezone(UTC), tz=data.zone.key),
        totals=FleetTotals(
            energy_kwh=energy,
            energy_export_kwh=summed.export_kwh,
            energy_before_kwh=total([member.before.kwh for member in in_sums]),
            change=_change(both),
            not_compared=[member.device_id for member in in_sums if member.per_day is None],
            outside_hours_kwh=outside,
            outside_hours_share=outside / trusted if outside is not None and trusted else None,
            peak=(peak := _peak(in_sums)),
            peak_without_doubtful=_peak(in_sums, are_trusted=True) if peak and peak.is_doubtful else None,
            doubtful_kwh=doubtful,
            trusted_kwh=trusted,
            devices=len(devices),
            devices_counted=len(in_sums),
            devices_without_energy=sum(not member.is_measured for member in data.members),
            alerts=sum(member.alerts for member in data.members),
        ),
        devices=devices,
        days=[_day(in_sums, start, end, data.zone) for start, end in pairwise(edges)],
        types=_types(in_sums, trusted),
        circular=list(counted.circular),
        left_out=list(data.left_out),
        files=[
            FleetFile(device_id=member.device_id, files=member.files, sha256=member.files_sha256)
            for member in data.members
            if member.files
        ],
        doubtful=_doubtful(in_sums),
    )


def _device(member: FleetMember, counted: Counted, edges: Sequence[datetime], sum_kwh: float | None) -> FleetDevice:
    energy, trusted, device_id = member.energy, member.trusted, member.device_id
    is_counted = device_id in counted.devices
    peak = trusted.peak_demand
    return FleetDevice(
        id=device_id,
        name=member.name,
        type=member.type,
        location=member.location,
        counted=is_counted,
        counted_by=counted.counted_by.get(device_id),
        stands_in_for=counted.stands_in_for.get(device_id),
        energy_kwh=energy.kwh,
        energy_export_kwh=energy.export_kwh,
        energy_source=energy.source,
        share=trusted.kwh / sum_kwh if is_counted and trusted.kwh is not None and sum_kwh else None,
        energy_before_kwh=member.before.kwh,
        change=_change([member.per_day] if member.per_day is not None else []),
        coverage=energy.coverage,
        mean_power_w=trusted.mean_power,
        peak_demand_w=peak and peak.watts,
        peak_demand_at=peak and moment(peak.at),
        load_factor=trusted.load_factor,
        base_load_w=member.standby.base_load,
        outside_hours_kwh=member.standby.outside_kwh,
        outside_hours_share=member.standby.share,
        alerts=member.alerts,
        alerts_open=member.alerts_open,
        findings=len(energy.findings),
        waiting_days=member.waiting_days,
        daily_kwh=[energy.part(microseconds(a), microseconds(b)).kwh for a, b in pairwise(edges)],
        doubtful_kwh=member.doubtful_kwh,
        trusted_kwh=trusted.kwh,
    )


def _day(members: Sequence[FleetMember], start: datetime, end: datetime, zone: ZoneInfo) -> FleetDay:
    since, until = microseconds(start), microseconds(end)
    parts = [member.energy.part(since, until) for member in members]
    doubtful = [member for member in members if member.trusted is not member.energy]
    return FleetDay(
        day=start.astimezone(zone).date(),
        start=start,
        end=end,
        energy_kwh=total([part.kwh for part in parts]),
        energy_export_kwh=total([part.export_kwh for part in parts]),
        doubtful_kwh=sum(
            (one.energy.part(since, until).kwh or 0.0) - (one.trusted.part(since, until).kwh or 0.0) for one in doubtful
        ),
    )


def _types(members: Sequence[FleetMember], sum_kwh: float | None) -> list[FleetGroup]:
    of_type: dict[str, list[FleetMember]] = defaultdict(list)
    for member in members:
        of_type[member.type].append(member)
    groups = []
    for name, same in of_type.items():
        kwh = total([member.energy.kwh for member in same])
        doubtful = sum(member.doubtful_kwh for member in same)
        share = (kwh - doubtful) / sum_kwh if kwh is not None and sum_kwh else None
        groups.append(FleetGroup(name=name, devices=len(same), energy_kwh=kwh, share=share, doubtful_kwh=doubtful))
    return sorted(groups, key=lambda group: (-(group.energy_kwh or 0.0) + group.doubtful_kwh, group.name))


def _peak(members: Sequence[FleetMember], *, are_trusted: bool = False) -> FleetPeak | None:
    energies = {member.device_id: member.trusted if are_trusted else member.energy for member in members}
    peak = fleet_peak(energies)
    if peak is None:
        return None
    return FleetPeak(
        watts=peak.watts,
        at=moment(peak.at),
        device_id=peak.device_id,
        share=peak.share,
        is_doubtful=any(is_of_doubtful(energy, peak.at) for energy in energies.values()),
    )


def _doubtful(members: Sequence[FleetMember]) -> list[FleetReading]:
    found = [
        FleetReading(
            device_id=member.device_id,
            at=moment(finding.at),
            value_w=finding.value,
            energy_kwh=abs(finding.effect or 0.0),
        )
        for member in members
        for finding in doubtful_readings(member.energy)
    ]
    return sorted(found, key=lambda reading: (-reading.energy_kwh, reading.device_id, reading.at))


def combined_hash(hashes: Iterable[str]) -> str:
    """One hash for the hashes of a device's files, in their order."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _change(per_day: Sequence[tuple[float, float]]) -> float | None:
    """The relative change of the sum of energies per day, each now and before."""
    now, before = (sum(pair[i] for pair in per_day) for i in (0, 1))
    return now / before - 1 if before > 0 else None
