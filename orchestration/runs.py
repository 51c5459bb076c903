"""Dagster's runs, as sensors and retention look them up."""

import dagster as dg

# A run whose process holds a lock, so that the sensor `end_dead_runs` can tell whether it is alive.
WATCHED_TAG = "energy/watched"

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FINISHED = [status for status in dg.DagsterRunStatus if status not in UNFINISHED]
