"""Reports in English and German, and reports that a folder restyles."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assets.reports import LANGUAGES, ReportError, build_report, figures, write_template
from assets.reports.canvas import A4, SCREEN, Paper, Pen
from assets.reports.compose import compose
from assets.reports.document import DRAWINGS, markdown_of
from assets.reports.fleet import compose_fleet
from assets.reports.fleet_document import markdown_of as fleet_markdown
from assets.reports.look import TEMPLATES, Look, language
from assets.reports.measures import Measured
from assets.reports.texts import Texts
from tests.assets.reports.test_fleet import HALL, fleet
from tests.assets.reports.test_html import LIMITS, Page
from tests.assets.reports.test_markdown import unescaped
from tests.assets.reports.test_pdf import EMPTY, HOSTILE
from tests.support.report_factories import DAY, MINUTE, PARIS, bare, content_of, house, steady

USED = re.compile(r"""say\(\s*"([a-z_.0-9]+)"(?=[,)]| if )(?: if .*? else "([a-z_.0-9]+)")?""")


def texts(code: str) -> Texts:
    return Texts(TEMPLATES / "texts" / f"{code}.toml")


def written_in(code: Any, data: Any = None) -> str:
    return unescaped(markdown_of(compose(Measured.of(data or house()), language(code)), DRAWINGS))


def test_every_language_has_every_text_with_the_same_values() -> None:
    english = texts("en")
    for code in LANGUAGES:
        other = texts(code)
        assert other.names == english.names
        for key in english.names:
            found = [set(re.findall(r"\{(\w+)\}", one.raw(key))) for one in (english, other)]
            assert found[0] == found[1], key


def test_every_text_that_the_template_says_is_there() -> None:
    known = texts("en").names
    for file in TEMPLATES.glob("*.qmd"):
        for pair in USED.findall(file.read_text("utf-8")):
            assert {key for key in pair if key} <= known, file.name


def test_no_english_sentence_is_in_a_german_report() -> None:
    german, english = written_in("de"), texts("en")
    pieces = {
        piece.strip()
        for key in english.names - texts_alike()
        for piece in re.split(r"\{\w+\}", english.raw(key))
        if re.search(r"[a-z]{2,}\W+[a-z]{2,}", piece)
    }
    assert len(pieces) > 100
    assert [piece for piece in sorted(pieces) if piece in german] == []
    assert "Das Gerät hat 301,7\u00a0kWh verbraucht" in german
    assert "lang: de" in german


def texts_alike() -> set[str]:
    """Keys whose text is the same in both languages, such as a model's name."""
    english, german = texts("en"), texts("de")
    return {key for key in english.names if english.raw(key) == german.raw(key)}


@pytest.mark.parametrize("paper", [A4, SCREEN])
def test_the_days_below_a_figure_do_not_touch_at_the_turn_of_a_month(paper: Paper) -> None:
    start = datetime(2026, 10, 19, tzinfo=PARIS)
    content = content_of(bare(start, start + 14 * DAY, steady(start, start + 14 * DAY, step=15 * MINUTE)))
    svg = figures.profile(content, "power", Pen(paper, Look().colours, language("de")))
    assert svg
    assert "29. Okt<" in svg
    assert "1. Nov<" in svg
    assert "31. Okt<" not in svg


def test_values_that_hardly_differ_have_short_numbers_beside_their_axis() -> None:
    pen = Pen(A4, Look().colours, language("en"))
    figure, (axis,) = pen.canvas()
    axis.plot([0, 1], [0.999997, 1.000002])
    pen.label(axis, "1")
    figure.canvas.draw()
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= len("0.9985")


def test_numbers_and_dates_of_german() -> None:
    german = written_in("de")
    assert "10.080 Messwerte" in german
    assert "17. \u2013 23. Dezember 2006" in german
    assert "Sa 23. Dez, 23:36" in german


def test_a_text_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "en.toml"
    file.write_text('a = "{x} {x.__class__} {x!r:>{x}}"')
    assert Texts(file).say("a", x="{y}") == "{y} {x.__class__} {x!r:>{y}}"


