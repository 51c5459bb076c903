"""Import of history: rows of CSV and Parquet files become readings, or are quarantined with the reason.

Rows are checked like MQTT payloads, so the same limits apply. No rules are evaluated: history raises no alerts.
"""

from ingest.files.importer import Imported, Importer
from ingest.files.mapping import FileMapping, metric_column
from ingest.files.rows import FileRefused, open_table
from ingest.files.survey import survey
from ingest.files.times import TimeFormat
from ingest.files.values import NumberFormat

__all__ = [
    "FileMapping", "FileRefused", "Imported", "Importer", "NumberFormat", "TimeFormat", "metric_column", "open_table",
    "survey",
]  # fmt: skip
