"""The options that commands share which read a file, and their checks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from storage.times import known_zone

if TYPE_CHECKING:
    from ingest.files import TimeFormat

File = Annotated[Path, typer.Argument(help="A CSV file with a header, or a Parquet file.")]
Device = Annotated[str | None, typer.Option(help="The device that all rows belong to.")]
TimeUnit = Annotated[str, typer.Option(help="The unit of numeric times (since 1970): s, ms or us.")]
TimePattern = Annotated[
    str | None,
    typer.Option(help="The format of times that are not ISO 8601, as strptime knows it, e.g. '%d.%m.%Y %H:%M'."),
]
Timezone = Annotated[str | None, typer.Option(help="The time zone of times without an offset, e.g. Europe/Berlin.")]
Separator = Annotated[str | None, typer.Option(help="The character between columns. Default: what the header shows.")]
Encoding = Annotated[
    str | None, typer.Option(help="The text's encoding, e.g. cp1252. Default: UTF-8, or UTF-16 with its mark.")
]


def check_file(file: Path) -> None:
    """End the command with exit code 2 if there is no such file."""
    if not file.exists():
        print(f"energy: {file} cannot be read: there is no such file", file=sys.stderr)
        raise typer.Exit(2)


def check_device(device: str | None) -> None:
    """Check the id of `--device`.

    Raises:
        typer.BadParameter: it is not a device id.

    """
    from ingest.intake.decode import is_identifier

    if device is not None and not is_identifier(device):
        raise typer.BadParameter(f"--device {device!r} is not a device id (letters, digits, _ . -; at most 50)")


def separator_of(text: str | None) -> str | None:
    r"""The character of `--separator`, in which `\t` is a tab.

    Raises:
        typer.BadParameter: it is not one character.

    """
    separator = text and text.replace("\\t", "\t")
    if separator is not None and (len(separator) != 1 or separator in '"\n\r'):
        raise typer.BadParameter("--separator is one character, such as ';' or '\\t'")
    return separator


def times_of(unit: str, pattern: str | None, timezone: str | None) -> "TimeFormat":
    """How the file writes times.

    Raises:
        typer.BadParameter: the zone of `--timezone` is unknown.

    """
    from ingest.files import TimeFormat

    try:
        return TimeFormat(unit, pattern, ZoneInfo(known_zone(timezone)) if timezone else None)
    except ValueError as error:
        raise typer.BadParameter(f"--timezone {error}") from None
