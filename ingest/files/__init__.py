"""Import of history: rows of CSV and Parquet files become readings, or are quarantined with the reason.

Files may also hold recorded failures.

Rows are checked like MQTT payloads, so the same limits apply. No rules are evaluated: history raises no alerts.
"""

from ingest.files.failures import FailureColumns, ImportedFailures, import_failures
from ingest.files.importer import Imported, Importer
from ingest.files.mapping import FileMapping, metric_column
from ingest.files.rows import FileRefused, open_table
from ingest.files.survey import survey
from ingest.files.times import MILLISECONDS_PER_UNIT, TimeFormat
from ingest.files.values import NumberFormat

UNITS_OF_TIME = tuple(MILLISECONDS_PER_UNIT)

__all__ = [
    "UNITS_OF_TIME", "FailureColumns", "FileMapping", "FileRefused", "Imported", "ImportedFailures", "Importer",
    "NumberFormat", "TimeFormat", "import_failures", "metric_column", "open_table", "survey",
]  # fmt: skip
