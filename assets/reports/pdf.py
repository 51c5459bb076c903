"""Renders the PDF with Quarto if there is one, else with pandoc and Typst from wheels, from the same source."""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assets.reports.budget import Budget
from assets.reports.canvas import A4, FONTS
from assets.reports.errors import ReportError
from assets.reports.layout import Content, write
from assets.reports.look import Look
from assets.reports.render import environment, pandoc, run
from assets.reports.script_fonts import ScriptFont, needed

QUARTO_VERSION = ">=1.9"
SUSPECTS = b"/Suspects false"
FILES = ("pandoc-template.typ", "typst-template.typ", "typst-show.typ", "report.lua")
# Typst cannot be interrupted, so it runs in a process of its own.
_TYPST = """
import sys, typst
try:
    typst.compile(sys.argv[1], output=sys.argv[2], root=".", font_paths=["fonts"])
except typst.TypstError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Rendered:
    """The PDF, its number of pages, and the names of the programs that rendered it."""

    content: bytes
    pages: int
    renderer: str


def render(content: Content, folder: Path, look: Look, quarto: Path | None, budget: Budget) -> Rendered:
    """The report as a PDF. Its source and its figures stay in the folder.

    Raises:
        ReportError: the time is over, or the renderer failed; the message has the end of its output.

    """
    budget.step(20, "Drawing")
    source = write(content, folder, look, A4)
    _lay_out(folder, look, needed(source.read_text("utf-8")))
    budget.step(50, "Typesetting")
    variables = environment(folder, {"SOURCE_DATE_EPOCH": str(int(content.generated_at.timestamp()))})
    if quarto is not None:
        variables |= {"QUARTO_VERSION_REQUIREMENT": QUARTO_VERSION}
        run([str(quarto), "render", "report.qmd", "--to", "typst", "--no-execute"], folder, variables, budget, "PDF")
    else:
        run(
            pandoc("--to=typst", "--template=pandoc-template.typ", "--output=report.typ"),
            folder, variables, budget, "PDF",
        )  # fmt: skip
        run([sys.executable, "-I", "-c", _TYPST, "report.typ", "report.pdf"], folder, variables, budget, "PDF")
    return _checked(folder / "report.pdf", content, "quarto" if quarto else "pandoc and typst")


def _lay_out(folder: Path, look: Look, more_fonts: Sequence[ScriptFont]) -> None:
    """Put Typst's template files, colours, logo and fonts into the folder, where both renderers look for them."""
    import matplotlib  # noqa: PLC0415 - its font is beside it

    for name in FILES:
        shutil.copyfile(look.file(name), folder / name)
    theme = [f'#let {name} = rgb("{colour}")' for name, colour in sorted(look.colours.items())]
    if look.logo:
        shutil.copyfile(look.logo, folder / look.logo.name)
    theme.append(f'#let logo = "{look.logo.name}"' if look.logo else "#let logo = none")
    families = ("Inter", *(font.family for font in more_fonts), "DejaVu Sans")
    names = ", ".join(f'"{family}"' for family in families)
    theme.append(f"#let fonts = ({names})")
    (folder / "theme.typ").write_text("\n".join(theme), "utf-8")
    (folder / "fonts").mkdir()
    # matplotlib's font has what Inter lacks (Arabic, Hebrew, symbols). Scripts without a font here need the machine's.
    fallback = Path(matplotlib.get_data_path()) / "fonts/ttf"
    for font in (*FONTS.glob("*.otf"), fallback / "DejaVuSans.ttf", fallback / "DejaVuSans-Bold.ttf"):
        shutil.copyfile(font, folder / "fonts" / font.name)
    for script_font in more_fonts:
        for name, file in script_font.unpacked().items():
            (folder / "fonts" / name).write_bytes(file)


def _checked(file: Path, content: Content, renderer: str) -> Rendered:
    """The file, once it is known to be a PDF of this report. Exit code 0 alone does not prove it."""
    if not file.is_file():
        raise ReportError(f"{renderer} ended without an error, but wrote no PDF.")
    pdf = file.read_bytes()
    if not pdf.startswith(b"%PDF"):
        raise ReportError(f"{renderer} wrote a file that is not a PDF.")
    if content.report_id.encode() not in pdf:
        raise ReportError(f"{renderer} wrote a PDF that does not contain the report id {content.report_id}.")
    # The default, which Poppler up to 22 takes for an error. As many spaces leave every offset as it is.
    pdf = pdf.replace(SUSPECTS, b" " * len(SUSPECTS))
    return Rendered(pdf, len(re.findall(rb"/Type\s*/Page\b", pdf)), renderer)
