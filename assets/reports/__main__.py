"""Writes the published JSON schemas of reports, `schema.json` and `fleet_schema.json`: `python -m assets.reports`."""

import json
from pathlib import Path

from assets.reports.content import schema
from assets.reports.fleet_content import fleet_schema

for name, described in (("schema.json", schema()), ("fleet_schema.json", fleet_schema())):
    file = Path(__file__).with_name(name)
    file.write_text(json.dumps(described, indent=2) + "\n")
    print(file)
