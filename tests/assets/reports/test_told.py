"""Every figure in the text of a report is in its JSON, in every language."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from assets.reports import LANGUAGES, FleetInput, LanguageCode
from assets.reports.compose import compose
from assets.reports.content import ReportContent
from assets.reports.document import DRAWINGS, markdown_of
from assets.reports.fleet import compose_fleet
from assets.reports.fleet_content import FleetContent
from assets.reports.fleet_document import markdown_of as markdown_of_fleet
from assets.reports.formatting import Language
from assets.reports.look import language
from assets.reports.measures import Measured
from tests.assets.reports.test_markdown import unescaped
from tests.assets.reports.test_urgent import frozen, predicted
from tests.support.report_factories import PARIS
from tests.support.report_pictures import CASES

# Shares of a forecast's band, percentages of methods and the like stand in the texts themselves.
SMALL = {str(i) for i in range(1, 26)}


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize(
    "case", ["everything", "house", "sun", "fleet", "fleet-glitch", "glitch", "predicted", "frozen"]
)
def test_every_figure_in_the_text_is_in_the_json(case: str, code: LanguageCode) -> None:
    words, data = language(code), (CASES | {"predicted": predicted, "frozen": frozen})[case]()
    content: ReportContent | FleetContent
    if isinstance(data, FleetInput):
        content = compose_fleet(data, code)
        text = markdown_of_fleet(content, {"ranking", "energy"})
    else:
        content = compose(Measured.of(data), words)
        measured = {series.metric for series in content.series}
        text = markdown_of(content, set(DRAWINGS) - ({"voltage", "others"} - measured))
    text = unescaped(re.sub(r"\A---.*?\n---\n", "", text, flags=re.DOTALL))
    found = list(_tokens(re.sub(r'widths="[^"]*"', "", text), code))
    known = _known(content, words) | SMALL
    assert [token for token in found if token not in known] == []
    assert len(set(found)) > 30


def _known(content: ReportContent | FleetContent, words: Language) -> set[str]:
    """The numbers that the report may write: of its JSON, and of its texts, times, names and keys."""
    json, written = content.model_dump(mode="json"), set()
    for value in _numbers(json):
        size = abs(value)
        written |= {words.plain(value), words.percent(value), words.percent(size), words.change(value)}
        written |= {words.points(value), words.figure(value), words.duration(size), words.duration(size * 3600)}
        written |= {words.number(value, digits) for digits in (1, 2)}
        written |= {words.plain(round(value, 3)), *(words.quantity(value, unit) for unit in ("W", "kWh", "h", ""))}
    told = [*words.texts.all, *_texts(json), words.period(content.period), *written]
    if isinstance(content, ReportContent):
        told += [(file.sha256 or "")[:19] for file in content.files]
    else:
        # A long table is told by month, and a chart's last bar is that of the others together.
        told += [words.plain(len(content.devices))]
    for moment in _moments(content):
        told += [words.clock(moment, PARIS), words.date_time(moment, PARIS)]
        told += [words.day(day.astimezone(PARIS).date()) for day in (moment, moment - timedelta(hours=1))]
    return {token for one in told for token in _tokens(one, words.code)}


def _tokens(text: str, code: str) -> Iterator[str]:
    group, decimal = (",", ".") if code == "en" else (".", ",")
    number = rf"(?<![\w.,/_-])\d[\d{group}]*(?:\{decimal}\d+)?(?![\w/_-])"
    for token in re.findall(number, text.replace("\u00a0", " ")):
        yield token.rstrip(".,")


def _numbers(data: Any) -> Iterator[float]:
    if isinstance(data, dict):
        for value in data.values():
            yield from _numbers(value)
    elif isinstance(data, list):
        yield float(len(data))
        for value in data:
            yield from _numbers(value)
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield float(data)


def _texts(data: Any) -> Iterator[str]:
    for value in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        if isinstance(value, str):
            yield value
        yield from _texts(value)


def _moments(data: Any) -> Iterator[datetime]:
    values: Iterable[Any] = ()
    if hasattr(data, "model_fields_set"):
        values = data.__dict__.values()
    elif isinstance(data, list):
        values = data
    for value in values:
        if isinstance(value, datetime):
            yield value
        elif not isinstance(value, str | int | float):
            yield from _moments(value)
