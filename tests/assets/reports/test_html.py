import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assets.reports import Report, ReportInput, build_report
from tests.assets.reports.test_pdf import EMPTY, HOSTILE, NOON
from tests.support.report_factories import DAY, START, bare, house, steady

LIMITS: dict[str, Any] = {"timeout_seconds": 60, "max_bytes": 10**7, "progress": lambda *_: None}


def html(data: ReportInput, folder: Path, **options: Any) -> Report:
    folder.mkdir(exist_ok=True)
    return build_report(data, "html", folder=folder, quarto=None, **LIMITS, **options)


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(report.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_house_for_a_week(tmp_path: Path) -> None:
    report = html(house(), tmp_path / "a")
    page = Page(report)
    assert (report.media_type, report.suffix, report.facts["renderer"]) == ("text/html", "html", "pandoc")
    assert page.tags[0] == ("html", {"lang": "en"})
    assert "Energy report: House A, main feeder (HOUSE-A)" in page.text
    for words in ("301.7 kWh", "8.70 kW", "5 high", "Sat 23 Dec, 13:36", "report-0123456789ab"):
        assert words in page.text
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) >= 4
    assert all(chart["aria-label"] for chart in charts)
    assert html(house(), tmp_path / "b").content == report.content


def test_the_file_needs_nothing_else(tmp_path: Path) -> None:
    report = html(house(START, START + DAY), tmp_path)
    page = Page(report)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form"}
    outside = re.findall(rb"""(?:src|href)=["'](?!data:|#)[^"']*|url\((?!data:|#|"?#)[^)]*""", report.content)
    assert [one for one in outside if not one.startswith(b'href="http://www.w3.org')] == []


def test_nobody_who_names_a_device_runs_anything_in_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of-the-server")
    (tmp_path / "s.txt").write_text("of-the-folder")
    hostile = HOSTILE + "<script>alert(1)</script><img src=x onerror=alert(1)>"
    data = bare(
        NOON, NOON + DAY, steady(NOON, NOON + DAY), device_name=hostile, device_type=hostile, location=hostile,
        alerts=[{**house().alerts[0], "message": hostile, "rule": {"rule_name": hostile}}],
        analyses={"prediction": {"missing": hostile}},
    )  # fmt: skip
    page = Page(html(data, tmp_path / "job"))
    assert "<script>alert(1)</script>" in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "img", "a", "b"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "of-the" not in page.text


def test_texts_that_need_a_font_are_named_at_the_end(tmp_path: Path) -> None:
    note = "If boxes stand in place of these texts"
    text = Page(html(replace(EMPTY, device_name="เครื่อง पंप 机械"), tmp_path / "a")).text
    assert note in text
    assert "เครื่อง (Thai U+0E40" in text
    assert "(Devanagari" not in text, "its font is in the file"
    assert note not in Page(html(replace(EMPTY, device_name="Ölpumpe Ω"), tmp_path / "b")).text


def test_the_title_has_the_braces_of_a_name_as_they_are(tmp_path: Path) -> None:
    report = html(replace(EMPTY, device_name="{{7*7}} {{{pump}}}"), tmp_path)
    title = re.search(r"<title>(.*)</title>", report.content.decode())
    assert title
    assert "{{7*7}} {{{pump}}}" in title[1]
    assert "\u2060" not in report.content.decode()


def test_a_report_without_readings(tmp_path: Path) -> None:
    assert "This device has no readings in this period." in Page(html(EMPTY, tmp_path)).text


def test_no_other_file_becomes_a_part_of_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "look"
    folder.mkdir()
    (tmp_path / "s.svg").write_text("<svg>of-the-folder</svg>")
    (folder / "summary.qmd").write_text("![x](../s.svg){fig-alt=x}\n")
    assert b"of-the-folder" not in html(EMPTY, tmp_path / "job", template=folder).content
