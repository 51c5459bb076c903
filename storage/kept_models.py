"""Fitted models that are kept in the object store: a row for each, with the hash that its file must have.

Nothing here commits.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Identity, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, col, select
from sqlmodel.sql.expression import SelectOfScalar

from storage.database import Timestamp
from storage.jobs import AnalyticsJob
from storage.times import utc_now


class KeptModel(SQLModel, table=True):
    """A model of one device that was fitted on its days from `fitted_from` up to `fitted_until`.

    `parameters_hash` stands for the job's parameters. `dataset_hash` names the files that it was fitted on.
    `libraries`: the versions that the file was written with. `job_id`: the job that fitted it. `is_fleet`: it learnt
    from other devices of the type, too, and also holds for those that have not failed.
    """

    __tablename__ = "kept_models"
    __table_args__ = (
        UniqueConstraint(
            "device_id", "analysis_type", "model_name", "parameters_hash", name="kept_models_one_per_parameters"
        ),
    )

    model_id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity()], primary_key=True)
    tenant_id: str | None = Field(default=None, index=True, max_length=50)
    device_id: str = Field(max_length=50)
    analysis_type: str = Field(max_length=50)
    model_name: str = Field(max_length=100)
    parameters: dict[str, Any] = Field(sa_type=JSONB)
    parameters_hash: str = Field(max_length=64)
    dataset_hash: str = Field(max_length=64)
    fitted_from: datetime = Timestamp()
    fitted_until: datetime = Timestamp()
    code_version: str = Field(max_length=50)
    libraries: dict[str, str] = Field(sa_type=JSONB)
    object_key: str = Field(max_length=500)
    sha256: str = Field(max_length=64)
    size_bytes: int = Field(sa_type=BigInteger)
    job_id: str = Field(max_length=100)
    is_fleet: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Timestamp(default_factory=utc_now)
    last_used_at: datetime = Timestamp(default_factory=utc_now, index=True)

    @property
    def last_day(self) -> date:
        """The last day that it was fitted on."""
        return (self.fitted_until - timedelta(microseconds=1)).date()


def kept_model(session: Session, job: AnalyticsJob, parameters_hash: str) -> KeptModel | None:
    """The model that is kept for a job's device, analysis, model and parameters."""
    return session.exec(_like(job, parameters_hash).where(KeptModel.device_id == job.device_id)).first()


def fleet_model(
    session: Session, job: AnalyticsJob, parameters_hash: str, others: SelectOfScalar[str]
) -> KeptModel | None:
    """The newest model of the fleet that is kept for one of the other devices, and for what a job asks for."""
    found = _like(job, parameters_hash).where(col(KeptModel.device_id).in_(others), KeptModel.is_fleet)
    newest = found.where(KeptModel.fitted_until <= job.date_range_end).order_by(col(KeptModel.fitted_until).desc())
    return session.exec(newest.limit(1)).first()


def _like(job: AnalyticsJob, parameters_hash: str) -> SelectOfScalar[KeptModel]:
    return select(KeptModel).where(
        KeptModel.analysis_type == job.analysis_type,
        KeptModel.model_name == job.model_name,
        KeptModel.parameters_hash == parameters_hash,
    )


def kept_models(session: Session, device_id: str | None = None, analysis_type: str | None = None) -> list[KeptModel]:
    """The kept models, of one device or analysis if given."""
    found = select(KeptModel)
    if device_id is not None:
        found = found.where(KeptModel.device_id == device_id)
    if analysis_type is not None:
        found = found.where(KeptModel.analysis_type == analysis_type)
    order = (col(KeptModel.device_id), col(KeptModel.analysis_type), col(KeptModel.model_id))
    return list(session.exec(found.order_by(*order)))


def unused_since(session: Session, before: datetime, limit: int) -> Sequence[KeptModel]:
    """Models that were last used before a moment, at most `limit`."""
    found = select(KeptModel).where(KeptModel.last_used_at < before)
    return session.exec(found.order_by(col(KeptModel.last_used_at)).limit(limit)).all()
