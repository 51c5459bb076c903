"""Keeps what people said when they acknowledged or resolved an alert, and who resolved it"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alerts", sa.Column("acknowledgement_note", sa.Text))
    op.add_column("alerts", sa.Column("resolved_by", sa.String(255)))
    op.add_column("alerts", sa.Column("resolution_note", sa.Text))


def downgrade() -> None:
    for column in ("resolution_note", "resolved_by", "acknowledgement_note"):
        op.drop_column("alerts", column)
