"""Rules whose condition must hold for a time: since when it has held, per rule and device."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, text
from sqlmodel import Field, Session, SQLModel

from storage.database import Timestamp


class RulePending(SQLModel, table=True):
    """Since when a rule with `for_seconds` is pending for a device. Times are in microseconds.

    `since` is the first reading of those that meet the condition without a break, `clear_at` the last known reading
    that did not meet it. Both belong to one version of the rule (its `updated_at`): an edit starts anew. The table
    keeps the name it was made with.
    """

    __tablename__ = "rule_holds"

    rule_id: UUID = Field(foreign_key="rules.rule_id", ondelete="CASCADE", primary_key=True)
    device_id: str = Field(primary_key=True, max_length=50)
    rule_version: datetime = Timestamp()
    since: int | None = Field(default=None, sa_type=BigInteger)
    clear_at: int | None = Field(default=None, sa_type=BigInteger)


class PendingRow(NamedTuple):
    """A row of `RulePending`, for reading and writing thousands of them at once."""

    rule_id: UUID
    device_id: str
    rule_version: datetime
    since: int | None
    clear_at: int | None


_LOAD = text("""
SELECT rule_id, device_id, rule_version, since, clear_at FROM rule_holds
WHERE rule_id = ANY(CAST(:rules AS uuid[])) AND device_id = ANY(CAST(:devices AS text[]))
  AND (since IS NOT NULL OR clear_at >= :oldest)
""")
_SAVE = text("""
INSERT INTO rule_holds AS h (rule_id, device_id, rule_version, since, clear_at)
SELECT * FROM unnest(CAST(:rules AS uuid[]), CAST(:devices AS text[]), CAST(:versions AS timestamptz[]),
                     CAST(:since AS int8[]), CAST(:clear AS int8[]))
ON CONFLICT (rule_id, device_id) DO UPDATE SET
    rule_version = excluded.rule_version, since = excluded.since,
    clear_at = CASE WHEN h.rule_version = excluded.rule_version THEN greatest(h.clear_at, excluded.clear_at)
                    ELSE excluded.clear_at END
""")


def load_pending(
    session: Session, rule_ids: Collection[UUID], device_ids: Collection[str], oldest: int
) -> list[PendingRow]:
    """The rows of these rules and devices that are pending, or were clear at `oldest` (µs) or later."""
    columns = {"rules": list(rule_ids), "devices": list(device_ids), "oldest": oldest}
    return [PendingRow(*row) for row in session.execute(_LOAD, columns)]


def save_pending(session: Session, rows: Sequence[PendingRow]) -> None:
    """Insert or replace rows. `clear_at` never goes back while the rule stays the same."""
    rules, devices, versions, since, clear = (list(column) for column in zip(*rows, strict=True))
    session.execute(_SAVE, {"rules": rules, "devices": devices, "versions": versions, "since": since, "clear": clear})