def test_a_folder_restyles_reports(tmp_path: Path) -> None:
    look = tmp_path / "look"
    files = write_template(look)
    assert {file.relative_to(look).as_posix() for file in files} == {
        file.relative_to(TEMPLATES).as_posix() for file in TEMPLATES.rglob("*") if file.is_file()
    }
    assert write_template(look) == []
    (look / "theme.toml").write_text('accent = "#aa0011"')
    (look / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (look / "texts/en.toml").write_text('[heading]\nsummary = "In a nutshell"')
    (look / "report.qmd").write_text(
        '{% extends "base/report.qmd" %}{% block methods %}{{ report.device.name }}{% endblock %}'
    )
    (tmp_path / "job").mkdir()
    report = build_report(house(), "html", folder=tmp_path / "job", quarto=None, template=look, **LIMITS)
    page = Page(report)
    assert "In a nutshell" in page.text
    assert "Methods and sources" not in page.text
    assert b"--accent: #aa0011" in report.content
    assert b"#aa0011" in report.content.split(b"<svg")[2]  # a chart
    assert any(tag == "img" and (attributes["src"] or "").startswith("data:image/svg") for tag, attributes in page.tags)


@pytest.mark.parametrize("kind", ["html", "pdf"])
def test_names_stay_text_in_a_restyled_report(kind: str, tmp_path: Path) -> None:
    look = tmp_path / "look"
    look.mkdir()
    (look / "summary.qmd").write_text("{{ report.device.name }} {{ report.device.name | upper }}\n")
    (tmp_path / "job").mkdir()
    data = house()
    data = type(data)(**{**data.__dict__, "device_name": HOSTILE})
    report = build_report(data, kind, folder=tmp_path / "job", quarto=None, template=look, **LIMITS)
    assert report.content
    source = unescaped((tmp_path / "job/report.qmd").read_text("utf-8"))
    assert source.count('#read("s.txt")') >= 3
    if kind == "html":
        assert not {tag for tag, _ in Page(report).tags} & {"a", "b", "script"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("theme.toml", 'accent = "red"', "accent is 'red', not a colour"),
        ("theme.toml", "accent = ", "is not valid TOML"),
        ("texts/en.toml", "a = ", "is not valid TOML"),
        ("texts/en.toml", "a = 1", "a is not a text. Put it in quotes"),
        ("report.qmd", "{{ report.__class__ }}", "report.qmd of REPORT_TEMPLATE cannot be used"),
        ("report.qmd", "{% if %}", "report.qmd of REPORT_TEMPLATE cannot be used, line 1"),
        ("report.qmd", "{{ say('no.such') }}", "there is no text no.such"),
        ("report.qmd", "{{ 1 / 0 }}", "report.qmd of REPORT_TEMPLATE cannot be used: division by zero"),
        ("report.qmd", "{% for i in range(10**9) %}{% endfor %}", "cannot be used: Range too big"),
        ("report.qmd", "{% include '/etc/passwd' %}", "there is no file /etc/passwd that it can include. Correct"),
        ("report.qmd", "{% include 'report.qmd' %}", "it includes or extends itself"),
    ],
)
def test_a_wrong_file_of_the_folder_is_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    look = tmp_path / "look"
    (look / "texts").mkdir(parents=True)
    (look / name).write_text(content)
    (tmp_path / "job").mkdir()
    with pytest.raises(ReportError, match=message):
        build_report(EMPTY, "html", folder=tmp_path / "job", quarto=None, template=look, **LIMITS)


@pytest.mark.parametrize(
    ("name", "content"), [("logo.png", "not a picture"), ("logo.svg", "<svg"), ("typst-template.typ", "#let x =")]
)
def test_what_typst_cannot_use_is_said_without_a_traceback(name: str, content: str, tmp_path: Path) -> None:
    for folder in ("look", "job"):
        (tmp_path / folder).mkdir()
    (tmp_path / "look" / name).write_text(content)
    with pytest.raises(ReportError, match="typst could not make the PDF") as error:
        build_report(EMPTY, "pdf", folder=tmp_path / "job", quarto=None, template=tmp_path / "look", **LIMITS)
    assert "Traceback" not in str(error.value)
    assert 'File "' not in str(error.value)


def test_a_wrong_layout_of_fleet_reports_is_named(tmp_path: Path) -> None:
    (tmp_path / "fleet.qmd").write_text("{{ nobody.knows }}")
    with pytest.raises(ReportError, match=r"fleet.qmd of REPORT_TEMPLATE cannot be used: 'nobody' is undefined"):
        fleet_markdown(compose_fleet(fleet(*HALL), "en"), (), Look(tmp_path))


def test_the_look_without_a_folder() -> None:
    assert Look().logo is None
    assert set(Look().colours) >= {"ink", "accent", "signal"}
