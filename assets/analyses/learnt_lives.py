"""Which lives a prediction learns from: those of the device, or of all devices of its type too."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from assets.analyses import readings
from assets.analyses.context import DeviceContext
from assets.analyses.failure_counts import NONE_RECORDED, too_few_failures
from assets.analyses.failure_labels import Labels, labels_of
from assets.analyses.parameters import MIN_FAILURES, PredictionParameters
from assets.analyses.prognostics.after_the_fact import known_afterwards
from assets.analyses.prognostics.recorded import RecordedFailure
from assets.analyses.prognostics.steps import MAX_STEPS, STEPS_PER_HORIZON, Steps, Unit, steps_of, within
from assets.analyses.result import CannotAnalyse

# With fewer of its own, two to learn from and two to be judged by, a device also learns from others of its type.
ENOUGH_OF_ITS_OWN = 4


@dataclass(frozen=True)
class Learnt:
    """The steps to learn from, those of the device first, its own failures among them, and what was left out.

    `devices` are the other devices with the number of their failures, if the model is the fleet's.
    """

    steps: Steps
    failures: tuple[RecordedFailure, ...]
    devices: dict[str, int]
    left_out: dict[str, str]

    @property
    def fleet(self) -> dict[str, Any]:
        """The other devices as a result shows them."""
        others = [{"device_id": name, "failures": count} for name, count in self.devices.items()]
        return {"used": bool(self.devices), "devices": others, "own_failures": len(self.failures)}


def learnt(
    table: pa.Table, labels: Labels, parameters: PredictionParameters, context: DeviceContext, horizon: timedelta
) -> Learnt:
    """The device's steps, and those of its fleet if that is asked for, or if its own failures are too few.

    Raises:
        CannotAnalyse: no metric changes, or there are too few failures.

    """
    rows, left_out = _informative(readings.frame(table), {*readings.LABELS, labels.column, parameters.label})
    step = step_of(rows, horizon)
    own = Unit(rows, within(rows, labels.failures, step))
    may_use_fleet = parameters.fleet is not False
    peers = context.peers() if may_use_fleet and _needs_fleet(parameters, own) else ()
    if not labels.failures and not any(peer.failures for peer in peers):
        raise CannotAnalyse(NONE_RECORDED)
    step = max(step, (rows.index[-1] - rows.index[0]) * (1 + len(peers)) / MAX_STEPS)
    devices: dict[str, int] = {}

    def units() -> Iterator[Unit]:
        yield own
        for peer in peers:
            if (unit := _unit_of(peer.read(), peer.failures, [str(name) for name in rows], step)) is not None:
                devices[peer.device_id] = len(unit.failures)
                yield unit

    steps = steps_of(units(), step)
    failures = len(own.failures) + sum(devices.values())
    if failures < MIN_FAILURES:
        source = labels.source or "failures"
        raise CannotAnalyse(too_few_failures(len(own.failures), len(labels.failures), devices, source))
    afterwards = known_afterwards(steps)
    if len(afterwards) == len(steps.means.columns):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in afterwards.items())
        raise CannotAnalyse(f"No metric can indicate a failure ({reasons}).")
    return Learnt(steps.without(afterwards), own.failures, devices, left_out | afterwards)


def step_of(rows: pd.DataFrame, horizon: timedelta) -> timedelta:
    """A 24th of the horizon, but not shorter than the time between two readings; at most MAX_STEPS in all."""
    times = pd.DatetimeIndex(rows.index)
    return max(horizon / STEPS_PER_HORIZON, readings.cadence(times), (times[-1] - times[0]) / MAX_STEPS)


def _needs_fleet(parameters: PredictionParameters, own: Unit) -> bool:
    return bool(parameters.fleet) or len(own.failures) < ENOUGH_OF_ITS_OWN


def _informative(rows: pd.DataFrame, labels: Collection[str | None]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The metrics that change and are not labels, and the others with the reason."""
    given = "it says when the device failed"
    left_out = {str(n): readings.IS_LABEL if n in readings.LABELS else given for n in rows if n in labels}
    left_out |= {str(name): "constant" for name in rows if name not in labels and rows[name].nunique() < 2}
    rows = rows.drop(columns=list(left_out)).dropna(how="all")
    if not len(rows.columns):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise CannotAnalyse(f"No metric changes, so none can indicate a failure ({reasons or 'no readings'}).")
    return rows, left_out


def _unit_of(table: pa.Table | None, recorded: Any, metrics: list[str], step: timedelta) -> Unit | None:
    """Another device with the same metrics; None if it has no readings of any."""
    measured = [] if table is None else [name for name in readings.measured_metrics(table) if name in metrics]
    if table is None or not measured:
        return None
    rows = readings.frame(table, measured).reindex(columns=metrics)
    return Unit(rows, within(rows, labels_of(table, (), recorded, None).failures, step))
