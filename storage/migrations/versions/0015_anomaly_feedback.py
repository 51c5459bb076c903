"""Feedback about anomalies"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "anomaly_feedback",
        sa.Column("feedback_id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("tenant_id", sa.String(50), nullable=True, index=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=True),
        sa.Column("event", sa.Integer(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(20), nullable=True),
        sa.Column("model_name", sa.String(100), nullable=True),
        sa.Column("exceeds", sa.Float(), nullable=True),
        sa.Column("verdict", sa.String(10), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("given_by", sa.String(100), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('fault', 'none')", name="anomaly_feedback_verdict"),
        sa.UniqueConstraint("job_id", "event", name="anomaly_feedback_one_per_event"),
    )
    op.create_index("anomaly_feedback_of", "anomaly_feedback", ["device_id", "starts_at"])


def downgrade() -> None:
    op.drop_table("anomaly_feedback")
