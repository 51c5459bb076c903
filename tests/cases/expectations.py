"""What a case must answer: paths into the answers, and conditions on the values found there (`README.md`)."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

MISSING = object()


def failures(answers: Any, expected: Any) -> list[str]:
    """What does not hold; of a list of expectations one must hold altogether."""
    if isinstance(expected, list):
        found = [failures(answers, one) for one in expected]
        return [] if any(not one for one in found) else [f"none holds: {found}"]
    wrong = []
    for path, condition in expected.items():
        values = list(_at(answers, path.split("/"))) or [MISSING]
        wrong += [f"{path} is {_cut(v)}, not {condition}" for v in values if not holds(v, condition)]
    return wrong


def holds(value: Any, condition: Any) -> bool:
    """Whether a value meets a condition: itself, or an object of tests that all must hold."""
    if not isinstance(condition, dict):
        return (value is MISSING and condition is None) or value == condition
    return all(_test(value, name, wanted, condition) for name, wanted in condition.items())


def _test(value: Any, name: str, wanted: Any, condition: Mapping[str, Any]) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    elements = list(value.values() if isinstance(value, Mapping) else value) if _is_many(value) else []
    text = str(value)
    tests: dict[str, Callable[[], bool]] = {
        "about": lambda: is_number and abs(value - wanted) <= condition["within"],
        "within": lambda: True,
        "min": lambda: is_number and value >= wanted,
        "max": lambda: is_number and value <= wanted,
        "size": lambda: _is_many(value) and holds(len(elements), wanted),
        "match": lambda: re.search(wanted, text) is not None,
        "unlike": lambda: re.search(wanted, text) is None,
        "not": lambda: not holds(value, wanted),
        "any": lambda: any(holds(value, one) for one in wanted),
        "all": lambda: all(holds(value, one) for one in wanted),
        "each": lambda: all(holds(one, wanted) for one in elements),
        "some": lambda: any(holds(one, wanted) for one in elements),
        "none": lambda: not any(holds(one, wanted) for one in elements),
    }
    return tests[name]()


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield value
        return
    name, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        names = [n for n in value if fnmatchcase(n, name)] if set(name) & set("*[") else [name] if name in value else []
        for one in names:
            yield from _at(value[one], rest)
    elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
        yield from _at(value[int(name)], rest)


def _is_many(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _cut(value: Any) -> str:
    return "missing" if value is MISSING else str(value)[:300]
