"""The run config of the analysis assets: what `POST /api/v1/analytics/run` takes, with the defaults in the launchpad.

The classes are made from the analyses' own parameters, so that a new parameter or model is there at once. Dagster
refuses unknown keys and wrong types. Limits are checked in the run, as the API checks them.
"""

from datetime import date, datetime, timedelta
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import AwareDatetime, Field, ValidationError, create_model
from sqlmodel import Session

from assets.analyses import ANALYSES, AnalysisType, CannotAnalyse, Parameters, check_parameters
from assets.datasets import select_datasets
from storage import jobs
from storage.jobs import AnalyticsJob
from storage.times import midnight
from storage.validation import first_error, shown


class AnalysisConfig(dg.Config):
    """What to analyse, and how. All of it has defaults. Runs that clients asked for over REST do not use it."""

    start_date: Annotated[str | None, Field(description="The first day, as 2026-02-12. By default, all days.")] = None
    end_date: Annotated[str | None, Field(description="The last day, which is included.")] = None
    dataset_key: Annotated[
        str | None, Field(description="One dataset instead of days. GET /api/v1/analytics/datasets lists the keys.")
    ] = None

    def add_job(self, session: Session, device_id: str, analysis_type: AnalysisType) -> AnalyticsJob:
        """Add a job with this configuration for a device; see `add_job`.

        Raises:
            CannotAnalyse: the configuration is wrong.
            NoTelemetry: the device has no such datasets.

        """
        start, end = _day("start_date", self.start_date), _day("end_date", self.end_date)
        if self.dataset_key and (start or end):
            raise CannotAnalyse("Give dataset_key, or start_date and end_date, but not both.")
        if start and end and start > end:
            raise CannotAnalyse(f"start_date {start} is after end_date {end}. Give the earlier day first.")
        given = self.model_dump(exclude_defaults=True)  # the launchpad fills these in
        try:
            parameters = ANALYSES[analysis_type].parameters.model_validate(given.get("parameters", {}))
        except ValidationError as error:
            raise CannotAnalyse(f"parameters: {first_error(error.errors(include_url=False))}") from None
        job = add_job(
            session,
            device_id,
            analysis_type,
            key=self.dataset_key,
            start=start,
            end=end,
            model_name=given.get("model_name"),
            parameters=parameters,
        )
        first, last = job.date_range_start.date(), (job.date_range_end - timedelta(days=1)).date()
        check_parameters(session, device_id, parameters, start=first, end=last, key=self.dataset_key)
        return job


def add_job(
    session: Session,
    device_id: str,
    analysis_type: AnalysisType,
    *,
    key: str | None = None,
    start: date | None = None,
    end: date | None = None,
    model_name: str | None = None,
    parameters: Parameters | None = None,
) -> AnalyticsJob:
    """Add a job over one dataset of a device or its days from start to end, by default all, with the default model.

    The caller commits.

    Raises:
        NoTelemetry: the device has no such datasets.

    """
    datasets = select_datasets(session, device_id, key=key, start=start, end=end)
    job = AnalyticsJob(
        job_id=jobs.new_job_id(AnalyticsJob),
        tenant_id=datasets[-1].tenant_id,
        device_id=device_id,
        analysis_type=analysis_type,
        model_name=model_name or ANALYSES[analysis_type].default,
        dataset_key=key,
        date_range_start=midnight(datasets[0].start_date),
        date_range_end=midnight(datasets[-1].end_date + timedelta(days=1)),
        parameters=parameters.model_dump(mode="json") if parameters else None,
    )
    session.add(job)
    return job


def config_of(analysis_type: AnalysisType) -> type[AnalysisConfig]:
    """The config class of an analysis: a range, a model of the analysis, and its parameters."""
    analysis, name = ANALYSES[analysis_type], analysis_type.capitalize()
    fields: dict[str, Any] = {
        parameter: (
            _config_type(info.annotation),
            Field(info.get_default(call_default_factory=True), description=info.description),
        )
        for parameter, info in analysis.parameters.model_fields.items()
    }
    description = cleandoc(analysis.parameters.__doc__ or "")
    parameters = create_model(f"{name}Parameters", __base__=dg.Config, __doc__=description, **fields)
    models: Any = Literal[analysis.models]
    return create_model(
        f"{name}Config",
        __base__=AnalysisConfig,
        __doc__=AnalysisConfig.__doc__,
        model_name=(models, Field(analysis.default, description="The model.")),
        parameters=(parameters, Field(parameters(), description=description)),
    )


def _config_type(annotation: Any) -> Any:
    """The type that Dagster's config has for a parameter's: a moment is text, and limits are left to the run."""
    if get_origin(annotation) is Annotated:
        return _config_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        (one,) = (kind for kind in get_args(annotation) if kind is not NoneType)
        return _config_type(one) | None
    if get_origin(annotation) is list:
        return list[_config_type(get_args(annotation)[0])]  # type: ignore[misc] # the type of items is found at run time
    return str if annotation in (AwareDatetime, datetime, date) else annotation


def _day(name: str, value: str | None) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise CannotAnalyse(f"{name}: {shown(value)} is not a day; write it as 2026-02-12.") from None
