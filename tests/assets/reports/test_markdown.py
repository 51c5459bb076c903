"""Text stays text: what pandoc reads is what was written, whatever a device is called."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pypandoc
import pytest
import yaml
from hypothesis import given, settings, strategies as st
from jinja2 import Template, UndefinedError
from jinja2.exceptions import SecurityError

from assets.reports.document import DRAWINGS as EVERY_DRAWING, markdown_of
from assets.reports.look import Look, language
from assets.reports.markdown import MAX_CHARACTERS, environment, escape, shorten
from assets.reports.results import text
from tests.support.report_factories import DAY, START, bare, content_of, house

NASTY = st.text(st.sampled_from("#*_`~^[](){}<>|\\$@!&=+-.:;,'\"/%?1aé \u00a0")).map(text).filter(bool)
TEXTS = st.lists(NASTY | st.text().map(text).filter(bool), min_size=20, max_size=20)
HOSTILE = (
    '`#read("s.txt")`{=typst} {{< env SECRET >}} #read("s.txt") $x$ <b>&amp; | \\ [l](http://x.test) ![i](s.txt)'
    " ::: {.callout} ~~x~~ **s** {{ 7 * 7 }} {% raw %} @fig-1 ^[n]"
)


def template(source: str) -> Template:
    return environment(Look(), language("en")).from_string(source)


def parsed(markdown: str) -> list[dict[str, Any]]:
    command = [pypandoc.get_pandoc_path(), "--sandbox", "--from=markdown", "--to=json"]
    done = subprocess.run(command, input=markdown.encode(), capture_output=True, check=True)
    blocks: list[dict[str, Any]] = json.loads(done.stdout)["blocks"]
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


def elements(part: Any) -> Iterator[str]:
    """The kinds of all elements below a part of pandoc's tree."""
    if isinstance(part, dict) and "t" in part:
        yield part["t"]
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from elements(item)


def classes(part: Any) -> Iterator[str]:
    """The classes of all Divs below a part of pandoc's tree."""
    if isinstance(part, dict) and part.get("t") == "Div":
        yield from part["c"][0][1]
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from classes(item)


def unescaped(source: str) -> str:
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", source)


