"""Where the failures that a prediction learns from come from, and what to say if they are too few."""

from collections.abc import Mapping
from typing import Literal

from assets.analyses.parameters import MIN_FAILURES

LabelSource = Literal["parameters", "failures", "column"]
# Columns that say of each reading whether the device had failed, in the order in which they are looked for.
LABEL_COLUMNS = ("failure", "machine_failure", "fault")
_NAMES: Mapping[LabelSource, tuple[str, str]] = {
    "parameters": ("failure in parameters.failures", "failures in parameters.failures"),
    "failures": ("recorded failure", "recorded failures"),
    "column": ("failure in the column of labels", "failures in the column of labels"),
}
_EXAMPLE = '{"failures": ["2026-01-05T08:30:00Z", "2026-01-19T17:00:00Z", "2026-02-02T06:15:00Z"], "horizon_hours": 24}'
NONE_RECORDED = (
    f"There are no recorded failures; at least {MIN_FAILURES} are needed. Record them with POST"
    " /api/v1/devices/{device_id}/failures or `energy failures import`, or give the moments as parameters.failures, for"
    f" example {_EXAMPLE}."
)


def too_few_failures(inside: int, known: int, others: Mapping[str, int], source: LabelSource) -> str:
    """Says that a device's failures do not suffice, and what to do.

    Args:
        inside: how many of its failures lie within the readings.
        known: how many there are in all.
        others: other devices of its type with the number of their failures.
        source: where its failures come from.

    """
    one, several = _NAMES[source]
    if inside == known:
        have = f"There is 1 {one}" if known == 1 else f"There are {known} {several}"
    else:
        lie = "lies" if inside == 1 else "lie"
        have = f"{inside} of {known} {several if known > 1 else one} {lie} within the readings"
    if others:
        count = "1 other device of its type has" if len(others) == 1 else f"{len(others)} others of its type have"
        have += f"; {count} {sum(others.values())}"
    if inside < known:
        remedy = "Choose days that include more of them."
    elif source == "column":
        remedy = "Choose more days."
    else:
        more = "Give more" if source == "parameters" else "Record more, or give all moments as parameters.failures"
        remedy = f"{more}, for example {_EXAMPLE}."
    return f"{have}; at least {MIN_FAILURES} are needed. {remedy}"
