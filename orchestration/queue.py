"""The queue of runs. A run that has room starts at once, without waiting for the daemon's next look at the queue."""

import logging
import threading
from typing import Any

import dagster as dg
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._utils.tags import TagConcurrencyLimitsCounter

log = logging.getLogger(__name__)

QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
ACTIVE = dg.RunsFilter(
    statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)


class PromptRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, except that a run is launched at once if the limits allow it and no other run waits.

    The daemon empties Dagster's own queue, at intervals of a second or more. A warm Celery worker starts a job in half
    a second, so that delay would be most of the time. Dagster has no public way around it: this class uses private
    parts, and Dagster's version is pinned.

    The limits are checked as the daemon checks them. If both launch a run at the same moment, one run too many can be
    active for a while.
    """

    def __init__(self, **configured: Any) -> None:
        super().__init__(**configured)
        self._submitting = threading.Lock()

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Launch the run if it has room, or else put it into the queue."""
        run = context.dagster_run
        with self._submitting:
            if run.status == dg.DagsterRunStatus.NOT_STARTED and self._has_room_for(run):
                return self._launch(context)
        return super().submit_run(context)

    def _launch(self, context: SubmitRunContext) -> dg.DagsterRun:
        run_id = context.dagster_run.run_id
        try:
            return self._instance.launch_run(run_id, context.workspace)
        except Exception:
            # The run has failed, as it would have in the queue. Its submitter, such as a sensor's tick, goes on.
            log.exception("run %s could not be launched", run_id)
            return self._instance.get_run_by_id(run_id) or context.dagster_run

    def _has_room_for(self, run: dg.DagsterRun) -> bool:
        """Whether the limits allow this run, and block every queued run, so that none is overtaken."""
        limits = self._instance.get_concurrency_config().run_queue_config
        active = self._instance.get_runs(ACTIVE)
        if limits is None or 0 <= limits.max_concurrent_runs <= len(active):
            return False
        blocks = TagConcurrencyLimitsCounter(limits.tag_concurrency_limits, active).is_blocked
        return not blocks(run) and all(blocks(waiting) for waiting in self._instance.get_runs(QUEUED, limit=100))
