"""Prints the published JSON schema of a report: `python -m assets.reports > assets/reports/schema.json`."""

from assets.reports.content import schema

print(schema(), end="")
