"""The live stream's frames: readings and alerts as REST gives them."""

from typing import Any

import msgspec

from ingest.mqtt import LiveItem
from serving.alerts.schemas import AlertPublic
from storage.alerts import Alert
from storage.devices import NAMED_METRICS
from storage.telemetry import Reading
from storage.times import moment, rfc3339

HEARTBEAT = '{"type":"heartbeat"}'

_decode_reading = msgspec.msgpack.Decoder(Reading).decode


def frame_of(item: LiveItem, tenant_id: str | None) -> str:
    """The frame of a reading or an alert, as a tenant sees it; None sees everything.

    Raises:
        ValueError: The item is neither.

    """
    if item.kind == "telemetry":
        return _frame("telemetry", _reading(_decode_reading(item.data)))
    alert = Alert.model_validate(msgspec.msgpack.decode(item.data))
    return _frame("alert", AlertPublic.seen_by(tenant_id, alert).model_dump(mode="json"))


def dropped_frame(count: int) -> str:
    """The frame that stands in place of `count` frames that were dropped."""
    return msgspec.json.encode({"type": "dropped", "count": count}).decode()


def _frame(kind: str, data: dict[str, Any]) -> str:
    return msgspec.json.encode({"type": kind, "data": data}).decode()


def _reading(reading: Reading) -> dict[str, Any]:
    item = {
        "timestamp": rfc3339(moment(reading.time)),
        "device_id": reading.device_id,
        **dict.fromkeys(NAMED_METRICS),
        **reading.metrics,
        "device_type": reading.device_type,
        "location": reading.location,
        "schema_version": reading.schema_version,
        "enrichment_status": reading.enrichment_status,
    }
    return item | {"out_of_band": reading.out_of_band} if reading.out_of_band else item
