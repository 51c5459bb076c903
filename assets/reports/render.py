"""Runs a renderer: in a folder of its own, without secrets, in its own process group, within the time that is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from assets.reports.budget import Budget
from assets.reports.errors import ReportError

# The only variables that a renderer gets. Others may be secrets.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


def pandoc(*options: str) -> list[str]:
    """The command that makes something of `report.qmd` with pandoc."""
    import pypandoc  # noqa: PLC0415 - JSON and Excel need not load it

    # A bound on memory, and no access to other files or the network: the document should need neither.
    limits = ("+RTS", "-M512M", "-RTS", "--sandbox")
    return [
        pypandoc.get_pandoc_path(), *limits, "report.qmd", "--from=markdown", "--standalone",
        "--lua-filter=report.lua", "--wrap=none", *options,
    ]  # fmt: skip


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a renderer, whose every home is the folder."""
    homes = dict.fromkeys(
        ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"), str(folder)
    )
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, **homes, **more}


def run(command: Sequence[str], folder: Path, variables: Mapping[str, str], budget: Budget, what: str) -> None:
    """Run a renderer in its own process group. End the whole group when the time is over.

    Raises:
        ReportError: it cannot be started, it failed, or the time is over; `what` is what it should have made.

    """
    name = "typst" if command[0] == sys.executable else Path(command[0]).name  # Typst is a Python package
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ReportError(f"{command[0]} cannot be started: {error.strerror}. Correct QUARTO_PATH.") from error
    with process:
        try:
            _, output = process.communicate(timeout=budget.seconds_left())
        except BaseException as error:
            # Quarto starts Deno and Typst as children, which would live on.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise budget.exceeded() from None
            raise
    if process.returncode != 0:
        ending = output.decode("utf-8", "replace").strip()[-1500:] or "no output"
        raise ReportError(f"{name} could not make the {what} (exit code {process.returncode}): {ending}")
