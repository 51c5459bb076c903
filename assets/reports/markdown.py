"""The environment of the report's template: Markdown in which every value is only text, for Quarto and for pandoc.

Whoever names a device must not be able to run anything in its report. So the template runs in Jinja's sandbox and every
value that it prints is escaped, whether or not its author thinks of it. No filter prints a value as it is.
"""

import re
from collections.abc import Callable, Mapping

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from assets.reports.content import Period
from assets.reports.errors import ReportError
from assets.reports.formatting import DASH, Language
from assets.reports.look import TEMPLATES, Look

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
        return DASH
    return _PUNCTUATION.sub(r"\\\1", shorten(_SPACES.sub(" ", str(value)), MAX_CHARACTERS))


def shorten(text: str, length: int) -> str:
    """The text, cut to that many characters with an ellipsis at the end."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def without_shortcodes(rendered: str) -> str:
    """Front matter in which Quarto finds no shortcode: it looks for them there even in escaped text."""
    return _BETWEEN_BRACES.sub("\u2060", rendered)


def with_shortcodes(rendered: str) -> str:
    """The source without what `without_shortcodes` put in, for pandoc alone, which knows no shortcodes."""
    return rendered.replace("\\{\u2060", "\\{")


def rendered(look: Look, language: Language, template: str, values: Mapping[str, object]) -> str:
    """The template's Markdown.

    Raises:
        ReportError: a file of the look's own folder cannot be used.

    """
    try:
        return environment(look, language).get_template(template).render(values)
    except Exception as error:  # whatever a template of the plant's own does wrong, its author has to know
        if look.is_own:
            raise
        raise ReportError(_what_is_wrong(error, template)) from error


def _what_is_wrong(error: Exception, template: str) -> str:
    name, line, what = template, "", str(error)
    if isinstance(error, TemplateSyntaxError):
        name, line = error.name or template, f", line {error.lineno}"
    elif isinstance(error, TemplateNotFound):
        what = f"there is no file {error.name} that it can include"
    elif isinstance(error, RecursionError):
        what = "it includes or extends itself"
    return (
        f"{name} of REPORT_TEMPLATE cannot be used{line}: {what.rstrip('.')}. Correct it, or take REPORT_TEMPLATE away."
    )


def environment(look: Look, language: Language) -> Environment:
    """Jinja's environment for the report's template; its filters are the methods of the language."""
    jinja = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader(
            # A restyled template extends the one it takes the place of as `base/report.qmd`.
            [FileSystemLoader(look.folders), PrefixLoader({"base": FileSystemLoader(TEMPLATES)})]
        ),
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.globals["say"] = language.say
    jinja.filters |= _filters(language)
    return jinja


def _filters(language: Language) -> dict[str, Callable[..., object]]:
    return {
        "change": language.change,
        "clock": language.clock,
        "compact": language.compact,
        "compared": language.compared,
        "count": language.count,
        "date_time": language.date_time,
        "day": language.day,
        "duration": language.duration,
        "earlier": lambda figure: language.value_of(figure.key, figure.earlier, figure.unit),
        "energy_label": language.energy_label,
        "enumerated": language.enumerated,
        "figure": language.figure,
        "interval": language.interval,
        "caveat": language.caveat,
        "kpi": language.kpi,
        "metric": language.metric,
        "month": language.month,
        "named": lambda name, kind: language.name_of(kind, name),
        "percent": language.percent,
        "period": language.period,
        "period_of": lambda part, zone: language.period(Period(start=part.start, end=part.end, tz=zone)),
        "plain": language.plain,
        "quantity": language.quantity,
        "shorten": shorten,
        "state": language.state,
        "tally": language.tally,
        "title": language.title,
        "weekday": language.weekday,
        "without_shortcodes": without_shortcodes,
        "zone": language.zone,
    }