def normal(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()


@settings(max_examples=8, deadline=None)
@given(TEXTS)
def test_paragraphs_and_headings_read_as_written(texts: list[str]) -> None:
    source = "{% for text in texts %}\n{{ text }}\n\n# {{ text }}\n\n**{{ text }}**\n\n{% endfor %}"
    blocks = parsed(template(source).render(texts=texts))
    assert [normal(said(block)) for block in blocks] == [normal(one) for one in texts for _ in range(3)]


@settings(max_examples=8, deadline=None)
@given(TEXTS)
def test_cells_of_a_table_read_as_written(texts: list[str]) -> None:
    source = "| a | b |\n|:--|:--|\n{% for text in texts %}\n| {{ text }} | {{ text }} |\n{% endfor %}"
    (block,) = parsed(template(source).render(texts=texts))
    rows = block["c"][4][0][3]
    cells = [[normal(said(cell[4])) for cell in row[1]] for row in rows]
    assert cells == [[normal(one)] * 2 for one in texts]


@pytest.mark.parametrize(
    "expression",
    [
        "{{ name }}",
        "{{ name | safe }}",
        "{{ name ~ name }}",
        "{{ [name | safe, name] | join(' ') }}",
        "{{ (name | safe) + name }}",
        "{{ '%s' | format(name) }}",
        "{{ name | replace('z', 'y') }}",
        "{% set copy = name %}{{ copy }}",
        "{% set copy %}{{ name }}{% endset %}{{ copy }}",
        "{% macro again(x) %}{{ x }}{% endmacro %}{{ again(name) }}",
        "{% for one in [name] %}{{ one }}{% endfor %}",
        "{{ '' or name }}",
    ],
)
def test_no_expression_prints_a_value_unescaped(expression: str) -> None:
    blocks = parsed(template(expression).render(name=HOSTILE))
    assert "env SECRET" in said(blocks)  # only text: anything else ends the test
    assert not re.search(r"(?<!\\)[*#`$<|\[]", template(expression).render(name=HOSTILE))


def test_a_value_never_begins_a_line_of_its_own() -> None:
    assert escape("a\n\n    # b\r\n\u2028\tc\x85d") == r"a \# b c d"
    assert escape("1\u00a0kWh") == "1\u00a0kWh"
    assert escape(None) == "\u2013"


def test_every_text_of_a_report_stays_text() -> None:
    """Every field that a user, a device or a model can fill, in one report."""
    data = house(START, START + DAY)
    alert = {**data.alerts[0], "severity": HOSTILE, "status": HOSTILE} if data.alerts else {"status": HOSTILE}
    hostile = {"job_id": HOSTILE, "model_name": HOSTILE, "accuracy_metrics": {HOSTILE: HOSTILE}}
    event = {"start": START.isoformat(), "end": START.isoformat(), "metric": HOSTILE}
    columns = [HOSTILE if name == "reactive_power" else name for name in data.readings.column_names]
    data = replace(
        data,
        device_name=HOSTILE, device_type=HOSTILE, location=HOSTILE, code_version=HOSTILE,
        readings=data.readings.rename_columns(columns),
        alerts=[{**alert, "message": HOSTILE, "rule": {"rule_name": HOSTILE}}],
        analyses={
            "anomaly": {**hostile, "results": {"events": [event]}},
            "forecast": {**data.analyses["forecast"], **hostile},
            "prediction": {**hostile, "results": {"summary": {HOSTILE: {HOSTILE: HOSTILE}}}},
            HOSTILE: {"missing": HOSTILE},
        },
        datasets=[{"key": HOSTILE, "sha256": None, "rows": None}],
    )  # fmt: skip
    blocks = parsed(markdown_of(content_of(data), EVERY_DRAWING))
    kinds = set(elements(blocks))
    assert kinds & {"RawInline", "RawBlock", "Link", "Code", "CodeBlock", "Math", "Note", "Strikeout", "Cite"} == set()
    assert sum(kind == "Image" for kind in elements(blocks)) == len(EVERY_DRAWING)
    assert "callout" not in set(classes(blocks))
    assert json.dumps(blocks).count("SECRET") >= 20


@settings(deadline=None, max_examples=20)  # each renders a whole report
@given(NASTY)
def test_front_matter_has_no_shortcode(name: str) -> None:
    data = bare(START, START + DAY, device_name=f"{{{{< env SECRET >}}}} {name}", code_version=f"{{{{{name}")
    front = re.match(r"---\n.*?\n---\n", markdown_of(content_of(data), ()), re.DOTALL)
    assert front is not None
    assert "{{" not in front[0]
    assert "{{" not in unescaped(front[0])  # as pandoc reads it
    (values,) = (document for document in yaml.safe_load_all(front[0]) if document)
    assert (values["made"]["year"], values["report-id"].replace("\\", "")) == (2006, data.report_id)
    assert "SECRET" in values["title"]


def test_the_template_runs_in_a_sandbox() -> None:
    with pytest.raises(SecurityError):
        template("{{ report.__class__.__mro__ }}").render(report=content_of(bare(START, START + DAY)))
    with pytest.raises(UndefinedError):
        template("{{ report.misspelled }}").render(report=content_of(bare(START, START + DAY)))


def test_long_text_ends_with_an_ellipsis() -> None:
    assert escape("x" * 2000) == "x" * (MAX_CHARACTERS - 1) + "…"
    assert shorten("x" * 400, 300) == "x" * 299 + "…"
    assert shorten("x" * 300, 300) == "x" * 300


def test_rows_that_a_table_leaves_out_are_counted() -> None:
    data = house(START, START + DAY)
    alerts = [{"reading_time": (START + i * DAY / 40).isoformat(), "message": f"m{i}"} for i in range(30)]
    source = unescaped(markdown_of(content_of(replace(data, alerts=alerts)), ()))
    assert source.count("| m") == 25
    assert "… and 5 more (see the Excel report)." in source
    counted = unescaped(markdown_of(content_of(replace(data, alerts=alerts, alerts_total=35)), ()))
    assert "… and 10 more (see the Excel report)." in counted
    assert "… and" not in markdown_of(content_of(replace(data, alerts=alerts[:25])), ())
