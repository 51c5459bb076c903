import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pypdf
import pytest

from assets.reports import Report, ReportError, ReportInput, build_report, glyphs, script_fonts
from tests.support.report_factories import DAY, MINUTE, PARIS, START, bare, house, steady, table
from tests.support.servers import wait_until

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
EMPTY = bare(NOON, NOON + DAY)
HOSTILE = (
    '`#read("s.txt")`{=typst} {{< env SECRET >}} #read("s.txt") $x$ <b>&amp; | \\ \x00\x1b[31m \u202egnp.exe @fig-1'
    " [l](http://x.test) ![i](s.txt) ::: {.callout} --- ... ~~x~~ =1+1"
)


def pdf(data: ReportInput, folder: Path, quarto: Path | None = None, **budget: Any) -> Report:
    folder.mkdir(exist_ok=True)
    limits: dict[str, Any] = {"timeout_seconds": 60, "max_bytes": 10**7, "progress": lambda *_: None} | budget
    return build_report(data, "pdf", folder=folder, quarto=quarto, **limits)


def pages(report: Report) -> list[str]:
    """The text of each page, with single spaces."""
    return [re.sub(r"\s+", " ", page.extract_text()) for page in pypdf.PdfReader(io.BytesIO(report.content)).pages]


def test_the_house_for_a_week(tmp_path: Path) -> None:
    report = pdf(house(), tmp_path / "a")
    found = pages(report)
    assert report.media_type == "application/pdf"
    assert (report.facts["pages"], len(found), report.facts["renderer"]) == (5, 5, "pandoc and typst")
    assert re.match(r"ENERGY REPORT House A, main feeder feeder, Sceaux, France Period 17 . 23 December 2006", found[0])
    for words in ("Device HOUSE-A", "Europe/Paris (UTC+01)", "report-0123456789ab", "301.7 kWh", "8.70 kW", "5 high"):
        assert words in found[0]
    for page in found[1:]:
        assert page.startswith("House A, main feeder (HOUSE-A) 17")
    whole = " ".join(found)
    for words in (
        "Total 301.7 168.0 h 10,080",
        "Nominal band",
        "Sat 23 Dec, 13:36 1 h 27 min",
        "voltage is 219.441",
    ):
        assert words in whole
    assert "Page 5 of 5" in found[4]
    facts = pypdf.PdfReader(io.BytesIO(report.content)).metadata
    assert facts is not None
    assert facts.title == "Energy report: House A, main feeder (HOUSE-A)"
    assert str(facts["/Keywords"]) == "report-0123456789ab"
    assert facts.creation_date == house().generated_at


def test_equal_input_is_an_equal_file(tmp_path: Path) -> None:
    data = house(START, START + DAY)
    assert pdf(data, tmp_path / "a").content == pdf(data, tmp_path / "b").content


def test_the_file_is_tagged_and_has_its_language(tmp_path: Path) -> None:
    reader = pypdf.PdfReader(io.BytesIO(pdf(house(START, START + DAY), tmp_path, language="de").content))
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"] == {"/Marked": True}, "with Suspects, false as by default, pdftoppm reports an error"
    assert str(root["/Lang"]) == "de"
    tags = set(_tags(root["/StructTreeRoot"]))
    assert {"/H1", "/P", "/Table", "/TH", "/TD", "/L", "/Figure"} <= tags


def _tags(node: Any) -> Iterator[str]:
    """The kinds of a structure element and of all below it."""
    if "/S" in node:
        yield str(node["/S"])
    children = node.get("/K", [])
    for child in children if isinstance(children, list) else [children]:
        below = child.get_object()
        if isinstance(below, dict):
            yield from _tags(below)


def test_nobody_who_names_a_device_runs_anything_in_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of-the-server")
    (tmp_path / "s.txt").write_text("of-the-folder")
    alert = {**house().alerts[0], "message": HOSTILE, "rule": {"rule_name": HOSTILE}}
    missing = {"missing": HOSTILE}
    report = pdf(
        bare(
            NOON, NOON + DAY, steady(NOON, NOON + DAY), device_name=HOSTILE, device_type=HOSTILE, location=HOSTILE,
            alerts=[alert], analyses={"anomaly": missing, "prediction": missing}, counters={},
        ),
        tmp_path,
    )  # fmt: skip
    text = " ".join(pages(report))
    assert "of-the" not in text
    assert text.count('#read("s.txt")') >= 10
    assert text.count("{{< env SECRET >}}") >= 4
    assert b"x.test" not in b"".join(re.findall(rb"/URI ?\([^)]*\)", report.content))
    assert "\u202e" not in text


@pytest.mark.parametrize("name", ["x" * 255, "Ω-Pumpe № 5 groß العربية", "=1+1", "-", "1. a", "'"])
def test_any_name_makes_a_report(name: str, tmp_path: Path) -> None:
    page, *_ = pages(pdf(replace(EMPTY, device_name=name), tmp_path))
    assert f"ENERGY REPORT {name[:8]}" in page


