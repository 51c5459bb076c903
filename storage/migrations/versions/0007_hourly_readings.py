"""Finds day files whose hours in the catalogue lack the number of readings, so that they can be made again"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DAYS = "superseded_at IS NULL AND kind = 'day'"
OTHER_VERSION = "(energy ->> 'version') IS DISTINCT FROM '2'"


def upgrade() -> None:
    op.drop_index("datasets_energy_outdated", "datasets")
    where = sa.text(f"{DAYS} AND ({OTHER_VERSION} OR (hourly -> 'timestamp') IS NULL)")
    op.create_index("datasets_outdated", "datasets", ["start_date"], postgresql_where=where)


def downgrade() -> None:
    op.drop_index("datasets_outdated", "datasets")
    where = sa.text(f"{DAYS} AND {OTHER_VERSION}")
    op.create_index("datasets_energy_outdated", "datasets", ["start_date"], postgresql_where=where)
