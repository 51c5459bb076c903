"""The README says what is there: every variable, every page, every picture."""

import re
from pathlib import Path

from assets.quality.settings import QualitySettings
from storage.settings import SYNONYMS, Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
# Fields whose variable has another name, or many.
NAMED_OTHERWISE = {
    "given_database_url": "DATABASE_URL",
    "given_postgres_port": "POSTGRES_PORT",
    "notify": "NOTIFY_<NAME>",
}


def test_every_variable_stands_in_the_table() -> None:
    variables = {
        NAMED_OTHERWISE.get(field, field.upper()) for kind in (Settings, QualitySettings) for field in kind.model_fields
    }
    variables |= {name for pair in SYNONYMS for name in pair}
    told = set(re.findall(r"`([A-Z][A-Z0-9_<>]+)`", README))
    assert variables - told == set()


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