def test_a_name_in_letters_that_no_font_of_the_machine_may_have(tmp_path: Path) -> None:
    report = pdf(replace(EMPTY, device_name="工" * 200), tmp_path)
    facts = pypdf.PdfReader(io.BytesIO(report.content)).metadata
    assert facts is not None
    assert str(facts.title).startswith("Energy report: 工工工")
    assert "ENERGY REPORT" in pages(report)[0]


def test_dates_and_long_words_stay_text_in_their_cells(tmp_path: Path) -> None:
    """Typst would make an item of a list of `2. Februar`, and write a long word over the next cell."""
    alert = {**house().alerts[0], "rule": {"rule_name": "W" * 40}}
    data = bare(datetime(2026, 2, 2, tzinfo=PARIS), datetime(2026, 2, 9, tzinfo=PARIS), alerts=[alert])
    text = " ".join(pages(pdf(data, tmp_path, language="de")))
    source = (tmp_path / "report.typ").read_text("utf-8")
    assert "[#[]2. -- 8. Februar 2026]" in source
    assert "#box()".join(["W" * 16, "W" * 16, "W" * 8]) in source
    assert "report-0123456789ab" in text, "what people search and copy has no invisible characters"


@pytest.mark.parametrize("is_there", [True, False])
def test_texts_without_a_font_are_named_at_the_end(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glyphs, "_of_machine", lambda: frozenset(map(ord, "เครื่อง")) if is_there else frozenset())
    text = pages(pdf(replace(EMPTY, device_name="เครื่อง 机械 संयंत्र Ω № العربية ✓"), tmp_path))[-1]
    assert ("No font was found for the script of these texts" in text) is not is_there
    assert ("(Thai U+0E40 U+0E04 U+0E23 U+0E37)" in text) is not is_there
    assert "(CJK" not in text
    assert "(Devanagari" not in text


def test_scripts_beyond_latin_have_fonts_of_their_own(tmp_path: Path) -> None:
    name = "संयंत्र 设备 設備 ポンプ 기계"
    report = pdf(replace(EMPTY, device_name=name), tmp_path)
    fonts = {str(font) for page in pypdf.PdfReader(io.BytesIO(report.content)).pages for font in _fonts(page)}
    for family in ("NotoSansDevanagari-SemiBold", "DroidSansFallback"):
        assert any(font.endswith(family) for font in fonts), fonts
    assert "No font was found" not in " ".join(pages(report))
    assert len(report.content) < 200_000, "only what it needs of a font is in a report"


def _fonts(page: Any) -> Iterator[str]:
    for font in page["/Resources"]["/Font"].values():
        yield font.get_object()["/BaseFont"]


def test_fonts_are_those_of_their_manifest() -> None:
    manifest = json.loads((script_fonts.FOLDER / "manifest.json").read_text())
    expected = {file["name"]: file["sha256"] for package in manifest for file in package["files"]}
    found = {name: hashlib.sha256((script_fonts.FOLDER / name).read_bytes()).hexdigest() for name in expected}
    assert found == expected, "`make vendor` fetches them as the manifest names them"
    assert {name for font in script_fonts.SCRIPT_FONTS for _, name in font.files} < expected.keys()


def test_a_report_without_readings_says_so_on_one_page(tmp_path: Path) -> None:
    (page,) = pages(pdf(replace(EMPTY, analyses={"forecast": {"missing": "none was completed"}}), tmp_path))
    assert "This device has no readings in this period." in page
    assert "This report does not include a forecast: none was completed." in page
    assert "Unusual behaviour" not in page


def test_a_minute_of_readings(tmp_path: Path) -> None:
    times = [NOON + i * MINUTE / 60 for i in range(60)]
    report = pdf(bare(NOON, NOON + MINUTE, table("D1", times, {"power": [1200.0] * 60})), tmp_path)
    text = " ".join(pages(report))
    assert "Period 1 Feb 2026, 13:00" in text
    assert "no quarter hour was measured well enough" in text


def test_a_day_of_25_hours(tmp_path: Path) -> None:
    start, end = datetime(2026, 10, 25, tzinfo=PARIS), datetime(2026, 10, 26, tzinfo=PARIS)
    text = " ".join(pages(pdf(bare(start, end, steady(start, end)), tmp_path)))
    assert "Period 25 October 2026" in text
    assert "Sun 25 Oct (25 h) 25.0 25.0 h 1,500" in text


def test_the_energy_of_a_year_is_by_month(tmp_path: Path) -> None:
    start = datetime(2025, 1, 1, tzinfo=PARIS)
    text = " ".join(
        pages(pdf(bare(start, start + 366 * DAY, steady(start, start + 366 * DAY, step=15 * MINUTE)), tmp_path))
    )
    assert "February 2025 672.0 672.0 h 2,688" in text
    assert "Period 1 January 2025" in text


def test_a_report_that_takes_too_long_or_is_too_large_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ReportError, match=r"not ready after 0 s\. Request a shorter period, or raise REPORT_TIMEOUT_SECONDS"
    ):
        pdf(EMPTY, tmp_path / "a", timeout_seconds=0)
    with pytest.raises(ReportError, match=r"The report is .* MB; the limit is 0\.001 MB\. .* raise MAX_REPORT_SIZE_MB"):
        pdf(EMPTY, tmp_path / "b", max_bytes=1000)


