"""Writes the API's description to `docs/openapi.json`: `python -m serving.openapi`. A test compares the two."""

import json

from serving.app import create_app
from storage.settings import CHECKOUT, Settings

FILE = CHECKOUT / "docs" / "openapi.json"


def text() -> str:
    """The text of the file."""
    return json.dumps(create_app(Settings()).openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text())
