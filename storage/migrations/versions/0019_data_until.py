"""Until when the data of an analysis reach; fitted models of a fleet"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("analytics_jobs", sa.Column("data_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("kept_models", sa.Column("is_fleet", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("kept_models", "is_fleet")
    op.drop_column("analytics_jobs", "data_until")
