"""Where runs wait for their turn. One that need not wait begins at once, not when the daemon next looks."""

import logging
import threading
from typing import Any

import dagster as dg
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._utils.tags import TagConcurrencyLimitsCounter

log = logging.getLogger(__name__)

QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
AT_WORK = dg.RunsFilter(
    statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)


class PromptRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, which the daemon empties within its limits every second; past it where nobody waits.

    That second is most of what a short job takes to begin on a warm worker. The limits hold: who submits counts what is
    at work as the daemon does. Only if both let a run begin at the very same moment there is one more for a while.
    """

    def __init__(self, **configured: Any) -> None:
        super().__init__(**configured)
        self._submitting = threading.Lock()

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Launch the run if there is room and no other one waits for that, else put it into the queue."""
        run = context.dagster_run
        with self._submitting:
            if run.status == dg.DagsterRunStatus.NOT_STARTED and self._has_room_for(run):
                return self._launched(context)
        return super().submit_run(context)

    def _launched(self, context: SubmitRunContext) -> dg.DagsterRun:
        run_id = context.dagster_run.run_id
        try:
            return self._instance.launch_run(run_id, context.workspace)
        except Exception:
            # The run is failed, as one from the queue would be: no reason to fail who submitted it, a whole tick maybe.
            log.exception("run %s could not be launched", run_id)
            return self._instance.get_run_by_id(run_id) or context.dagster_run

    def _has_room_for(self, run: dg.DagsterRun) -> bool:
        limits = self._instance.get_concurrency_config().run_queue_config
        at_work = self._instance.get_runs(AT_WORK)
        if limits is None or 0 <= limits.max_concurrent_runs <= len(at_work):
            return False
        blocks = TagConcurrencyLimitsCounter(limits.tag_concurrency_limits, at_work).is_blocked
        return not blocks(run) and all(blocks(waiting) for waiting in self._instance.get_runs(QUEUED, limit=100))
