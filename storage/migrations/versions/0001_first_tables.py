"""The handover's tables, the ledger and the catalogue"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Partitions are made by the month, when the first reading of a month comes.
TELEMETRY = """
CREATE TABLE device_telemetry (
    device_id varchar(50) NOT NULL,
    time timestamptz NOT NULL,
    voltage float8, current float8, power float8, temperature float8,
    extra jsonb,
    schema_version varchar(50) NOT NULL,
    enrichment_status varchar(20) NOT NULL,
    device_type text, location text,
    out_of_band text[],
    received_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, time)
) PARTITION BY RANGE (time)
"""

ANALYTICS_RESULTS = """
CREATE VIEW analytics_results AS
SELECT number AS id, job_id, device_id, analysis_type, model_name, date_range_start, date_range_end, results,
       accuracy_metrics, status, created_at, completed_at
FROM analytics_jobs
"""

# Ingestion listens, and follows a change of the registry or of a rule at once. `updated_at` is what every edit moves.
REGISTRY_CHANGED = """
CREATE FUNCTION registry_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('registry_changed', TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER devices_changed AFTER INSERT OR DELETE OR UPDATE ON devices
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER rules_changed AFTER INSERT OR DELETE OR UPDATE OF updated_at, deleted_at ON rules
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed()
"""


def upgrade() -> None:
    op.create_table(
        "analytics_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(50), server_default="pending", nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("results", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("execution_time_seconds", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.String(100), nullable=True),
        sa.Column("launches", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("analysis_type", sa.String(50), nullable=False),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("dataset_key", sa.String(500), nullable=True),
        sa.Column("date_range_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("date_range_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accuracy_metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("idx_analytics_jobs_created_at", "analytics_jobs", ["created_at"], unique=False)
    op.create_index("idx_analytics_jobs_status", "analytics_jobs", ["status"], unique=False)
    op.create_index(op.f("ix_analytics_jobs_device_id"), "analytics_jobs", ["device_id"], unique=False)
    op.create_index(op.f("ix_analytics_jobs_job_id"), "analytics_jobs", ["job_id"], unique=True)
    op.create_index(op.f("ix_analytics_jobs_tenant_id"), "analytics_jobs", ["tenant_id"], unique=False)
    op.create_table(
        "datasets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("key", sa.String(500), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("start_date", sa.Date(), nullable=False),
        sa.Column("end_date", sa.Date(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("run_id", sa.String(100), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("datasets_by_device", "datasets", ["device_id", "start_date"], unique=False)
    op.create_index(
        "datasets_current", "datasets", ["key"], unique=True, postgresql_where=sa.text("superseded_at IS NULL")
    )
    op.create_index(op.f("ix_datasets_tenant_id"), "datasets", ["tenant_id"], unique=False)
    op.create_table(
        "devices",
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("device_name", sa.String(255), nullable=False),
        sa.Column("device_type", sa.String(100), nullable=False),
        sa.Column("manufacturer", sa.String(255), nullable=True),
        sa.Column("model", sa.String(255), nullable=True),
        sa.Column("location", sa.String(500), nullable=True),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("metadata_json", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device_id"),
    )
    op.create_index(op.f("ix_devices_device_type"), "devices", ["device_type"], unique=False)
    op.create_index(op.f("ix_devices_status"), "devices", ["status"], unique=False)
    op.create_index(op.f("ix_devices_tenant_id"), "devices", ["tenant_id"], unique=False)
    op.create_table(
        "export_checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("last_exported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_sequence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("s3_key", sa.String(500), nullable=True),
        sa.Column("record_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("device_id", "last_exported_at", name="uq_checkpoint_device_exported"),
    )
    op.create_index("idx_checkpoint_device_id", "export_checkpoints", ["device_id"], unique=False)
    op.create_index("idx_checkpoint_status", "export_checkpoints", ["status"], unique=False)
    op.create_index("idx_checkpoint_updated", "export_checkpoints", ["updated_at"], unique=False)
    op.create_table(
        "export_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(50), server_default="pending", nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("results", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("execution_time_seconds", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.String(100), nullable=True),
        sa.Column("launches", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("date_range_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("date_range_end", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("idx_export_jobs_status", "export_jobs", ["status"], unique=False)
    op.create_index(op.f("ix_export_jobs_device_id"), "export_jobs", ["device_id"], unique=False)
    op.create_index(op.f("ix_export_jobs_job_id"), "export_jobs", ["job_id"], unique=True)
    op.create_index(op.f("ix_export_jobs_tenant_id"), "export_jobs", ["tenant_id"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("device_id", sa.String(50), nullable=True),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("metric", sa.String(63), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_quarantine_device_id"), "quarantine", ["device_id"], unique=False)
    op.create_index(op.f("ix_quarantine_received_at"), "quarantine", ["received_at"], unique=False)
    op.create_table(
        "report_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(50), server_default="pending", nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("results", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("execution_time_seconds", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.String(100), nullable=True),
        sa.Column("launches", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("analysis_types", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("format", sa.String(10), nullable=False),
        sa.Column("date_range_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("date_range_end", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("idx_report_jobs_status", "report_jobs", ["status"], unique=False)
    op.create_index(op.f("ix_report_jobs_device_id"), "report_jobs", ["device_id"], unique=False)
    op.create_index(op.f("ix_report_jobs_job_id"), "report_jobs", ["job_id"], unique=True)
    op.create_index(op.f("ix_report_jobs_tenant_id"), "report_jobs", ["tenant_id"], unique=False)
    op.create_table(
        "rules",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("rule_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("scope", sa.String(50), nullable=False),
        sa.Column("device_ids", postgresql.ARRAY(sa.String(length=50)), nullable=False),
        sa.Column("property", sa.String(100), nullable=False),
        sa.Column("condition", sa.String(20), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("severity", sa.String(50), nullable=True),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("notification_channels", postgresql.ARRAY(sa.String(length=50)), nullable=False),
        sa.Column("cooldown_minutes", sa.Integer(), nullable=False),
        sa.Column("last_triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("condition IN ('>', '<', '=', '!=', '>=', '<=')", name="rules_condition"),
        sa.PrimaryKeyConstraint("rule_id"),
    )
    op.create_index(op.f("ix_rules_property"), "rules", ["property"], unique=False)
    op.create_index(op.f("ix_rules_status"), "rules", ["status"], unique=False)
    op.create_index(op.f("ix_rules_tenant_id"), "rules", ["tenant_id"], unique=False)
    op.create_table(
        "touched_days",
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("first_touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device_id", "day"),
    )
    op.create_index(
        "touched_days_waiting",
        "touched_days",
        ["day"],
        unique=False,
        postgresql_where=sa.text("dirty OR claimed_at IS NOT NULL"),
    )
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(50), nullable=True),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.String(50), nullable=False),
        sa.Column("severity", sa.String(50), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("actual_value", sa.Float(), nullable=False),
        sa.Column("threshold_value", sa.Float(), nullable=False),
        sa.Column("status", sa.String(50), server_default="open", nullable=False),
        sa.Column("acknowledged_by", sa.String(255), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reading_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rule", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.rule_id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("alert_id"),
        sa.UniqueConstraint("rule_id", "device_id", "reading_time", name="alerts_one_per_reading"),
    )
    op.create_index("ix_alerts_created_at", "alerts", ["created_at"], unique=False)
    op.create_index(op.f("ix_alerts_device_id"), "alerts", ["device_id"], unique=False)
    op.create_index(op.f("ix_alerts_rule_id"), "alerts", ["rule_id"], unique=False)
    op.create_index(op.f("ix_alerts_status"), "alerts", ["status"], unique=False)
    op.create_index(op.f("ix_alerts_tenant_id"), "alerts", ["tenant_id"], unique=False)
    op.execute(TELEMETRY)
    op.execute(ANALYTICS_RESULTS)
    op.execute(REGISTRY_CHANGED)


def downgrade() -> None:
    op.execute("DROP VIEW analytics_results")
    op.execute("DROP TABLE device_telemetry")
    for table in (
        "alerts",
        "touched_days",
        "rules",
        "report_jobs",
        "quarantine",
        "export_jobs",
        "export_checkpoints",
        "devices",
        "datasets",
        "analytics_jobs",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION registry_changed")
