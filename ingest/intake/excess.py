"""Metrics beyond what a device may have are dropped; a reading that has no others is quarantined."""

from collections.abc import Sequence

from ingest.devices.metric_names import MetricNames
from ingest.intake.decode import Decoded, Rejected, payload_of


def drop_excess(names: MetricNames, batch: Sequence[tuple[str, Decoded]]) -> int:
    """Drop them from decoded messages, which come with their topics, and return how many values were dropped."""
    excess = names.limit([reading for _, decoded in batch for reading in decoded.readings])
    if excess.readings:
        refused = {id(reading) for reading in excess.readings}
        for topic, decoded in batch:
            for reading in [r for r in decoded.readings if id(r) in refused]:
                decoded.rejected.append(
                    Rejected(
                        topic,
                        reading.device_id,
                        payload_of(reading),
                        names.reason(reading),
                        next(iter(reading.metrics)),
                    )
                )
            decoded.readings = [reading for reading in decoded.readings if id(reading) not in refused]
    return excess.values
