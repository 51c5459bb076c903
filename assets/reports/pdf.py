"""Renders the PDF with Quarto if there is one, else with pandoc and Typst from wheels, from the same source."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assets.reports.budget import Budget
from assets.reports.content import ReportContent
from assets.reports.document import write
from assets.reports.errors import ReportError

TYPST = Path(__file__).parent / "typst"
FONTS = Path(__file__).parent / "fonts"
# The only variables that a renderer gets. Others may be secrets.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
QUARTO_VERSION = ">=1.9"
# Typst cannot be interrupted, so it runs in a process of its own.
_TYPST = "import sys, typst; typst.compile(sys.argv[1], output=sys.argv[2], root='.', font_paths=['fonts'])"


@dataclass(frozen=True)
class Rendered:
    """The PDF, its number of pages, and the names of the programs that rendered it."""

    content: bytes
    pages: int
    renderer: str


def render(content: ReportContent, folder: Path, quarto: Path | None, budget: Budget) -> Rendered:
    """The report as a PDF. Its source and its figures stay in the folder.

    Raises:
        ReportError: the time is over, or the renderer failed; the message has the end of its output.

    """
    budget.step(20, "Drawing")
    _lay_out(folder)
    write(content, folder)
    budget.step(50, "Typesetting")
    environment = _environment(folder, {"SOURCE_DATE_EPOCH": str(int(content.generated_at.timestamp()))})
    if quarto is not None:
        environment |= {"QUARTO_VERSION_REQUIREMENT": QUARTO_VERSION}
        _run([str(quarto), "render", "report.qmd", "--to", "typst", "--no-execute"], folder, environment, budget)
    else:
        _run(_pandoc(), folder, environment, budget)
        _run([sys.executable, "-I", "-c", _TYPST, "report.typ", "report.pdf"], folder, environment, budget)
    return _checked(folder / "report.pdf", content, "quarto" if quarto else "pandoc and typst")


def _lay_out(folder: Path) -> None:
    """Copy Typst's template files and the fonts into the folder, where both renderers look for them."""
    import matplotlib  # noqa: PLC0415

    for file in TYPST.iterdir():
        shutil.copyfile(file, folder / file.name)
    (folder / "fonts").mkdir()
    # matplotlib's font has what Inter lacks (Arabic, Hebrew, symbols). Other scripts need a font of the machine.
    fallback = Path(matplotlib.get_data_path()) / "fonts/ttf"
    for font in (*FONTS.glob("*.otf"), fallback / "DejaVuSans.ttf", fallback / "DejaVuSans-Bold.ttf"):
        shutil.copyfile(font, folder / "fonts" / font.name)


def _pandoc() -> list[str]:
    import pypandoc  # noqa: PLC0415

    # A bound on memory, and no access to other files or the network: the document should need neither.
    return [
        pypandoc.get_pandoc_path(),
        *("+RTS", "-M512M", "-RTS", "--sandbox", "report.qmd", "--from=markdown", "--to=typst", "--standalone"),
        *("--template=pandoc-template.typ", "--lua-filter=report.lua", "--wrap=none", "--output=report.typ"),
    ]


def _environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    homes = dict.fromkeys(
        ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"), str(folder)
    )
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, **homes, **more}


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str], budget: Budget) -> None:
    """Run a renderer in its own process group. End the whole group when the time is over."""
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
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
        raise ReportError(f"{name} could not make the PDF (exit code {process.returncode}): {ending}")


def _checked(file: Path, content: ReportContent, renderer: str) -> Rendered:
    """The file, once it is known to be a PDF of this report. Exit code 0 alone does not prove it."""
    if not file.is_file():
        raise ReportError(f"{renderer} ended without an error, but wrote no PDF.")
    pdf = file.read_bytes()
    if not pdf.startswith(b"%PDF"):
        raise ReportError(f"{renderer} wrote a file that is not a PDF.")
    if content.report_id.encode() not in pdf:
        raise ReportError(f"{renderer} wrote a PDF that does not contain the report id {content.report_id}.")
    return Rendered(pdf, len(re.findall(rb"/Type\s*/Page\b", pdf)), renderer)
