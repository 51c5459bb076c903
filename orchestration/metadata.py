"""Metadata that Dagster's UI shows with assets and materializations."""

import base64
from importlib.metadata import version

import dagster as dg

from assets.datasets import COLUMNS
from storage.devices import UNITS
from storage.settings import Settings

TYPES = {"timestamp": "timestamp[us, UTC]", "device_id": "string", "device_type": "string", "location": "string",
         "hour": "int8", "day_of_week": "int8", "is_weekend": "bool"}  # fmt: skip


def code_version() -> str:
    """The code version of all assets: the release."""
    return version("energy-platform")


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG, embedded so that the UI shows it."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")


def api_page(path: str = "/docs") -> dg.UrlMetadataValue:
    """A link to a page of the API on this machine."""
    return dg.MetadataValue.url(f"http://127.0.0.1:{Settings.load().api_port}{path}")


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
