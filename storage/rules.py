"""Rules that watch telemetry, and the alerts they raised."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel, String, Text

from storage.database import Timestamp, utc_now

OPERATORS = (">", "<", "=", "!=", ">=", "<=")


class Rule(SQLModel, table=True):
    """A threshold on one metric of some devices or of all."""

    __tablename__ = "rules"
    __table_args__ = (CheckConstraint("condition IN ('>', '<', '=', '!=', '>=', '<=')", name="rules_condition"),)

    rule_id: UUID = Field(default_factory=uuid4, primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    rule_name: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=Text)
    scope: str = Field(max_length=50)
    device_ids: list[str] = Field(default_factory=list, sa_type=ARRAY(String(50)))
    property: str = Field(index=True, max_length=100)
    condition: str = Field(max_length=20)
    threshold: float
    severity: str | None = Field(default=None, max_length=50)
    status: str = Field(default="active", index=True, max_length=50)
    notification_channels: list[str] = Field(default_factory=list, sa_type=ARRAY(String(50)))
    cooldown_minutes: int = 15
    last_triggered_at: datetime | None = Timestamp(default=None)
    created_at: datetime = Timestamp(default_factory=utc_now)
    updated_at: datetime = Timestamp(default_factory=utc_now)
    deleted_at: datetime | None = Timestamp(default=None)


class Alert(SQLModel, table=True):
    """What a rule said of one reading; it outlives the rule, whose words of then are kept in `rule`."""

    __tablename__ = "alerts"
    __table_args__ = (
        # One breach is one alert, however many ingesters see it and however often it is delivered. The same
        # index answers the cooldown's question: did this rule fire for this device around that time?
        UniqueConstraint("rule_id", "device_id", "reading_time", name="alerts_one_per_reading"),
        Index("ix_alerts_created_at", "created_at"),
    )

    alert_id: UUID = Field(default_factory=uuid4, primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    # RESTRICT, where the handover cascades: history is never deleted with a rule.
    rule_id: UUID = Field(foreign_key="rules.rule_id", ondelete="RESTRICT", index=True)
    device_id: str = Field(index=True, max_length=50)
    severity: str = Field(max_length=50)
    message: str = Field(sa_type=Text)
    actual_value: float
    threshold_value: float
    status: str = Field(default="open", index=True, max_length=50, sa_column_kwargs={"server_default": "open"})
    acknowledged_by: str | None = Field(default=None, max_length=255)
    acknowledged_at: datetime | None = Timestamp(default=None)
    resolved_at: datetime | None = Timestamp(default=None)
    created_at: datetime = Timestamp(default_factory=utc_now)
    reading_time: datetime = Timestamp()
    rule: dict[str, object] = Field(sa_type=JSONB)
