"""Options that are a day."""

from datetime import date
from typing import Any

import typer


def day_option(name: str, help_text: str) -> Any:
    """An option whose value is a day, such as 2026-02-12."""
    return typer.Option(name, parser=_day, metavar="YYYY-MM-DD", help=help_text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2026-02-12") from None
