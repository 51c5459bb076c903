"""Numbers as files write them."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

# What stands for a missing value, in small letters.
MISSING = frozenset(["", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "-"])
# Marks between groups of three digits that nothing else can mean, beside the other of . and ,
BLANKS_AND_QUOTES = " \u00a0\u202f'\u2019"

_decimal_comma = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[.\s'\u2019]\d{3})+),\d+")
_decimal_point = re.compile(r"[+-]?(?:\d*\.(?:\d{1,2}|\d{4,})|\d{1,3}(?:,\d{3})+\.\d+|\d+(?:\.\d+)?[eE][+-]?\d+)")
_grouped = re.compile(r"[+-]?\d{1,3}(?:[,.\s'\u2019]\d{3})+(?:[.,]\d+)?")


@dataclass(frozen=True)
class NumberFormat:
    """How a file writes numbers. `thousands` are the marks that may stand between groups of three digits."""

    decimal: str = "."
    thousands: str = ""

    @classmethod
    def of(cls, decimal: str, thousands: str | None) -> "NumberFormat":
        """With a decimal comma, points, blanks and quotes can only be marks of thousands."""
        usual = f".{BLANKS_AND_QUOTES}" if decimal == "," else ""
        return cls(decimal, usual if thousands is None else thousands)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        digits = rf"\d{{1,3}}(?:[{re.escape(self.thousands)}]\d{{3}})+|\d+" if self.thousands else r"\d+"
        mark = re.escape(self.decimal)
        return re.compile(rf"[+-]?(?:(?:{digits})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?", re.ASCII)

    def parse(self, value: Any) -> float | None:
        """The number; None if the value is missing.

        Raises:
            ValueError: it is not a finite number.

        """
        if value is None:
            return None
        if isinstance(value, str):
            text = value.strip()
            if text.lower() in MISSING:
                return None
            if not self._pattern.fullmatch(text):
                raise ValueError(f"{text!r:.60} is not a number{self._advice(text)}")
            for mark in self.thousands:
                text = text.replace(mark, "")
            number = float(text.replace(self.decimal, "."))
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isnan(number):
                return None
        else:
            raise ValueError(f"{value!r:.60} is not a number")  # noqa: TRY004 - a value of the file that is wrong
        if math.isinf(number):
            raise ValueError(f"{value!r:.60} is not a finite number")
        return number

    def _advice(self, text: str) -> str:
        advice = ""
        if self.decimal == "." and _decimal_comma.fullmatch(text):
            advice = ". If the comma is the decimal mark, set --decimal ','."
        if _grouped.fullmatch(text):
            mark = next(c for c in text.lstrip("+-") if not c.isdigit())
            advice += f"{'' if advice else '.'} If {mark!r} stands between thousands, set --thousands {mark!r}."
        return advice


def has_decimal_comma(text: str) -> bool:
    """Whether a text can only be a number with a decimal comma."""
    return _decimal_comma.fullmatch(text) is not None and not re.fullmatch(r"[+-]?\d{1,3},\d{3}", text)


def has_decimal_point(text: str) -> bool:
    """Whether a text can only be a number with a decimal point."""
    return _decimal_point.fullmatch(text) is not None
