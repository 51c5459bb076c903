"""Kept models: what a job has fitted is stored, and later jobs of nearly the same days score with it.

The files are pickles. One is read only if its content has the hash that the database has of it, and if it was written
by the same release with the same libraries.
"""

import hashlib
import json
import logging
import pickle
import platform
import zlib
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import Any

from sqlalchemy.exc import IntegrityError

from assets.analyses import Parameters, Result
from orchestration.metadata import code_version
from storage.catalogue import Dataset
from storage.fleet import select_alike
from storage.jobs import AnalyticsJob
from storage.kept_models import KeptModel, fleet_model, kept_model
from storage.objects import ObjectStore
from storage.stores import Stores
from storage.times import utc_now

log = logging.getLogger(__name__)

# By how much the days of a job may differ from those that a model was fitted on.
MAX_SHIFT = timedelta(days=8)
# Raised when what the analyses keep of a fit changes: older files are then not read.
LAYOUT = "7"
LIBRARIES = ("numpy", "pandas", "scikit-learn", "statsmodels", "prophet")


@cache
def libraries() -> dict[str, str]:
    """The versions of Python, of the libraries whose objects are kept, and of how they are kept."""
    return {"layout": LAYOUT, "python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def dataset_hash(datasets: Sequence[Dataset]) -> str:
    """The files that a model was fitted on, as one hash."""
    return hashlib.sha256("\n".join(dataset.sha256 for dataset in datasets).encode()).hexdigest()


def parameters_hash(parameters: Parameters) -> str:
    """The parameters that a fit depends on, as one hash."""
    values = parameters.model_dump(mode="json", exclude={"refit"})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def usable_model(stores: Stores, job: AnalyticsJob, parameters: Parameters) -> tuple[KeptModel, Any] | None:
    """The model that is kept for a job, if it fits to the job's days, and what was fitted.

    In a fleet, a device without a model of its own has that of another device of its type.
    """
    if parameters.refit:
        return None
    session, hash_ = stores.session, parameters_hash(parameters)
    row = kept_model(session, job, hash_)
    if (row is None or not _is_usable(row, job)) and job.analysis_type == "prediction":
        row = fleet_model(session, job, hash_, select_alike(session, job.device_id))
    if row is None or not _is_usable(row, job):
        return None
    fitted = load(stores.objects, row)
    if fitted is None:
        return None
    if row.device_id != job.device_id:
        fitted = fitted.of_other_device(job.device_id, row.device_id)
    row.last_used_at = utc_now()
    stores.session.add(row)
    return row, fitted


def _is_usable(row: KeptModel, job: AnalyticsJob) -> bool:
    """Whether this release wrote the model, and the job's days are near those that it was fitted on."""
    if row.code_version != code_version() or row.libraries != libraries():
        return False
    is_near = timedelta(0) <= job.date_range_end - row.fitted_until <= MAX_SHIFT
    return is_near and abs(job.date_range_start - row.fitted_from) <= MAX_SHIFT


def load(objects: ObjectStore, row: KeptModel) -> Any:
    """What was fitted; None if the file is gone, or is not the one that was stored."""
    try:
        content = objects.get(row.object_key)
    except KeyError:
        log.warning("the file of model %s, %s, is gone; the model is fitted again", row.model_id, row.object_key)
        return None
    if hashlib.sha256(content).hexdigest() != row.sha256:
        log.error(
            "the file of model %s, %s, is not the one that was stored; it is not read, and the model is fitted again",
            row.model_id,
            row.object_key,
        )
        return None
    return pickle.loads(zlib.decompress(content))  # noqa: S301 - we wrote it: the database has its hash


def keep(
    stores: Stores, job: AnalyticsJob, parameters: Parameters, datasets: Sequence[Dataset], result: Result
) -> KeptModel | None:
    """Store what a job has fitted in the place of an earlier fit; the caller commits.

    None if another job has just done so.
    """
    session, hash_ = stores.session, parameters_hash(parameters)
    content = zlib.compress(pickle.dumps(result.fitted, protocol=5), 3)
    key = f"models/{job.device_id}/{job.analysis_type}-{job.model_name}-{hash_[:12]}-{job.job_id}.bin"
    stores.objects.put(key, content)
    row = KeptModel(
        tenant_id=job.tenant_id,
        device_id=job.device_id,
        analysis_type=job.analysis_type,
        model_name=job.model_name,
        parameters=parameters.model_dump(mode="json", exclude={"refit"}),
        parameters_hash=hash_,
        dataset_hash=dataset_hash(datasets),
        fitted_from=job.date_range_start,
        fitted_until=job.date_range_end,
        code_version=code_version(),
        libraries=libraries(),
        object_key=key,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        job_id=job.job_id,
        is_fleet=result.is_fleet,
    )
    before = kept_model(session, job, hash_)
    try:
        with session.begin_nested():
            if before is not None:
                session.delete(before)
                session.flush()
            session.add(row)
    except IntegrityError:  # another job has just kept a model for the same parameters
        stores.objects.delete(key)
        return None
    if before is not None and before.object_key != key:
        stores.objects.delete(before.object_key)
    return row


def model_json(row: KeptModel, *, is_new: bool) -> dict[str, Any]:
    """What a result says of the model behind it."""
    return {
        "model_id": row.model_id,
        "fitted_by": row.job_id,
        "fitted_from": row.fitted_from.date().isoformat(),
        "fitted_until": row.last_day.isoformat(),
        "is_new": is_new,
    }
