"""Fitted models that are kept"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_models",
        sa.Column("model_id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("tenant_id", sa.String(50), nullable=True, index=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("analysis_type", sa.String(50), nullable=False),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        sa.Column("parameters_hash", sa.String(64), nullable=False),
        sa.Column("dataset_hash", sa.String(64), nullable=False),
        sa.Column("fitted_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fitted_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("code_version", sa.String(50), nullable=False),
        sa.Column("libraries", postgresql.JSONB(), nullable=False),
        sa.Column("object_key", sa.String(500), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.UniqueConstraint(
            "device_id", "analysis_type", "model_name", "parameters_hash", name="kept_models_one_per_parameters"
        ),
    )


def downgrade() -> None:
    op.drop_table("kept_models")
