"""What is kept, for how long, and how big it is."""

from datetime import date
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.auth.principal import CurrentPrincipal, needs
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import PlatformSettings
from serving.http.errors import Refused
from storage import usage

RETENTION = {
    "Readings in the telemetry store": "TELEMETRY_RETENTION_DAYS",
    "Files of datasets": "DATASET_RETENTION_DAYS",
    "Runs in Dagster": "RUN_RETENTION_DAYS",
}

router = APIRouter(prefix="/api/v1/usage", tags=["health"])


class TablePublic(BaseModel):
    """A table of the database with its indexes. `rows` is an estimate.

    `device_telemetry` is the readings in PostgreSQL, and `dagster` are all of Dagster's tables.
    """

    name: str
    bytes: int
    rows: int


class FilesPublic(BaseModel):
    """Files in the object store, with the first and the last day that they are about."""

    kind: str
    files: int
    bytes: int
    oldest: date | None
    newest: date | None


class Retention(BaseModel):
    """For how many days something is kept, and the variable that says so; null keeps it for ever."""

    name: str
    days: int | None
    variable: str


class Usage(BaseModel):
    """How big what is kept is."""

    telemetry_store: Literal["postgresql", "influxdb"] = Field(description="InfluxDB does not tell its size")
    database_bytes: int
    tables: list[TablePublic]
    files: list[FilesPublic]
    retention: list[Retention]


class UsageAnswer(BaseModel):
    success: Literal[True] = True
    data: Usage


@router.get("")
@needs("admin")
def get_usage(session: DatabaseSession, settings: PlatformSettings, principal: CurrentPrincipal) -> UsageAnswer:
    """What is kept, for how long, and how big it is."""
    if principal.tenant_id is not None:
        raise Refused("sizes are those of all tenants; this needs an admin's key without a tenant")
    return UsageAnswer(
        data=Usage(
            telemetry_store="influxdb" if settings.influxdb_url else "postgresql",
            database_bytes=usage.database_size(session),
            tables=[TablePublic.model_validate(table, from_attributes=True) for table in usage.table_sizes(session)],
            files=[FilesPublic.model_validate(files, from_attributes=True) for files in usage.file_sizes(session)],
            retention=[
                Retention(name=name, days=getattr(settings, variable.lower()) or None, variable=variable)
                for name, variable in RETENTION.items()
            ],
        )
    )
