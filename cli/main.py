"""The `energy` command. Each group of subcommands is a module of its own; this one only puts them together."""

import os
import sys

import typer

from cli import devices, keys, quarantine
from cli.backfill import backfill
from cli.demo.command import demo
from cli.import_file import import_file
from cli.simulate import simulate
from cli.sql import sql
from cli.up import status, up
from storage.settings import SettingsError

app = typer.Typer(
    name="energy",
    help="The platform for the energy and health of a plant's machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(keys.app, name="keys")
app.add_typer(devices.app, name="devices")


app.command()(up)
app.command()(status)
app.command()(demo)
app.command()(backfill)
app.command("import")(import_file)
app.command()(sql)
app.command()(simulate)
app.add_typer(quarantine.app, name="quarantine")


def main() -> None:
    """Run the command. What is the user's to mend is a line on standard error and exit code 2, never a traceback."""
    try:
        app()
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"energy: {line}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
            raise
        print(
            f"energy: this is a fault of the platform, not yours: {type(error).__name__}: {error}"
            " (LOG_LEVEL=DEBUG shows where)",
            file=sys.stderr,
        )
        sys.exit(70)


if __name__ == "__main__":
    main()
