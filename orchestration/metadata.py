"""How a result shows in Dagster's UI."""

import base64
from importlib.metadata import version

import dagster as dg


def code_version() -> str:
    """Of what is made: changes with the release."""
    return version("energy-platform")


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG that the UI shows where it stands."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")
