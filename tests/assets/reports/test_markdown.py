"""Text stays text: what pandoc reads is what was written, whatever a device is called."""

import json
import re
import subprocess
from typing import Any

import pypandoc
import yaml
from hypothesis import given, settings, strategies as st

from assets.reports import markdown as md
from assets.reports.findings import text

NASTY = st.text(st.sampled_from("#*_`~^[](){}<>|\\$@!&=+-.:;,'\"/%?1aé \u00a0")).map(text).filter(bool)
TEXTS = st.lists(NASTY | st.text().map(text).filter(bool), min_size=20, max_size=20)


def parsed(markdown: str) -> list[dict[str, Any]]:
    command = [pypandoc.get_pandoc_path(), "--sandbox", "--from=markdown", "--to=json"]
    found = subprocess.run(command, input=markdown.encode(), capture_output=True, check=True)
    blocks: list[dict[str, Any]] = json.loads(found.stdout)["blocks"]
    return blocks


def said(part: Any) -> str:
    """The text below a part of pandoc's tree; any element but plain text and emphasis ends the test."""
    if isinstance(part, list):
        return "".join(said(item) for item in part)
    kind, content = part["t"], part.get("c")
    assert kind in ("Str", "Space", "SoftBreak", "Strong", "Para", "Header", "Plain"), part
    if kind == "Header":
        return said(content[2])
    return content if kind == "Str" else said(content) if content else " "


def normal(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()


@settings(max_examples=8, deadline=None)
@given(TEXTS)
def test_paragraphs_and_headings_read_as_written(texts: list[str]) -> None:
    blocks = parsed("\n".join(f"{md.paragraph(one)}\n{md.heading(one)}\n{md.strong(one)}" for one in texts))
    assert [normal(said(block)) for block in blocks] == [normal(one) for one in texts for _ in range(3)]


@settings(max_examples=8, deadline=None)
@given(TEXTS)
def test_cells_of_a_table_read_as_written(texts: list[str]) -> None:
    (block,) = parsed(md.table(("a", "b"), zip(texts, texts, strict=True), widths=(50, 50)))
    rows = block["c"][1][0]["c"][4][0][3]
    cells = [[normal(said(cell[4])) for cell in row[1]] for row in rows]
    assert cells == [[normal(one)] * 2 for one in texts]


@given(NASTY)
def test_front_matter_has_no_shortcode(name: str) -> None:
    front = md.front_matter({"title": md.metadata(f"{{{{< env SECRET >}}}} {name}"), "made": {"year": 2026}})
    assert "{{" not in front
    (values,) = (document for document in yaml.safe_load_all(front) if document)
    assert values["made"] == {"year": 2026}


def test_long_text_is_cut_with_a_sign_of_it() -> None:
    assert md.escape("x" * 400) == "x" * 299 + "…"
    assert md.cut(range(5), 3) == (range(3), "\u2026 and 2 more \\(see Excel\\)\\.\n")
    assert md.cut(range(3), 3) == (range(3), "")
    assert md.cut(range(3), 3, total=10)[1].startswith("\u2026 and 7 more")
