"""Telemetry as JSON: readings, windows and statistics."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import UNSET, defstruct

from assets.energy import EnergyFigures, Finding, SuggestedCorrection
from serving.telemetry.schemas import Order
from storage.devices import NAMED_METRICS
from storage.telemetry import COUNT, TIME, Statistics
from storage.times import SECOND, moment

MAX_FINDINGS = 1000
# Metrics in an answer. Only devices that sent with an older release can have more.
MAX_STATISTICS = 1004


def json_items(table: pa.Table, order: Order) -> list[Any]:
    """One object per row. Built by columns: rows of pyarrow would take ten times as long, dictionaries four times."""
    names = [name for name in table.column_names if name not in ("time", "out_of_band", "received_at")]
    count = count_name(names)
    item = _item_class(tuple(count if name == COUNT else name for name in names))
    columns = [_rfc3339(table["time"]), *(_values(table[name]) for name in names)]
    if "out_of_band" in table.column_names:
        columns.append([bands or UNSET for bands in table["out_of_band"].to_pylist()])
    items = list(map(item, *columns))
    return items if order == "asc" else items[::-1]


def count_name(names: Collection[str]) -> str:
    """What the number of readings of a window is called beside metrics of these names."""
    return next(name for name in ("count", "readings_count", COUNT) if name == COUNT or name not in names)


@lru_cache(maxsize=100)
def _item_class(names: tuple[str, ...]) -> type[Any]:
    """The class of items with these fields beside `timestamp`; a field that is `UNSET` is left out of the JSON."""
    fields = {f"_{i}": name for i, name in enumerate(("timestamp", *names, "out_of_band"))}
    types: list[Any] = [(field, Any) for field in fields]
    types[-1] = (*types[-1], UNSET)
    return defstruct("Item", types, rename=fields, gc=False)


def _rfc3339(times: pa.ChunkedArray) -> list[str]:
    """RFC 3339 text: to the second, or to the microsecond if any time is not a whole second."""
    moments = times.cast(TIME).cast(pa.int64()).to_numpy()
    is_whole = not (moments % SECOND).any()
    texts = np.datetime_as_string(moments.astype("datetime64[us]"), "s" if is_whole else "us", timezone="UTC")
    return list(texts.tolist())


def _values(column: pa.ChunkedArray) -> list[Any]:
    is_plain = pa.types.is_floating(column.type) and not column.null_count
    return list(column.to_numpy().tolist() if is_plain else column.to_pylist())


def json_findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The first of the findings."""
    return [
        {
            "metric": finding.metric,
            "kind": finding.kind,
            "start_time": moment(finding.at),
            "end_time": moment(finding.until),
            "value": finding.value,
            "effect": finding.effect,
            "counted": finding.counted,
            "detail": finding.detail,
            "correction": _json_suggestion(finding.correction),
        }
        for finding in findings[:MAX_FINDINGS]
    ]


def _json_suggestion(suggested: SuggestedCorrection | None) -> dict[str, Any] | None:
    if suggested is None:
        return None
    return {
        "metric": suggested.metric,
        "from": moment(suggested.start),
        "to": moment(suggested.end),
        "action": suggested.action,
    }


def json_consumption(energy: EnergyFigures) -> dict[str, dict[str, Any]]:
    """What each counter has counted, in its unit."""
    return {name: {"value": value, "unit": unit} for name, (value, unit) in energy.consumption.items()}


def json_statistics(
    device_id: str, start: int, end: int, statistics: Statistics, energy: EnergyFigures
) -> dict[str, Any]:
    data: dict[str, Any] = {"device_id": device_id, "start_time": moment(start), "end_time": moment(end)}
    names = list(dict.fromkeys([*NAMED_METRICS, *statistics.metrics]))
    for name in names[:MAX_STATISTICS]:
        metric = statistics.metrics.get(name)
        data[f"{name}_min"] = metric and metric.min
        data[f"{name}_max"] = metric and metric.max
        data[f"{name}_avg"] = metric and metric.mean
    power = statistics.metrics.get("power")
    return data | {
        "power_total": power and power.sum,
        "data_points": statistics.readings,
        "metrics_left_out": max(0, len(names) - MAX_STATISTICS),
        "energy_kwh": energy.kwh,
        "energy_source": energy.source,
        "energy_export_kwh": energy.export_kwh,
        "energy_export_source": energy.export_source,
        "energy_coverage": energy.coverage,
        "mean_power": energy.mean_power,
        "load_factor": energy.load_factor,
        "peak_demand_15min": energy.peak_demand and energy.peak_demand.watts,
        "peak_demand_15min_at": energy.peak_demand and moment(energy.peak_demand.at),
        "peak_feed_in_15min": energy.peak_feed_in and energy.peak_feed_in.watts,
        "peak_feed_in_15min_at": energy.peak_feed_in and moment(energy.peak_feed_in.at),
        "energy_outdated_days": energy.outdated_days,
        "energy_findings": json_findings(energy.findings),
        "consumption": json_consumption(energy),
    }
