"""From which moment on a device-day's file lacks readings; a file's first and last reading"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    # Of a day that waits now, anything may have come.
    for mark, waits in (("dirty_from", "dirty"), ("claimed_from", "claimed_at IS NOT NULL")):
        op.execute(f"UPDATE touched_days SET {mark} = day::timestamp AT TIME ZONE 'UTC' WHERE {waits}")


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column)


COLUMNS = (
    ("touched_days", "dirty_from"),
    ("touched_days", "claimed_from"),
    ("datasets", "first_at"),
    ("datasets", "last_at"),
)
