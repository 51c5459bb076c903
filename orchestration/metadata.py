"""Metadata that Dagster's UI shows with assets and materializations."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import dagster as dg

from assets.datasets import COLUMNS
from storage.catalogue import Dataset
from storage.devices import UNITS
from storage.settings import Settings

# A table of files names at most so many.
MAX_FILES = 40
TYPES = {"timestamp": "timestamp[us, UTC]", "device_id": "string", "device_type": "string", "location": "string",
         "hour": "int8", "day_of_week": "int8", "is_weekend": "bool"}  # fmt: skip


def code_version() -> str:
    """The code version of all assets: the release."""
    return version("energy-platform")


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG, embedded so that the UI shows it."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")


def api_page(path: str = "/docs") -> dg.UrlMetadataValue:
    """A link to a page of the API, at the address that people reach it by."""
    return dg.MetadataValue.url(Settings.load().api_address + path)


def device_pages(device_id: str) -> dict[str, Any]:
    """Links to a device: its page for people, and what the API says of it."""
    return {"machine": api_page(f"/machines/{device_id}"), "device": api_page(f"/api/v1/devices/{device_id}")}


def files_page(device_id: str) -> dg.UrlMetadataValue:
    """A link to the list of a device's files."""
    return api_page(f"/api/v1/analytics/datasets?device_id={device_id}")


def files_metadata(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Links to files with what is in them, and one hash over all of them, which changes when one of them does."""
    if not datasets:
        return {}
    download = api_page("/api/v1/analytics/datasets/download?dataset_key=").url
    lines = [
        f"| [{dataset.key}]({download}{quote(dataset.key)}) | {dataset.rows} | {dataset.bytes} | `{dataset.sha256}` |"
        for dataset in datasets[:MAX_FILES]
    ]
    more = [f"and {len(datasets) - MAX_FILES} more"] if len(datasets) > MAX_FILES else []
    table = ["| file | rows | bytes | SHA-256 |", "| --- | --- | --- | --- |", *lines, *more]
    return {"files": dg.MetadataValue.md("\n".join(table)), "sha256": hash_of(dataset.sha256 for dataset in datasets)}


def hash_of(hashes: Iterable[str]) -> str:
    """One hash over the hashes of files; that of a single file is the file's own. Without files it is empty."""
    all_hashes = list(hashes)
    return hashlib.sha256("".join(all_hashes).encode()).hexdigest() if len(all_hashes) > 1 else "".join(all_hashes)


def dataset_schema() -> dg.TableSchema:
    """The columns of every dataset. A device's extra metrics follow them as float64."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=TYPES.get(name, "float64"),
                description=description,
                tags={"unit": UNITS[name]} if name in UNITS else {},
            )
            for name, description in COLUMNS.items()
        ],
        constraints=dg.TableConstraints(other=["one row per timestamp", "sorted by timestamp"]),
    )


def dataset_lineage(telemetry: dg.AssetKey) -> dg.TableColumnLineage:
    """The telemetry columns that each column of a dataset is computed from."""
    sources = {"timestamp": ["time"], "hour": ["time"], "day_of_week": ["time"], "is_weekend": ["time"],
               "power_factor": ["power", "voltage", "current"]}  # fmt: skip
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(telemetry, column) for column in sources.get(name, [name])] for name in COLUMNS}
    )
