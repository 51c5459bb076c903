"""One word for one thing, and plain sentences: names and phrases that the code and the docs have left behind."""

import ast
import io
import json
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from cli.main import app

ROOT = Path(__file__).resolve().parent.parent
THIS = Path(__file__).resolve()
OF_AN_OLD_RELEASE = ROOT / "tests" / "homes" / "make.py"  # runs with the code of that release, and so with its names

# Words that no identifier contains, by themselves or between underscores or capitals.
OLD_WORDS = {
    "asker", "audience", "books", "guardian", "ledger", "patience", "presence", "silence", "streak",
    "streaks", "stretch", "stretches", "timeline", "watcher", "watchers", "workshop",
}  # fmt: skip
OLD_PARTS = ("held_back", "facts_of", "device_facts", "touched_day", "intake_counts", "drawn_in")
OLD_PREFIXES = ("MOST_", "FEWEST_", "LONGEST_")
OLD_NAMES = {"Answer", "Question", "_judge", "judge", "listed", "parts_of", "perform", "trade"}
# In docs and templates, where these are English words, only what is unmistakable.
OLD_IN_TEXT = re.compile(
    r"\b(?:Workshop|Timeline|TouchedDay|SilenceWatch|DeviceFacts|IntakeCounts|PATIENCE|guardian|ledger|streaks?"
    r"|(?<!live/)watchers?|(?:MOST|FEWEST|LONGEST)_[A-Z]+|facts_of|parts_of|drawn in|intake's books)\b"
)
# Names that clients know: a table, a metric, the names of sensors, columns and fields.
CLIENTS_NAMES = {
    "held_back", "held_back_alerts", "alerts_held_back", "energy_ingest_alerts_held_back_total", "touched_days",
    "export_touched_days", "timeline", "timeline_end",
}  # fmt: skip

# Phrases that read as if they were translated, and what they are called when one is found.
PHRASES = {
    "X is no Y": r"(?<!there )(?<!There )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|later\b|earlier\b)\w+",
    "is none": r"\b(?:is|are|was|were) none\b",
    "of none": r"\bof none\b",
    "none is": r"\bnone (?:is|are|of these)\b",
    "should it": r"(?:^|[.,;:] )[Ss]hould (?:it|they|the|a|an|this|that|one)\b",
    "is told": r"\b(?:is|are|was|were|be) told\b(?! (?:to|apart)\b)|\btold of\b",
    "is to be": r"\b(?:is|are) to be\b",
    "no number": r"\b(?:as|be) no (?:number|time|date|name)\b",
    "as it stands": r"\bas (?:it|they) stands?\b",
    "whose time is over": r"\bwhose time is over\b",
    "mend": r"\bmend(?:ed)?\b",
}
PHRASE = re.compile("|".join(f"(?:{pattern})" for pattern in PHRASES.values()))


def tracked(*patterns: str) -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    files = [ROOT / name for name in names if name and "migrations/versions" not in name]
    return [file for file in files if file.exists() and file != THIS]


def is_old(name: str) -> bool:
    if name in CLIENTS_NAMES:
        return False
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return (
        name in OLD_NAMES
        or name.startswith(OLD_PREFIXES)
        or not OLD_WORDS.isdisjoint(snake.split("_"))
        or any(f"_{part}_" in f"_{snake}_" for part in OLD_PARTS)
    )


def identifiers(file: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_no_identifier_has_an_old_name() -> None:
    files = [file for file in tracked("*.py") if file != OF_AN_OLD_RELEASE]
    old = {(str(f.relative_to(ROOT)), name) for f in files for name in identifiers(f) if is_old(name)}
    assert sorted(old) == []


def test_no_text_has_an_old_name() -> None:
    files = tracked("*.md", "*.html", "*.jinja", "*.qmd", "*.typ", "*.lua", "*.yaml", "Makefile")
    old = {(str(f.relative_to(ROOT)), match.group()) for f in files for match in OLD_IN_TEXT.finditer(f.read_text())}
    assert sorted(old) == []


def test_pages_are_plain_english() -> None:
    assert complaints((file, file.read_text()) for file in tracked("*.md")) == []


def test_the_api_describes_itself_in_plain_english() -> None:
    file = ROOT / "docs" / "openapi.json"
    assert complaints((file, text) for text in descriptions(json.loads(file.read_text()))) == []


def test_the_command_line_helps_in_plain_english() -> None:
    texts = list(help_texts())
    assert len(texts) > 10
    assert complaints((ROOT / "cli", text) for text in texts) == []


def test_messages_and_descriptions_are_plain_english() -> None:
    """What is raised, logged or printed, and what Dagster shows."""
    files = tracked(*(f"{room}/*.py" for room in ("storage", "ingest", "assets", "orchestration", "serving", "cli")))
    assert complaints((file, text) for file in files for text in messages(file)) == []


def complaints(texts: Iterator[tuple[Path, str]]) -> list[str]:
    return sorted(
        {
            f"{file.relative_to(ROOT)}: {text[max(0, match.start() - 40) : match.end() + 30]}"
            for file, text in texts
            for match in PHRASE.finditer(re.sub(r"\s+", " ", text))
        }
    )


def descriptions(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"summary", "description"} and isinstance(value, str):
                yield value
            else:
                yield from descriptions(value)
    elif isinstance(node, list):
        for value in node:
            yield from descriptions(value)


def help_texts(*path: str) -> Iterator[str]:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "300"}).output
    assert "Usage:" in shown
    yield shown.replace("│", " ")
    group = typer.main.get_command(app)
    for name in path:
        group = group.commands[name] if isinstance(group, TyperGroup) else group
    if isinstance(group, TyperGroup):
        for name in group.commands:
            yield from help_texts(*path, name)


def messages(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Raise(exc=ast.expr() as error):
                yield from strings(error)
            case ast.Call(func=ast.Attribute(attr="debug" | "info" | "warning" | "error" | "exception" | "critical")):
                yield from strings(node)
            case ast.Call(func=ast.Name(id="print" | "SettingsError") | ast.Attribute(attr="echo" | "show" | "line")):
                yield from strings(node)
            case ast.keyword(arg="description" | "detail" | "message" | "reason" | "help"):
                yield from strings(node.value)
            case ast.FunctionDef() if node.decorator_list and file.is_relative_to(ROOT / "orchestration"):
                yield ast.get_docstring(node) or ""


def strings(node: ast.AST) -> Iterator[str]:
    """Whole sentences: what stands between literal parts of an f-string is shown as {}."""
    match node:
        case ast.JoinedStr(values=values):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
        case ast.Constant(value=str() as text):
            yield text
        case _:
            for child in ast.iter_child_nodes(node):
                yield from strings(child)


@pytest.mark.parametrize(
    ("sentence", "is_bad"),
    [
        ("'x' is no time", True),
        ("there is no device D1", False),
        ("it is no longer kept", False),
        ("its topic is none of these", True),
        ("should the supervisor be killed, it ends", True),
        ("It goes on. Should it end, all is lost.", True),
        ("the limit that should a device have", False),
    ],
)
def test_phrases_are_recognised(sentence: str, is_bad: bool) -> None:
    assert bool(PHRASE.search(sentence)) == is_bad


def test_names_are_recognised() -> None:
    assert [
        name for name in ("PATIENCE", "MOST_ROWS", "DeviceFacts", "open_streaks", "list_held_back") if not is_old(name)
    ] == []
    assert [name for name in ("max_rows", "silent", "booking", "held_back_alerts", "performance") if is_old(name)] == []
