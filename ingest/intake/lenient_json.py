"""JSON with bare nan and inf, which some devices send for one broken channel of a good reading."""

import json
import re
from typing import Any

# Strings too, so that what they hold stays as it is.
_string_or_not_finite = re.compile(r'"(?:[^"\\]|\\.)*"|[+-]?\b(?:nan|inf(?:inity)?)\b', re.IGNORECASE | re.DOTALL)


def decode_leniently(payload: bytes) -> Any:
    """The value of JSON that may hold bare nan and inf.

    Raises:
        ValueError: it is not JSON either; the text says where, for the quarantine.

    """
    try:
        return json.loads(_string_or_not_finite.sub(_as_python_reads_it, payload.decode()))
    except json.JSONDecodeError as error:
        where = f"look at line {error.lineno}, character {error.colno}"
        raise ValueError(f"the payload is not valid JSON: {where}") from None
    except (ValueError, RecursionError):
        problem = "it is not UTF-8 text, is nested too deeply, or has a number that is too long"
        raise ValueError(f"the payload is not valid JSON: {problem}") from None


def _as_python_reads_it(match: re.Match[str]) -> str:
    text = match[0]
    if text.startswith('"'):
        return text
    if "nan" in text.lower():
        return "NaN"
    return "-Infinity" if text.startswith("-") else "Infinity"
