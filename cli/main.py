"""The `energy` command: puts the subcommands together and turns errors into one line and an exit code.

The modules of the commands import what they work with inside their functions, so that `energy --help` answers at once.
"""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from cli import broker, devices, failures, keys, models, quarantine, reports, tenants
from cli.backfill import backfill
from cli.demo.command import demo
from cli.evaluate import evaluate
from cli.import_file import import_file
from cli.local.home import keep_private
from cli.simulate import simulate
from cli.sql import sql
from cli.status import status
from cli.up import up
from storage.settings import SettingsError


class Commands(TyperGroup):
    """The commands. What Pydantic, which Typer reads options with, says of a wrong value is put in plain words."""

    def invoke(self, ctx: Any) -> Any:
        """Invoke a command.

        Raises:
            typer.BadParameter: an argument or an option is wrong.

        """
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from pydantic import ValidationError

            from storage.validation import sentence

            if isinstance(error.__cause__, ValidationError):
                error.message = sentence(error.__cause__.errors(include_url=False)[0])
            raise


app = typer.Typer(
    name="energy",
    cls=Commands,
    help="The platform for the energy and health of a plant's machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(status)
app.command()(demo)
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(tenants.app, name="tenants")
app.add_typer(devices.app, name="devices")
app.add_typer(failures.app, name="failures")
app.add_typer(broker.app, name="broker")
app.command("import")(import_file)
app.command()(backfill)
app.command()(sql)
app.command()(evaluate)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(reports.app, name="reports")
app.command()(simulate)


def main() -> None:
    """Run the command.

    An error that the user can correct is one line on standard error and exit code 2. A bug is one line and exit code
    70; LOG_LEVEL=DEBUG shows its traceback.
    """
    keep_private()
    try:
        app()
    except SettingsError as error:
        _complain(str(error))
        sys.exit(2)
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
            raise
        if reason := _unreachable_store(error):
            _complain(f"{reason}. Is the platform running? `energy up` starts it.")
            sys.exit(2)
        _complain(
            f"unexpected error: {type(error).__name__}: {error}. This is a bug; LOG_LEVEL=DEBUG shows the traceback."
        )
        sys.exit(70)


def _complain(message: str) -> None:
    for line in message.splitlines():
        print(f"energy: {line}", file=sys.stderr)


def _unreachable_store(error: Exception) -> str | None:
    """Why a store does not answer, if that is what the error says."""
    from sqlalchemy.exc import OperationalError

    from storage.objects import ObjectStoreUnavailable
    from storage.telemetry import StoreUnavailable

    if isinstance(error, OperationalError):
        return f"the database does not answer: {str(error.orig).strip().splitlines()[0]}"
    return str(error) if isinstance(error, (ObjectStoreUnavailable, StoreUnavailable)) else None


if __name__ == "__main__":
    main()
