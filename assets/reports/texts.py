"""The texts of a report in one language: `templates/texts/<language>.toml`, and what a restyling folder puts over them.

A text may name values in braces, such as `{energy}`. They are put in as they are: a text never runs anything.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

LanguageCode = Literal["en", "de"]
LANGUAGES: tuple[LanguageCode, ...] = get_args(LanguageCode)
_NAME = re.compile(r"\{(\w+)\}")


class TextError(LookupError):
    """A text is missing, or it names a value that there is not."""


class Texts:
    """The texts by their dotted keys; those of later files replace those of earlier ones.

    Raises:
        ValueError: a file is not TOML, or has something else than texts.

    """

    def __init__(self, *files: Path) -> None:
        self._texts: dict[str, str] = {}
        for file in files:
            if file.is_file():
                self._texts |= _read(file)

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def raw(self, key: str) -> str:
        """The text of a key with its names in braces."""
        try:
            return self._texts[key]
        except KeyError:
            raise TextError(f"there is no text {key}") from None

    @property
    def all(self) -> list[str]:
        """Every text, with its names in braces."""
        return list(self._texts.values())

    @property
    def names(self) -> set[str]:
        """The keys of all texts."""
        return set(self._texts)

    def say(self, key: str, **values: object) -> str:
        """The text of a key with its values. Raises TextError if there is no such text or value."""
        try:
            return _NAME.sub(lambda match: str(values[match[1]]), self.raw(key))
        except KeyError as error:
            raise TextError(
                f"the text {key} names {error}, which is not one of {', '.join(values) or 'its values'}"
            ) from None


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(_flat(tomllib.loads(file.read_text("utf-8"))))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid TOML: {error}") from None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            yield f"{prefix}{key}", value
        else:
            raise ValueError(f"{prefix}{key} is not a text. Put it in quotes.")  # noqa: TRY004 - a file's content
