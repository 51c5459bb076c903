"""Renders the report as one HTML file that needs nothing else, by pandoc from the source of the PDF.

Styles, fonts, logo and figures are in the file, so that it opens without a network, from a mail or a phone.
"""

import shutil
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from assets.reports.budget import Budget
from assets.reports.canvas import FONTS, SCREEN
from assets.reports.errors import ReportError
from assets.reports.layout import Content, write
from assets.reports.look import Look
from assets.reports.markdown import with_shortcodes
from assets.reports.render import environment, pandoc, run
from assets.reports.script_fonts import ScriptFont, needed

RENDERER = "pandoc"
_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2", ".woff": "font/woff"}


def render(content: Content, folder: Path, look: Look, budget: Budget) -> bytes:
    """The report as HTML. Its source and its figures stay in the folder.

    Raises:
        ReportError: the time is over, or pandoc failed; the message has the end of its output.

    """
    budget.step(20, "Drawing")
    shutil.copyfile(look.file("report.lua"), folder / "report.lua")
    source = write(content, folder, look, SCREEN)
    markdown = with_shortcodes(source.read_text("utf-8"))
    source.write_text(markdown, "utf-8")
    (folder / "page.html").write_text(_page(look, needed(markdown)), "utf-8")
    budget.step(50, "Typesetting")
    options = ("--to=html5", "--template=page.html", "--shift-heading-level-by=1", "--output=report.html")
    run(pandoc(*options), folder, environment(folder, {}), budget, "HTML")
    html = (folder / "report.html").read_bytes()
    if content.report_id.encode() not in html:
        raise ReportError(f"pandoc wrote HTML that does not contain the report id {content.report_id}.")
    return html


def _page(look: Look, more_fonts: Sequence[ScriptFont]) -> str:
    """The page's template with its styles and fonts, which are a part of it."""
    colours = "".join(f"--{name}: {colour};" for name, colour in sorted(look.colours.items()))
    fonts = {("Inter", 400): "Inter-Regular.woff", ("Inter", 600): "Inter-SemiBold.woff"}
    fonts |= {(font.family, weight): name for font in more_fonts for weight, name in font.files}
    faces = "".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; src: url({_data(FONTS / name)}); }}\n'
        for (family, weight), name in fonts.items()
    )
    style = look.file("style.css").read_text("utf-8")
    logo = f'<img class="logo" alt="" src="{_data(look.logo)}">' if look.logo else ""
    parts = {"style": f"{faces}:root {{ {colours} }}\n{style}", "logo": logo}
    page = look.file("page.html").read_text("utf-8")
    for name, part in parts.items():
        page = page.replace(f"$({name})$", part.replace("$", "$$"))  # pandoc reads two for one
    return page


def _data(file: Path) -> str:
    return f"data:{_TYPES[file.suffix]};base64,{b64encode(file.read_bytes()).decode()}"
