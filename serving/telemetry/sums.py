"""Energy of several devices, and its sum."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of
from assets.energy import EnergyFigures, FleetEnergy, fleet_energy
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import Readings
from serving.http.errors import Invalid, NotFound, problems
from serving.http.fields import Moment
from serving.http.formats import json_answer
from serving.telemetry.routes import refuse_unknown, requested_range
from serving.telemetry.schemas import End, Start
from storage import devices
from storage.devices import IDENTIFIER
from storage.times import moment

router = APIRouter(prefix="/api/v1/data", tags=["telemetry"])

MAX_DEVICES = 500


class DeviceEnergy(BaseModel):
    """The energy of one device; it is in the sum if it is `counted`.

    `counted_by`: the device above it that counts in its place. `stands_in_for`: the parent that measured nothing.
    """

    device_id: str
    energy_kwh: float | None
    energy_export_kwh: float | None
    energy_source: str | None
    coverage: float
    counted: bool
    counted_by: str | None
    stands_in_for: str | None


class EnergySumData(BaseModel):
    """The energy of devices over a range, and its sum, in which a parent or its children count, never both."""

    start_time: Moment
    end_time: Moment
    energy_kwh: float | None = Field(description="The sum over the counted devices; null if none measured anything")
    energy_export_kwh: float | None
    devices: list[DeviceEnergy]
    circular: list[str] = Field(description="Devices that are above themselves through `parent_device`; correct one")


class EnergySumAnswer(BaseModel):
    success: Literal[True] = True
    data: EnergySumData


@router.get("/energy", response_model=EnergySumAnswer, responses=problems(NotFound))
def sum_energy(
    session: DatabaseSession,
    reader: Readings,
    *,
    device_ids: Annotated[
        str | None,
        Query(description="Ids with commas between them; by default all registered devices", max_length=15_000),
    ] = None,
    start_time: Start = None,
    end_time: End = None,
) -> Response:
    """The energy of several devices over a range, by default the last 24 hours, and its sum."""
    start, end = requested_range(start_time, end_time)
    names = summed_devices(session, device_ids)
    refuse_unknown(session, names)
    return json_answer({"success": True, "data": energy_sum(session, reader, names, start, end)})


def energy_sum(session: Session, reader: TelemetryReader, names: Sequence[str], start: int, end: int) -> dict[str, Any]:
    """`EnergySumData` of the devices over the half-open range (µs)."""
    energies, summed = energies_of(session, reader, names, start, end)
    counted = summed.counted
    return {
        "start_time": moment(start),
        "end_time": moment(end),
        "energy_kwh": summed.kwh,
        "energy_export_kwh": summed.export_kwh,
        "devices": [
            {
                "device_id": name,
                "energy_kwh": energy.kwh,
                "energy_export_kwh": energy.export_kwh,
                "energy_source": energy.source,
                "coverage": energy.coverage,
                "counted": name in counted.devices,
                "counted_by": counted.counted_by.get(name),
                "stands_in_for": counted.stands_in_for.get(name),
            }
            for name, energy in energies.items()
        ],
        "circular": list(counted.circular),
    }


def energies_of(
    session: Session, reader: TelemetryReader, names: Sequence[str], start: int, end: int
) -> tuple[dict[str, EnergyFigures], FleetEnergy]:
    """The energy of each device, and their sum."""
    energies = {name: energy_of(session, reader, name, start, end) for name in sorted(names)}
    return energies, fleet_energy(energies, devices.parents_of(session, names))


def summed_devices(session: Session, device_ids: str | None = None) -> list[str]:
    """The devices that the request names; all registered ones if it names none.

    Raises:
        Invalid: They are too many, or one is not an id.

    """
    if device_ids is None:
        names = [device.device_id for device in session.exec(devices.registered().limit(MAX_DEVICES + 1))]
    else:
        names = list(dict.fromkeys(filter(None, map(str.strip, device_ids.split(",")))))
    if wrong := next((name for name in names if not re.fullmatch(IDENTIFIER, name)), None):
        raise Invalid(f"{wrong!r} is not an id of a device; separate ids with commas: D1,D2", field="device_ids")
    if len(names) > MAX_DEVICES:
        raise Invalid(f"a sum has at most {MAX_DEVICES} devices; name them in parts", field="device_ids")
    return names
