"""Energy of several devices, and its sum."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from assets.datasets import energy_of
from assets.energy import counted_devices
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
    if device_ids is None:
        names = [device.device_id for device in session.exec(devices.registered().limit(MAX_DEVICES + 1))]
    else:
        names = list(dict.fromkeys(filter(None, map(str.strip, device_ids.split(",")))))
    if wrong := next((name for name in names if not re.fullmatch(IDENTIFIER, name)), None):
        raise Invalid(f"{wrong!r} is not an id of a device; separate ids with commas: D1,D2", field="device_ids")
    if len(names) > MAX_DEVICES:
        raise Invalid(f"a sum has at most {MAX_DEVICES} devices; name them in parts", field="device_ids")
    refuse_unknown(session, names)
    energies = {name: energy_of(session, reader, name, start, end) for name in sorted(names)}
    measured = {name for name, energy in energies.items() if energy.kwh is not None or energy.export_kwh is not None}
    counted = counted_devices(names, devices.parents_of(session, names), measured)
    taken = [kwh for name in counted.devices if (kwh := energies[name].kwh) is not None]
    fed = [kwh for name in counted.devices if (kwh := energies[name].export_kwh) is not None]
    data = {
        "start_time": moment(start),
        "end_time": moment(end),
        "energy_kwh": round(sum(taken), 6) if taken else None,
        "energy_export_kwh": round(sum(fed), 6) if fed else None,
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
    return json_answer({"success": True, "data": data})
