"""Rules that hold for a time, active hours and silence; maintenance; notifications"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CONDITIONS = "condition IN ('>', '<', '=', '!=', '>=', '<=')"
WITH_SILENCE = "condition IN ('>', '<', '=', '!=', '>=', '<=', 'no_data')"


def upgrade() -> None:
    op.add_column("rules", sa.Column("for_seconds", sa.Integer(), server_default="0", nullable=False))
    op.add_column("rules", sa.Column("active_hours", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.drop_constraint("rules_condition", "rules")
    op.create_check_constraint("rules_condition", "rules", WITH_SILENCE)
    op.create_table(
        "rule_holds",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("rule_version", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("clear_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.rule_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("rule_id", "device_id"),
    )
    op.create_table(
        "maintenance_windows",
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("device_id", sa.String(50), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("starts_at < ends_at", name="maintenance_windows_range"),
        sa.PrimaryKeyConstraint("window_id"),
    )
    for column in ("tenant_id", "device_id", "ends_at"):
        op.create_index(op.f(f"ix_maintenance_windows_{column}"), "maintenance_windows", [column], unique=False)
    op.create_table(
        "held_back_alerts",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_reading_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_reading_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.rule_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("rule_id", "device_id"),
    )
    op.create_index(op.f("ix_held_back_alerts_tenant_id"), "held_back_alerts", ["tenant_id"], unique=False)
    op.create_table(
        "device_presence",
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("newest_reading", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device_id"),
    )
    op.create_table(
        "listening",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name="listening_one_row"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "notifications",
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("channel", sa.String(50), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.alert_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("notification_id"),
        sa.UniqueConstraint("alert_id", "channel", name="notifications_one_per_channel"),
    )
    op.create_index(
        "notifications_due",
        "notifications",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("notifications_of_device", "notifications", ["device_id", "created_at"], unique=False)
    op.create_table(
        "notification_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["notification_id"], ["notifications.notification_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_notification_attempts_notification_id"), "notification_attempts", ["notification_id"], unique=False
    )
    op.execute("""
        CREATE TRIGGER maintenance_windows_changed AFTER INSERT OR DELETE OR UPDATE ON maintenance_windows
        FOR EACH STATEMENT EXECUTE FUNCTION registry_changed()
    """)


def downgrade() -> None:
    for table in (
        "notification_attempts",
        "notifications",
        "listening",
        "device_presence",
        "held_back_alerts",
        "maintenance_windows",
        "rule_holds",
    ):
        op.drop_table(table)
    op.execute("DELETE FROM alerts WHERE rule_id IN (SELECT rule_id FROM rules WHERE condition = 'no_data')")
    op.execute("DELETE FROM rules WHERE condition = 'no_data'")
    op.drop_constraint("rules_condition", "rules")
    op.create_check_constraint("rules_condition", "rules", CONDITIONS)
    op.drop_column("rules", "active_hours")
    op.drop_column("rules", "for_seconds")
