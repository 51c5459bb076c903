"""Corrections of readings, and what a day's file is without those that it holds"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("correction_id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("metric", sa.String(63), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("unit", sa.String(20), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_by", sa.String(100), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("starts_at < ends_at", name="corrections_range"),
    )
    op.create_index("corrections_of", "corrections", ["device_id", "correction_id"])
    op.create_index(
        "corrections_active", "corrections", ["device_id"], postgresql_where=sa.text("undone_at IS NULL")
    )
    op.add_column("datasets", sa.Column("corrections", sa.String(16), nullable=True))
    op.add_column("datasets", sa.Column("raw", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "raw")
    op.drop_column("datasets", "corrections")
    op.drop_table("corrections")
