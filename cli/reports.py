"""`energy reports`: the files that make a report's look."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Restyle reports.", no_args_is_help=True)


@app.callback()
def reports() -> None:
    """Restyle reports."""


@app.command()
def template(folder: Annotated[Path, typer.Argument(help="Where the files are written.")]) -> None:
    """Write the files of a report's look: its layout, texts, colours and styles. Existing files stay.

    Change what you like, delete the other files, and set REPORT_TEMPLATE to the folder.
    """
    from assets.reports import write_template

    for file in write_template(folder):
        typer.echo(file)
