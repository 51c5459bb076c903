"""Markdown in which every text is only text, for Quarto and for pandoc.

Whoever names a device must not be able to run anything in the report: each ASCII punctuation mark is escaped, ours
too, so that there is one way in and no case to forget.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
LONGEST = 300
# Rows of a table that is not broken over pages.
MAX_WHOLE = 15


def escape(text: str, longest: int = LONGEST) -> str:
    """The text such that Markdown prints it as it is, cut after so many characters."""
    return _PUNCTUATION.sub(r"\\\1", shorten(text, longest))


def shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def metadata(text: str, longest: int = LONGEST) -> str:
    """The same for a value of the front matter, where Quarto looks for shortcodes even in what is escaped."""
    return escape(shorten(text, longest).replace("{{", "{\u2060{"), 2 * longest)


def front_matter(values: dict[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=10_000)}---\n"


def strong(text: str) -> str:
    return f"**{escape(text)}**\n"


def emphasis(text: str) -> str:
    return f"*{escape(text)}*\n"


def heading(text: str, level: int = 1) -> str:
    return f"{'#' * level} {escape(text)}\n"


def paragraph(*sentences: str) -> str:
    return escape(" ".join(s for s in sentences if s), 10_000) + "\n"


def bullets(sentences: Iterable[str]) -> str:
    return "".join(f"- {escape(sentence, 1000)}\n" for sentence in sentences)


def figure(file: str | None, caption: str, alternative: str) -> str:
    """A picture with its caption, and the words for those who cannot see it; nothing where there is no picture."""
    if file is None:
        return ""
    return f'![{escape(caption, 1000)}]({file}){{fig-alt="{escape(alternative, 1000)}"}}\n'


def block(name: str, *parts: str) -> str:
    """A part that the template sets in its own way; the Lua filter knows the names."""
    return f"::: {{.{name}}}\n" + "\n".join(parts) + ":::\n"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    widths: Sequence[int],
    right: Sequence[int] = (),
    total: Sequence[str] | None = None,
) -> str:
    """A table over the whole width; `widths` are shares of it, the columns of `right` are set right.

    `total` is a last row that stands out.
    """
    lines = [_row(head), "|" + "|".join("--:" if i in right else ":--" for i in range(len(head))) + "|"]
    lines += [_row(row) for row in rows]
    lines += [_row(total, "**")] if total else []
    name = "whole" if len(lines) - 2 <= MAX_WHOLE else "table"
    shares = ",".join(str(width) for width in widths)
    return f'::: {{.{name} widths="{shares}"}}\n' + "\n".join(lines) + "\n:::\n"


def _row(cells: Iterable[str], mark: str = "") -> str:
    return "| " + " | ".join(f"{mark}{escape(cell)}{mark}" if cell else "" for cell in cells) + " |"


def cut(rows: Sequence[Any], most: int, total: int | None = None) -> tuple[Sequence[Any], str]:
    """The first rows, and a line about the others of `total` (else of all rows) where there are any."""
    more = (len(rows) if total is None else total) - most
    return rows[:most], paragraph(f"… and {more:,} more (see Excel).") if more > 0 else ""


def join(parts: Iterable[str]) -> Iterator[str]:
    """Blocks with an empty line between them; empty ones are left out."""
    return (f"{part}\n" for part in parts if part)
