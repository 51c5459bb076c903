"""How reports look: the files in `templates/`, and those of a folder that restyles them.

A restyling folder has any of these files; what it lacks is as it was. `energy reports template` writes all of them.
"""

import re
import shutil
import tomllib
from functools import cache
from pathlib import Path

from assets.reports.errors import ReportError
from assets.reports.formatting import Language
from assets.reports.texts import LanguageCode, Texts

TEMPLATES = Path(__file__).parent / "templates"
LOGOS = ("logo.svg", "logo.png")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class Look:
    """The files that make a report's look, and its colours by name."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folders = (folder, TEMPLATES) if folder else (TEMPLATES,)
        self.colours = _colours(*reversed(self.folders))

    @property
    def is_own(self) -> bool:
        """Whether no folder restyles it."""
        return len(self.folders) == 1

    def file(self, name: str) -> Path:
        """Where a file of the look is: in the folder that restyles, else beside the others."""
        return next(file for folder in self.folders if (file := folder / name).is_file())

    @property
    def logo(self) -> Path | None:
        """The picture at the head of each report, if the folder has one."""
        return next((file for name in LOGOS if (file := self.folders[0] / name).is_file()), None)

    def language(self, code: LanguageCode) -> Language:
        """A language with the texts of this look. Raises ReportError if a file of texts cannot be read."""
        try:
            return Language(code, Texts(*(folder / "texts" / f"{code}.toml" for folder in reversed(self.folders))))
        except ValueError as error:
            raise ReportError(f"{error} Correct the file, or REPORT_TEMPLATE.") from None


@cache
def language(code: LanguageCode) -> Language:
    """A language with its own texts."""
    return Look().language(code)


def _colours(*folders: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        file = folder / "theme.toml"
        if not file.is_file():
            continue
        try:
            found |= tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ReportError(f"{file} is not valid TOML: {error}. Correct the file, or REPORT_TEMPLATE.") from None
    for name, colour in found.items():
        if not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
            raise ReportError(f'theme.toml: {name} is {colour!r}, not a colour. Write it as "#2b6591".')
    return found


def write_template(folder: Path) -> list[Path]:
    """Write all files of the look into a folder, and return them. A file that is there already stays as it is."""
    written = []
    for file in sorted(TEMPLATES.rglob("*")):
        target = folder / file.relative_to(TEMPLATES)
        if file.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            written.append(target)
    return written
