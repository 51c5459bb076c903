"""Reports that are made and sent by themselves"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "report_schedules",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("device_ids", postgresql.JSONB(), nullable=True),
        sa.Column("analysis_types", postgresql.JSONB(), nullable=False),
        sa.Column("formats", postgresql.JSONB(), nullable=False),
        sa.Column("language", sa.String(10), nullable=True),
        sa.Column("compute_missing", sa.Boolean(), nullable=False),
        sa.Column("frequency", sa.String(10), nullable=False),
        sa.Column("send_at", sa.String(5), nullable=False),
        sa.Column("recipients", postgresql.JSONB(), nullable=False),
        sa.Column("delivery", sa.String(10), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("schedule_id"),
    )
    op.create_index(op.f("ix_report_schedules_tenant_id"), "report_schedules", ["tenant_id"])
    op.create_index(op.f("ix_report_schedules_device_id"), "report_schedules", ["device_id"])
    op.create_index(
        "report_schedules_due",
        "report_schedules",
        ["next_run_at"],
        postgresql_where=sa.text("next_run_at IS NOT NULL"),
    )
    op.create_table(
        "report_schedule_runs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("job_ids", postgresql.JSONB(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["schedule_id"], ["report_schedules.schedule_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id"),
        sa.UniqueConstraint("schedule_id", "due_at", name="report_schedule_runs_once"),
    )
    op.create_index(op.f("ix_report_schedule_runs_tenant_id"), "report_schedule_runs", ["tenant_id"])
    op.create_index(
        "report_schedule_runs_pending",
        "report_schedule_runs",
        ["due_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.alter_column("notifications", "alert_id", existing_type=sa.Uuid(), nullable=True)
    op.add_column("notifications", sa.Column("report_run_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "notifications_report_run_id_fkey",
        "notifications",
        "report_schedule_runs",
        ["report_run_id"],
        ["run_id"],
        ondelete="CASCADE",
    )
    op.create_unique_constraint("notifications_one_per_report", "notifications", ["report_run_id", "channel"])
    op.create_check_constraint(
        "notifications_subject", "notifications", "num_nonnulls(alert_id, report_run_id) = 1"
    )


def downgrade() -> None:
    op.execute("DELETE FROM notifications WHERE alert_id IS NULL")
    op.drop_constraint("notifications_subject", "notifications")
    op.drop_column("notifications", "report_run_id")
    op.alter_column("notifications", "alert_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_table("report_schedule_runs")
    op.drop_table("report_schedules")
