"""Dagster's own configuration in the home: the repository's `dagster.yaml` with the settings' values written in.

Dagster's limits do not read environment variables. And for work by hand in this home, DAGSTER_HOME alone is enough.
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from storage.job_runs import JOB_TAG, LONG_TAG, TENANT_TAG
from storage.settings import CHECKOUT, Settings

# Exports, and runs that are started in Dagster's UI, run beside the jobs that MAX_CONCURRENT_JOBS limits.
RUNS_BESIDE_JOBS = 2


def prepare(settings: Settings) -> Path:
    """Write the file and return its folder. Only the owner can read it, since it holds the database's password."""
    home = settings.dagster_home
    home.mkdir(mode=0o700, exist_ok=True)
    profile = "deploy/dagster.celery.yaml" if settings.celery_broker_url else "dagster.yaml"
    configuration = yaml.safe_load((CHECKOUT / profile).read_text())
    url = urlsplit(settings.database_url)
    configuration["storage"]["postgres"]["postgres_db"] |= {
        "username": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "hostname": url.hostname,
        "port": url.port or 5432,
        "db_name": unquote(url.path[1:]),
    }
    runs = configuration["concurrency"]["runs"]
    if settings.celery_broker_url:
        _use_celery(configuration, settings)
    else:
        runs["max_concurrent_runs"] = settings.max_concurrent_jobs + RUNS_BESIDE_JOBS
    for limit in runs["tag_concurrency_limits"]:
        if limit["key"] == JOB_TAG:
            limit["limit"] = settings.max_concurrent_jobs
        elif limit["key"] in (TENANT_TAG, LONG_TAG):
            limit["limit"] = max(1, settings.max_concurrent_jobs - 1)
    new = home / "dagster.yaml.new"
    new.touch(mode=0o600)
    new.write_text(f"# Written by `energy up` at every start; edits are lost.\n{yaml.safe_dump(configuration)}")
    new.replace(home / "dagster.yaml")
    return home


def _use_celery(configuration: dict[str, Any], settings: Settings) -> None:
    configuration["run_launcher"]["config"] |= dict.fromkeys(("broker", "backend"), settings.celery_broker_url)
    logs = configuration["compute_logs"]["config"]
    if settings.s3_bucket_name:
        logs["bucket"], logs["endpoint_url"] = settings.s3_bucket_name, settings.s3_endpoint_url
        if settings.s3_endpoint_url is None:
            del logs["endpoint_url"]
    else:
        del configuration["compute_logs"]  # they stay where the worker runs
