"""Which texts of a report no font at hand can draw: they are boxes in the file, and the report says so at its end."""

import re
import unicodedata
from functools import cache
from io import BytesIO
from pathlib import Path

from assets.reports.canvas import FONTS
from assets.reports.script_fonts import ScriptFont, needed

MAX_TEXTS, MAX_LENGTH, MAX_CHARACTERS = 8, 40, 4
_WORD = re.compile(r"[^\s|*]*[^\x00-\u024f\s][^\s|*]*")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
# Characters that nothing is drawn for: controls, formats, spaces; and marks that choose a glyph's form.
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")
_FORMS = range(0xFE00, 0xFE10)


def undrawn(markdown: str, *, by_machine: bool) -> list[str]:
    """The words of a report that the fonts in it cannot draw, each with its script and the first such characters.

    With `by_machine`, the fonts of this machine help, as they do where Typst makes the PDF.
    """
    of_scripts = frozenset[int]().union(*map(_of_script, needed(markdown)))
    found: dict[str, str] = {}
    for word in _WORD.findall(markdown):
        text = _ESCAPED.sub(r"\1", word)
        missing = [c for c in dict.fromkeys(text) if _is_drawn(c) and ord(c) not in _of_report() | of_scripts]
        if missing and by_machine:
            missing = [c for c in missing if ord(c) not in _of_machine()]
        if missing and text not in found:
            codes = " ".join(f"U+{ord(c):04X}" for c in missing[:MAX_CHARACTERS])
            found[text] = f"{text[:MAX_LENGTH]} ({_script(missing[0])} {codes})"
            if len(found) == MAX_TEXTS:
                break
    return list(found.values())


def _is_drawn(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE and ord(character) not in _FORMS


def _script(character: str) -> str:
    """The script of a character, as its Unicode name begins."""
    word = unicodedata.name(character, "Unicode").split()[0]
    return word if word == "CJK" else word.capitalize()


@cache
def _of_report() -> frozenset[int]:
    """The characters of the fonts that every report has."""
    import matplotlib  # noqa: PLC0415 - JSON and Excel need not load it

    return _characters(FONTS / "Inter-Regular.otf", Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")


@cache
def _of_script(font: ScriptFont) -> frozenset[int]:
    """The characters of a script's font."""
    from matplotlib.ft2font import FT2Font  # noqa: PLC0415 - JSON and Excel need not load it

    return frozenset(code for file in font.unpacked().values() for code in FT2Font(BytesIO(file)).get_charmap())


@cache
def _of_machine() -> frozenset[int]:
    """The characters of the machine's fonts that Typst finds."""
    import typst  # noqa: PLC0415 - only rare scripts need it

    return _characters(*{Path(font.path) for font in typst.Fonts().fonts() if font.path})


def _characters(*fonts: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font  # noqa: PLC0415 - as above

    found: set[int] = set()
    for font in fonts:
        try:
            found |= FT2Font(str(font)).get_charmap().keys()
        except (OSError, RuntimeError):  # a font that FreeType cannot read draws nothing here
            continue
    return frozenset(found)
