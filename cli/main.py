"""The `energy` command. Each group of subcommands is a module of its own; this one only puts them together."""

import sys

import typer

from cli.backfill import backfill
from cli.demo.command import demo
from cli.imports import import_file
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


app.command()(up)
app.command()(status)
app.command()(demo)
app.command()(backfill)
app.command("import")(import_file)
app.command()(sql)


def main() -> None:
    """Run the command; a wrong setting is a line on standard error and exit code 2, never a traceback."""
    try:
        app()
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"energy: {line}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
