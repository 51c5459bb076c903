"""The environment of the report's template: Markdown in which every value is only text, for Quarto and for pandoc.

Whoever names a device must not be able to run anything in its report. So the template runs in Jinja's sandbox and every
value that it prints is escaped, whether or not its author thinks of it. No filter prints a value as it is.
"""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from assets.reports import formatting

TEMPLATES = Path(__file__).parent / "templates"
MAX_CHARACTERS = 1000
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# A no-break space stays: it joins a number and its unit.
_BETWEEN_BRACES = re.compile(r"(?<=\\\{)(?=\\\{)")
_SPACES = re.compile(r"[^\S\u00a0]+")


def escape(value: object) -> str:
    """The value as Markdown that prints it as it is: on one line, with every ASCII punctuation mark escaped.

    None becomes a dash. Text of more than `MAX_CHARACTERS` is cut.
    """
    if value is None:
        return formatting.DASH
    return _PUNCTUATION.sub(r"\\\1", shorten(_SPACES.sub(" ", str(value)), MAX_CHARACTERS))


def shorten(text: str, length: int) -> str:
    """The text, cut to that many characters with an ellipsis at the end."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def without_shortcodes(rendered: str) -> str:
    """Front matter in which Quarto finds no shortcode: it looks for them there even in escaped text."""
    return _BETWEEN_BRACES.sub("\u2060", rendered)


@cache
def environment() -> Environment:
    """Jinja's environment for the report's template; the names of its filters are those of `formatting`."""
    jinja = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {
        "clock": formatting.clock,
        "count": formatting.count,
        "date_time": formatting.date_time,
        "day": formatting.day_name,
        "duration": formatting.duration,
        "interval": formatting.interval,
        "figure": formatting.figure,
        "kpi": formatting.kpi_value,
        "metric": formatting.metric_name,
        "percent": formatting.percent,
        "period": formatting.period_words,
        "plain": formatting.plain,
        "quantity": formatting.quantity,
        "shorten": shorten,
        "tally": formatting.tally,
        "without_shortcodes": without_shortcodes,
        "zone": formatting.zone_words,
    }
    return jinja
