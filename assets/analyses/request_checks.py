"""Requests that cannot succeed with a device's datasets, refused before there is a job.

They are compared with what the catalogue knows: unknown metrics, moments elsewhere, too few readings or failures.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

from sqlmodel import Session

from assets.analyses.failure_counts import LABEL_COLUMNS, NONE_RECORDED, LabelSource, too_few_failures
from assets.analyses.forecasting.history_needed import hours_needed
from assets.analyses.parameters import (
    ENERGY_METRICS,
    MAX_HOURS_AHEAD,
    MIN_FAILURES,
    MIN_STEPS,
    MIN_TRAINING_ROWS,
    AnomalyParameters,
    ForecastParameters,
    Parameters,
    PredictionParameters,
)
from assets.analyses.result import CannotAnalyse
from storage.dataset_contents import Contents, contents, max_rows_before
from storage.devices import metadata_of
from storage.failures import of_device
from storage.fleet import failures_of_alike
from storage.times import midnight, rfc3339, utc_now

MAX_NAMED = 20
HOUR = timedelta(hours=1)
# A device may stop when it fails: a failure belongs to the readings before it, at any cadence up to half of this.
AFTER_READINGS = timedelta(days=1)


class WrongParameter(CannotAnalyse):
    """A parameter does not fit the datasets, or they are too small; the message says why and what to do.

    `field` is the parameter's name; None if the datasets are too small.
    """

    def __init__(self, field: str | None, message: str) -> None:
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
        WrongParameter: the analysis cannot succeed, whatever the readings are.

    """
    known = contents(session, device_id, start, end, key=key)
    begin, until = midnight(start), midnight(end + timedelta(days=1))
    match parameters:
        case AnomalyParameters():
            _refuse_unknown("metrics", parameters.metrics or (), known.metrics)
            if parameters.trained_until is not None:
                _check_trained_until(parameters.trained_until, known.first_at or begin, known.last_at or until)
                if key is None and known.first_at:
                    _check_training_rows(session, device_id, start, parameters.trained_until)
            _check_rows(known.rows, MIN_TRAINING_ROWS, "to learn from")
        case ForecastParameters():
            _check_horizon(parameters.horizon_hours, until - begin)
            _check_metric(session, device_id, parameters.metric, known)
            _check_hours(parameters, known.first_at or begin, known.last_at or until)
        case PredictionParameters():
            _check_horizon(parameters.horizon_hours, until - begin)
            _refuse_unknown("label", [parameters.label] if parameters.label else (), known.metrics)
            if "failures" in parameters.model_fields_set:
                _check_failures(parameters.failures, begin, until)
            _check_enough_failures(session, device_id, parameters, known, begin=begin, until=until)
            _check_rows(known.rows, MIN_STEPS if parameters.fleet is False else 2, "for a failure prediction")


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


def _check_training_rows(session: Session, device_id: str, start: date, trained_until: datetime) -> None:
    if max_rows_before(session, device_id, start, trained_until) < MIN_TRAINING_ROWS:
        raise WrongParameter(
            "trained_until",
            f"Fewer than {MIN_TRAINING_ROWS} readings lie before trained_until {rfc3339(trained_until)}; at least"
            f" {MIN_TRAINING_ROWS} are needed to learn from. Choose a later moment, or earlier days.",
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


def _check_rows(rows: int, needed: int, purpose: str) -> None:
    if rows < needed:
        there_are = "There is 1 reading" if rows == 1 else f"There are {rows} readings"
        raise WrongParameter(None, f"{there_are}; at least {needed} are needed {purpose}. Choose more days.")


def _check_hours(parameters: ForecastParameters, first: datetime, last: datetime) -> None:
    first, last = (moment.replace(minute=0, second=0, microsecond=0) for moment in (first, last))
    hours = (last - first) // HOUR + 1
    needed = hours_needed(parameters.tested_hours)
    # Where local hours begin at half past, the readings may lie in one hour more.
    if hours + 1 < needed:
        there_are = "there is 1" if hours == 1 else f"there are {hours}"
        fewer = ", or a shorter horizon_hours" if "horizon_hours" in parameters.model_fields_set else ""
        raise WrongParameter(
            None,
            f"A forecast and its test on the past need {needed} hours of history; {there_are}. Choose"
            f" more days{fewer}.",
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
        which = (
            f"{rfc3339(failures[0])} does not lie" if len(failures) == 1 else f"None of {len(failures)} failures lies"
        )
        raise WrongParameter(
            "failures",
            f"{which} in the analysed days, from {begin:%Y-%m-%d} to {until - timedelta(days=1):%Y-%m-%d}. Choose days"
            " that include failures, and at least a day after them.",
        )


def _check_enough_failures(
    session: Session,
    device_id: str,
    parameters: PredictionParameters,
    known: Contents,
    *,
    begin: datetime,
    until: datetime,
) -> None:
    """Refuse fewer failures than a model needs; a column of labels may have any number."""
    given = set(parameters.failures)
    if parameters.label and not given:
        return
    failures = given or {row.failed_at for row in session.exec(of_device(device_id))}
    if not failures and (not known.metrics or known.metrics & set(LABEL_COLUMNS)):
        return
    first, last = known.first_at or begin, (known.last_at or until) + AFTER_READINGS
    inside = sum(first < moment <= last for moment in failures)
    others = failures_of_alike(session, device_id, first, last) if parameters.fleet is not False else {}
    if inside + sum(others.values()) < MIN_FAILURES:
        if not failures and not others:
            raise WrongParameter("failures", NONE_RECORDED)
        source: LabelSource = "parameters" if given else "failures"
        raise WrongParameter("failures", too_few_failures(inside, len(failures), others, source))
