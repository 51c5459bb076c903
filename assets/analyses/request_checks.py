"""Parameters that do not fit a device's datasets, refused before there is a job: unknown metrics, moments elsewhere.

A job whose data are too few is no wrong request: more of them may have come when it runs, and its row says what is
missing.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

from sqlmodel import Session

from assets.analyses.parameters import (
    ENERGY_METRICS,
    MAX_HOURS_AHEAD,
    AnomalyParameters,
    ForecastParameters,
    Parameters,
    PredictionParameters,
)
from assets.analyses.result import CannotAnalyse
from storage.dataset_contents import Contents, contents
from storage.devices import metadata_of
from storage.times import midnight, rfc3339, utc_now

MAX_NAMED = 20


class WrongParameter(CannotAnalyse):
    """A parameter does not fit the datasets; the message says why and what to do. `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_parameters(
    session: Session, device_id: str, parameters: Parameters, *, start: date, end: date, key: str | None = None
) -> None:
    """Check parameters against what the catalogue knows of a device's days, or of the dataset with this key.

    Args:
        session: of the database.
        device_id: a device that has such datasets.
        parameters: those of any analysis.
        start: the first day to analyse.
        end: the last day, which is included.
        key: the dataset to analyse in place of the day files.

    Raises:
        WrongParameter: the analysis cannot succeed with these parameters, whatever the readings are.

    """
    known = contents(session, device_id, start, end, key=key)
    begin, until = midnight(start), midnight(end + timedelta(days=1))
    match parameters:
        case AnomalyParameters():
            _refuse_unknown("metrics", parameters.metrics or (), known.metrics)
            if parameters.trained_until is not None:
                _check_trained_until(parameters.trained_until, known.first_at or begin, known.last_at or until)
        case ForecastParameters():
            _check_horizon(parameters.horizon_hours, until - begin)
            _check_metric(session, device_id, parameters.metric, known)
        case PredictionParameters():
            _check_horizon(parameters.horizon_hours, until - begin)
            _refuse_unknown("label", [parameters.label] if parameters.label else (), known.metrics)
            if "failures" in parameters.model_fields_set:
                _check_failures(parameters.failures, begin, until)


def no_readings_of(missing: Sequence[str], measured: Collection[str]) -> str:
    """Says that metrics have no readings, and which do."""
    names = sorted(measured)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"The datasets have no readings of {', '.join(missing)}."
        f" Metrics with readings: {', '.join(names[:MAX_NAMED])}{more}."
    )


def nothing_left_to_judge(trained_until: datetime, last: datetime) -> str:
    """Says that `trained_until` is after the last reading."""
    return (
        f"trained_until {rfc3339(trained_until)} is after the last reading, {rfc3339(last)}, so nothing is left to"
        " judge. Choose an earlier moment, or leave it out: the model then learns from all readings."
    )


def _refuse_unknown(field: str, names: Sequence[str], measured: frozenset[str]) -> None:
    """Refuse names that no dataset has; nothing is known of files that an older release described without metrics."""
    if measured and (missing := [name for name in names if name not in measured]):
        raise WrongParameter(field, no_readings_of(missing, measured))


def _check_trained_until(trained_until: datetime, first: datetime, last: datetime) -> None:
    if trained_until > last:
        raise WrongParameter("trained_until", nothing_left_to_judge(trained_until, last))
    if trained_until <= first:
        raise WrongParameter(
            "trained_until",
            f"trained_until {rfc3339(trained_until)} is not after the first reading, {rfc3339(first)}, so there is"
            " nothing to learn from. Choose a later moment, or earlier days.",
        )


def _check_horizon(hours: int, span: timedelta) -> None:
    """Refuse to look further ahead than the days reach back; of sums of energy, the first week counts."""
    if timedelta(hours=min(hours, MAX_HOURS_AHEAD)) > span:
        days = "1 day" if span.days == 1 else f"{span.days} days"
        raise WrongParameter(
            "horizon_hours",
            f"horizon_hours {hours} reaches further ahead than the analysed range of {days} reaches back. Choose more"
            " days, or fewer hours.",
        )


def _check_metric(session: Session, device_id: str, metric: str | None, known: Contents) -> None:
    if metric is None or metric in known.metrics:
        return
    if metric not in ENERGY_METRICS:
        _refuse_unknown("metric", [metric], known.metrics)
        return
    counters = metadata_of(session, device_id).counters
    if known.metrics and not known.metrics & {"power", *counters}:
        raise WrongParameter(
            "metric",
            f"Nothing measures the {metric} of the device: it needs readings of power, or of a counter that is"
            " declared in its metadata_json.",
        )


def _check_failures(failures: Sequence[datetime], begin: datetime, until: datetime) -> None:
    if not failures:
        raise WrongParameter(
            "failures",
            "failures is empty. Give the moments at which the device failed, or leave it out: the recorded failures"
            " are then used.",
        )
    if late := [moment for moment in failures if moment > utc_now()]:
        raise WrongParameter("failures", f"{rfc3339(late[0])} lies in the future. Give failures that have happened.")
    if not any(begin <= moment <= until for moment in failures):
        raise WrongParameter(
            "failures",
            f"None of the {len(failures)} failures lies in the analysed days, from {begin:%Y-%m-%d} to"
            f" {until - timedelta(days=1):%Y-%m-%d}. Choose days that include failures, and at least a day after them.",
        )
