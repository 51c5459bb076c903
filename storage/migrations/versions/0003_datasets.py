"""Datasets: what is known of each hour and quarter, quality, kept versions; days that the telemetry store gave up"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = postgresql.JSONB(astext_type=sa.Text())
# A replaced file is kept where a result was made from it: that is looked up at every replacement.
MADE_FROM = (("analytics_jobs", "analytics_jobs_made_from"), ("report_jobs", "report_jobs_made_from"))


def upgrade() -> None:
    op.add_column("datasets", sa.Column("hourly", JSON, nullable=True))
    op.add_column("datasets", sa.Column("energy", JSON, nullable=True))
    op.add_column("datasets", sa.Column("checks", JSON, nullable=True))
    op.add_column("datasets", sa.Column("version_key", sa.String(500), nullable=True))
    op.create_index(
        "datasets_days", "datasets", ["start_date"], postgresql_where=sa.text("superseded_at IS NULL AND kind = 'day'")
    )
    op.create_index(
        "datasets_unchecked",
        "datasets",
        ["start_date"],
        postgresql_where=sa.text("superseded_at IS NULL AND kind = 'day' AND checks IS NULL"),
    )
    op.add_column("touched_days", sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True))
    for table, index in MADE_FROM:
        op.execute(
            f"CREATE INDEX {index} ON {table} USING gin ((results -> 'provenance' -> 'datasets'))"
        )


def downgrade() -> None:
    for _, index in MADE_FROM:
        op.drop_index(index)
    op.drop_column("touched_days", "expired_at")
    op.drop_index("datasets_unchecked", "datasets")
    op.drop_index("datasets_days", "datasets")
    for column in ("version_key", "checks", "energy", "hourly"):
        op.drop_column("datasets", column)
