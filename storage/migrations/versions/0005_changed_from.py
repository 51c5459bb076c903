"""From which moment on a device-day's file lacks readings, instead of whether it does; a file's first and last reading"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = (
    ("touched_days", "dirty_from"),
    ("touched_days", "claimed_from"),
    ("datasets", "first_at"),
    ("datasets", "last_at"),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    # Of a day that waits now, anything may have come.
    for mark, waits in (("dirty_from", "dirty"), ("claimed_from", "claimed_at IS NOT NULL")):
        op.execute(f"UPDATE touched_days SET {mark} = day::timestamp AT TIME ZONE 'UTC' WHERE {waits}")
    op.drop_index("touched_days_waiting")
    op.drop_column("touched_days", "dirty")
    _index("dirty_from IS NOT NULL")


def downgrade() -> None:
    op.drop_index("touched_days_waiting")
    op.add_column("touched_days", sa.Column("dirty", sa.Boolean(), nullable=True))
    op.execute("UPDATE touched_days SET dirty = dirty_from IS NOT NULL")
    op.alter_column("touched_days", "dirty", nullable=False)
    _index("dirty")
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column)


def _index(dirty: str) -> None:
    op.create_index(
        "touched_days_waiting", "touched_days", ["day"], postgresql_where=sa.text(f"{dirty} OR claimed_at IS NOT NULL")
    )
