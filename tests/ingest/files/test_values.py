import math
from contextlib import suppress

import pytest
from hypothesis import assume, given, strategies as st

from ingest.files.values import NumberFormat, has_decimal_comma, has_decimal_point

POINT, COMMA = NumberFormat.of(".", None), NumberFormat.of(",", None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e3", 1000), ("+5", 5), (" 1.5 ", 1.5), (".5", 0.5), ("5.", 5), ("-0", 0), ("1E-2", 0.01), (7, 7), (True, None),
     ("", "missing"), ("NaN", "missing"), ("n/a", "missing"), (None, "missing"), (math.nan, "missing"),
     ("1,250.5", None), ("1_250", None), ("0x10", None), ("inf", None), ("-Infinity", None), ("1e400", None),
     (math.inf, None), ("1 2", None), ("١٢", None), ("1.2.3", None), ("12\0", None), (b"1", None), ([], None)],
)  # fmt: skip
def test_numbers_with_a_point(text: object, number: float | str | None) -> None:
    if number is None:
        with pytest.raises(ValueError, match="is not a"):
            POINT.parse(text)
    else:
        assert POINT.parse(text) == (None if number == "missing" else number)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,5", 1.5), ("1.250,5", 1250.5), ("1.250", 1250), ("1 250,5", 1250.5), ("1\u00a0250", 1250), ("1'250,5", 1250.5),
     ("1,250.5", None), ("1.25", None), ("12.50,1", None), ("1,2,3", None), ("-7,25e1", -72.5)],
)  # fmt: skip
def test_numbers_with_a_comma(text: str, number: float | None) -> None:
    if number is None:
        with pytest.raises(ValueError, match="is not a number"):
            COMMA.parse(text)
    else:
        assert COMMA.parse(text) == number


@given(number=st.floats(-1e15, 1e15), places=st.integers(0, 6))
def test_a_number_is_the_same_in_every_notation(number: float, places: int) -> None:
    english = f"{number:,.{places}f}"
    german = english.translate(str.maketrans(",.", ".,"))
    plain = english.replace(",", "")
    assert POINT.parse(plain) == float(plain)
    assert NumberFormat.of(".", ",").parse(english) == float(plain)
    assert COMMA.parse(german) == float(plain)
    assert COMMA.parse(plain.replace(".", ",")) == float(plain)


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_a_reason(text: str) -> None:
    for numbers in (POINT, COMMA):
        with suppress(ValueError):
            number = numbers.parse(text)
            assert number is None or math.isfinite(number)


@given(st.floats(-1e6, 1e6))
def test_no_text_shows_both_marks(number: float) -> None:
    text = f"{number:.4f}"
    assume(text)
    assert has_decimal_point(text)
    assert not has_decimal_comma(text)
    assert has_decimal_comma(text.replace(".", ","))
    assert not has_decimal_point(text.replace(".", ","))
    assert not has_decimal_comma("1,250")
