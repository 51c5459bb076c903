"""Rules that compare what was measured with the stored forecast"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

OLD = "condition IN ('>', '<', '=', '!=', '>=', '<=', 'no_data')"
NEW = "condition IN ('>', '<', '=', '!=', '>=', '<=', 'no_data', 'outside_forecast')"


def upgrade() -> None:
    op.drop_constraint("rules_condition", "rules")
    op.create_check_constraint("rules_condition", "rules", NEW)


def downgrade() -> None:
    op.execute("DELETE FROM alerts WHERE rule_id IN (SELECT rule_id FROM rules WHERE condition = 'outside_forecast')")
    op.execute("DELETE FROM rules WHERE condition = 'outside_forecast'")
    op.drop_constraint("rules_condition", "rules")
    op.create_check_constraint("rules_condition", "rules", OLD)
