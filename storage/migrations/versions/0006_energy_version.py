"""Finds day files whose energy in the catalogue was made by an older version, so that it can be made again"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "datasets_energy_outdated",
        "datasets",
        ["start_date"],
        postgresql_where=sa.text(
            "superseded_at IS NULL AND kind = 'day' AND (energy ->> 'version') IS DISTINCT FROM '2'"
        ),
    )


def downgrade() -> None:
    op.drop_index("datasets_energy_outdated", "datasets")
