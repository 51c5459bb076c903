"""Whether a correction makes sense: the checks that need the device and its readings."""

from datetime import timedelta

from sqlmodel import Session

from assets.datasets import TelemetryReader, energy_of
from assets.energy import counter_units
from ingest.intake import EARLIEST, MAX_AHEAD, plausible_limits
from serving.corrections.schemas import CorrectionFields
from serving.http.errors import Conflict, Invalid
from serving.telemetry.routes import refuse_unknown
from storage import corrections
from storage.devices import Device, DeviceMetadata, metadata_of, order_metrics
from storage.times import microseconds, utc_now
from storage.validation import short_number

MAX_RANGE = timedelta(days=32)
MAX_ACTIVE = 1000
# A counter's amount, in its unit.
MAX_AMOUNT = 1e9
DERIVED = "power_factor"


def check(session: Session, reader: TelemetryReader, device_id: str, body: CorrectionFields) -> str | None:
    """The unit of a replaced counter's amount, if the correction makes sense.

    Raises:
        Problem: it does not; the message says why, and what to do.

    """
    if session.get(Device, device_id) is None:
        refuse_unknown(session, [device_id])
    _check_range(body)
    if body.metric == DERIVED:
        detail = "power_factor is derived from voltage, current and power; correct one of these"
        raise Invalid(detail, field="metric")
    metadata = metadata_of(session, device_id)
    unit = counter_units(metadata).get(body.metric) if body.action == "replace" else None
    if corrections.count_active(session, device_id) >= MAX_ACTIVE:
        raise Conflict(f"{device_id} has {MAX_ACTIVE} corrections that count; undo some, or join neighbouring ones")
    if body.action == "confirm":
        _check_finding(session, reader, device_id, body)
    elif unit is not None:
        _check_amount(body, unit, metadata)
    else:
        _check_readings(reader, device_id, body)
        _check_value(body, metadata)
    return unit


def _check_range(body: CorrectionFields) -> None:
    if body.ends_at - body.starts_at > MAX_RANGE:
        raise Invalid(f"the range is longer than {MAX_RANGE.days} days; correct it in parts", field="to")
    if microseconds(body.ends_at) > microseconds(utc_now()) + MAX_AHEAD:
        raise Invalid("to lies in the future; only what has been measured can be corrected", field="to")
    if microseconds(body.starts_at) < EARLIEST:
        raise Invalid("from is before 2000-01-01, and no reading is that old", field="from")


def _check_readings(reader: TelemetryReader, device_id: str, body: CorrectionFields) -> None:
    start, end = microseconds(body.starts_at), microseconds(body.ends_at)
    if len(reader.read(device_id, start, end, metrics=[body.metric], newest=1)):
        return
    known = reader.statistics(device_id, start, end).metrics
    names = ", ".join(name for name in order_metrics(set(known)) if name in known)
    instead = f"it has readings of {names} there" if names else "it has no readings there at all"
    raise Invalid(f"{device_id} has no readings of {body.metric} in this range; {instead}", field="metric")


def _check_value(body: CorrectionFields, metadata: DeviceMetadata) -> None:
    if body.value is None:
        return
    low, high = plausible_limits(body.metric, metadata.plausible_limits)
    if not low <= body.value <= high:
        limits = f"{short_number(low)} to {short_number(high)}"
        detail = f"{short_number(body.value)} is outside the plausible limits of {body.metric}, {limits}"
        raise Invalid(f"{detail}; `limits` in the device's metadata_json changes them", field="value")
    if body.metric == "power" and metadata.max_power_w and abs(body.value) > metadata.max_power_w:
        detail = f"{short_number(body.value)} W is more than max_power_w, {short_number(metadata.max_power_w)} W"
        raise Invalid(f"{detail}, and not counted; check the value, or the device's metadata_json", field="value")


def _check_amount(body: CorrectionFields, unit: str, metadata: DeviceMetadata) -> None:
    value = body.value or 0.0
    if abs(value) > MAX_AMOUNT:
        detail = (
            f"{short_number(value)} {unit} is more than a counter can count; the limit is {short_number(MAX_AMOUNT)}"
        )
        raise Invalid(detail, field="value")
    if value < 0 and not metadata.counters[body.metric].net:
        detail = f'{short_number(value)} {unit} is negative; only a counter that is declared "net": true may fall'
        raise Invalid(detail, field="value")
    hours = (body.ends_at - body.starts_at) / timedelta(hours=1)
    if unit == "kWh" and metadata.max_power_w and abs(value) > metadata.max_power_w / 1000 * hours * (1 + 1e-9):
        most = metadata.max_power_w / 1000 * hours
        detail = f"{value:g} kWh in {hours:.4g} h is more than max_power_w allows, {most:.4g} kWh"
        raise Invalid(f"{detail}; check the value, or the device's metadata_json", field="value")


def _check_finding(session: Session, reader: TelemetryReader, device_id: str, body: CorrectionFields) -> None:
    start, end = microseconds(body.starts_at), microseconds(body.ends_at)
    found = [
        f
        for f in energy_of(session, reader, device_id, start, end).findings
        if f.metric == body.metric and start <= f.at < end
    ]
    if any(f.correction is not None for f in found):
        return
    if found:
        raise Invalid(f"{body.metric} {found[0].detail}; this cannot be confirmed", field="metric")
    detail = f"nothing was noticed about {body.metric} of {device_id} in this range, so there is nothing to confirm"
    raise Invalid(f"{detail}; GET /api/v1/data/energy/{device_id} lists the findings", field="action")
