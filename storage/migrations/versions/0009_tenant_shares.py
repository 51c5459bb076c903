"""Device ids that are reserved for tenants, and what shares senders and jobs out between tenants"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

JOBS = ("analytics_jobs", "export_jobs", "report_jobs")


def upgrade() -> None:
    op.create_table(
        "tenant_prefixes",
        sa.Column("prefix", sa.String(50), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("prefix"),
    )
    op.create_index(op.f("ix_tenant_prefixes_tenant_id"), "tenant_prefixes", ["tenant_id"])
    op.add_column("notifications", sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True))
    for table in JOBS:
        op.add_column(table, sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    for table in JOBS:
        op.drop_column(table, "turn")
    op.drop_column("notifications", "claimed_until")
    op.drop_table("tenant_prefixes")
