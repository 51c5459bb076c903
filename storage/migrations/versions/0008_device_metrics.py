"""Which metrics each device has sent, and what was dropped beyond the limit"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_metrics",
        sa.Column("device_id", sa.String(50), primary_key=True),
        sa.Column("metrics", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("dropped_values", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("dropped_names", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.Column("last_dropped_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("device_metrics")
