"""Prints the published JSON schema of a report: `python -m assets.reports > assets/reports/schema.json`."""

import json

from assets.reports.content import schema

print(json.dumps(schema(), indent=2))
