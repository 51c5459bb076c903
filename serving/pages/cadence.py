"""How long a machine may send nothing before it counts as silent: one rule for all pages."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from storage.devices import DeviceMetadata
from storage.times import MINUTE, SECOND

# A reading or two may be late or lost.
STEPS = 3
MIN_SILENT = MINUTE
# Of a machine of which neither is known.
SILENT_BY_DEFAULT = 5 * MINUTE


def silent_after(metadata: DeviceMetadata, times: Sequence[int]) -> int:
    """The time (µs) without a reading after which the machine is silent.

    It is three of the steps that the metadata declare, or else of the usual steps between the newest readings.

    Args:
        metadata: of the machine.
        times: of its newest readings (µs), ascending.

    """
    steps = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    if metadata.cadence_seconds is not None:
        step = metadata.cadence_seconds * SECOND
    elif steps:
        step = median(steps)
    else:
        return SILENT_BY_DEFAULT
    return max(MIN_SILENT, int(STEPS * step))
