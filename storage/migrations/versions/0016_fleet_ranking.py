"""The figure of an analysis by which the fleet is ranked"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("analytics_jobs", sa.Column("ranking", sa.Float(), nullable=True))
    op.create_index(
        "analytics_jobs_ranked",
        "analytics_jobs",
        ["device_id", "analysis_type", sa.text("date_range_end DESC"), sa.text("completed_at DESC")],
        postgresql_where=sa.text("ranking IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_column("analytics_jobs", "ranking")
