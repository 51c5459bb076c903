"""The README says what is there: every variable, every page, every picture."""

import re
from pathlib import Path

from tests.support.environment import variables

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_every_variable_stands_in_the_table() -> None:
    documented = set(re.findall(r"`([A-Z][A-Z0-9_<>]+)`", README))
    assert variables() - documented == set()


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
