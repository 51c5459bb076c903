"""How big what is kept is: the database's tables, telemetry's partitions together, and the files of the catalogue."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, text
from sqlmodel import Session, col, func, select

from storage.catalogue import Dataset
from storage.jobs import ReportJob

# Sizes with indexes. The planner estimates rows, -1 of a table that was never analysed; the statistics count changes.
_TABLES = text("""
SELECT CASE WHEN n.nspname = 'dagster' THEN 'dagster' WHEN p.inhparent IS NOT NULL OR c.relkind = 'p'
       THEN 'device_telemetry' ELSE c.relname END AS name,
       sum(pg_total_relation_size(c.oid))::bigint AS bytes,
       sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0))::bigint AS rows
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits p ON p.inhrelid = c.oid
WHERE n.nspname IN ('public', 'dagster') AND c.relkind IN ('r', 'p')
GROUP BY 1 ORDER BY bytes DESC, name
""")
_DATABASE = text("SELECT pg_database_size(current_database())")


@dataclass(frozen=True)
class TableSize:
    """A table of the database; `device_telemetry` is all its partitions, and `dagster` all of Dagster's tables."""

    name: str
    bytes: int
    rows: int


@dataclass(frozen=True)
class FilesSize:
    """Files of one kind in the object store."""

    kind: str
    files: int
    bytes: int
    oldest: date | None
    newest: date | None


def database_size(session: Session) -> int:
    """The bytes of the whole database."""
    size: int = session.execute(_DATABASE).scalar_one()
    return size


def table_sizes(session: Session) -> list[TableSize]:
    """The database's tables, the biggest first. The numbers of rows are estimates."""
    return [TableSize(name, size, rows) for name, size, rows in session.execute(_TABLES)]


def file_sizes(session: Session) -> list[FilesSize]:
    """The stored files: datasets by kind, older versions that results were made from, and reports."""
    size = func.coalesce(func.sum(Dataset.bytes), 0)
    columns = (func.count(), size, func.min(Dataset.start_date), func.max(Dataset.end_date))
    by_kind: Any = (Dataset.kind, *columns)
    current = sqlalchemy.select(*by_kind).where(col(Dataset.superseded_at).is_(None)).group_by(col(Dataset.kind))
    found = [
        FilesSize(f"datasets: {kind}", *row) for kind, *row in session.execute(current.order_by(col(Dataset.kind)))
    ]
    kept = session.exec(select(*columns).where(col(Dataset.version_key).is_not(None))).one()
    found.append(FilesSize("datasets: older versions", *kept))
    bytes_of_report = col(ReportJob.results)["size_bytes"].astext.cast(BigInteger)
    reports = select(
        func.count(bytes_of_report),
        func.coalesce(func.sum(bytes_of_report), 0),
        func.min(ReportJob.completed_at),
        func.max(ReportJob.completed_at),
    )
    files, size_of_reports, oldest, newest = session.exec(reports).one()
    found.append(FilesSize("reports", files, size_of_reports, _day(oldest), _day(newest)))
    return found


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