def test_the_progress_callback_may_end_the_work(tmp_path: Path) -> None:
    heard = []

    def cancelled(percent: float, message: str) -> None:
        heard.append((percent, message))
        if message == "Typesetting":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        pdf(EMPTY, tmp_path, progress=cancelled)
    assert heard == [(5, "Measuring"), (20, "Drawing"), (50, "Typesetting")]
    assert not (tmp_path / "report.typ").exists()


# The programs below stand in for Quarto.


@pytest.fixture
def renderer(tmp_path: Path) -> Callable[[str], Path]:
    def program(body: str) -> Path:
        file = tmp_path / "renderer"
        file.write_text(
            f"#!{sys.executable}\nimport json, os, subprocess, sys, time\nfrom pathlib import Path\n{body}\n"
        )
        file.chmod(0o755)
        return file

    return program


def test_a_renderer_gets_the_document_in_a_folder_of_its_own_and_no_secrets(
    renderer: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    program = renderer(
        "facts = {'arguments': sys.argv[1:], 'folder': os.getcwd(), 'environment': dict(os.environ),"
        " 'stdin': sys.stdin.read(), 'leads a group': os.getpgid(0) == os.getpid()}\n"
        "Path('facts.json').write_text(json.dumps(facts))\n"
        "Path('report.pdf').write_bytes(b'%PDF-1.7 report-0123456789ab /Type /Page')"
    )
    report = pdf(EMPTY, tmp_path / "job", program)
    facts = json.loads((tmp_path / "job/facts.json").read_text())
    assert facts["arguments"] == ["render", "report.qmd", "--to", "typst", "--no-execute"]
    assert (facts["folder"], facts["stdin"], facts["leads a group"]) == (str(tmp_path / "job"), "", True)
    environment = facts["environment"]
    assert environment["QUARTO_VERSION_REQUIREMENT"] == ">=1.9"
    assert {environment[name] for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")} == {str(tmp_path / "job")}
    assert set(environment) <= {
        "PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "SOURCE_DATE_EPOCH",
        "QUARTO_VERSION_REQUIREMENT", *(name for name in environment if name.startswith("XDG_")),
    }  # fmt: skip
    for beside in ("report.lua", "typst-template.typ", "typst-show.typ", "fonts/Inter-Regular.otf"):
        assert (tmp_path / "job" / beside).is_file()
    assert report.content.startswith(b"%PDF")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sys.exit('ERROR: the figure is not there')",
            "could not make the PDF .exit code 1.: ERROR: the figure is not there",
        ),
        ("sys.exit(3)", "exit code 3.: no output"),
        ("os.abort()", "exit code -6"),
        ("print('all is well')", "ended without an error, but wrote no PDF"),
        ("Path('report.pdf').write_text('<html>')", "wrote a file that is not a PDF"),
        (
            "Path('report.pdf').write_bytes(b'%PDF-1.7 report-ba9876543210')",
            "does not contain the report id report-0123456789ab",
        ),
    ],
)
def test_a_renderers_failure_is_reported(
    body: str, message: str, renderer: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match=message):
        pdf(EMPTY, tmp_path / "job", renderer(body))


def test_a_timeout_ends_the_renderers_children_too(renderer: Callable[[str], Path], tmp_path: Path) -> None:
    program = renderer(
        "child = subprocess.Popen(['sleep', '60'])\nPath('child').write_text(str(child.pid))\nchild.wait()"
    )
    with pytest.raises(ReportError, match=r"not ready after 1\.5 s"):
        pdf(EMPTY, tmp_path / "job", program, timeout_seconds=1.5)
    child = int((tmp_path / "job/child").read_text())
    wait_until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE,
        "the renderer's child has ended",
    )


def test_a_missing_renderer_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot be started: No such file or directory\. Correct QUARTO_PATH"):
        pdf(EMPTY, tmp_path / "job", tmp_path / "nowhere")
    (tmp_path / "text").write_text("no program")
    assert not os.access(tmp_path / "text", os.X_OK)
    with pytest.raises(ReportError, match="cannot be started: Permission denied"):
        pdf(EMPTY, tmp_path / "other", tmp_path / "text")


def test_a_long_word_stays_on_the_page(tmp_path: Path) -> None:
    word = "Transformatorenhauptverteilerstation" * 4
    alerts = [{**house().alerts[0], "rule_name": "a_rule_without_a_blank_" * 4}]
    named = replace(house(), device_name=word, location=word, alerts=alerts)
    lines: list[tuple[float, float]] = []

    def measure(text: str, _: Any, matrix: list[float], __: Any, size: float) -> None:
        if text.strip():
            lines.append((matrix[4], matrix[4] + 0.4 * size * max(map(len, text.split("\n")))))

    for page in pypdf.PdfReader(io.BytesIO(pdf(named, tmp_path / "a").content)).pages:
        page.extract_text(visitor_text=measure)
    assert max(end for _, end in lines) < 595
