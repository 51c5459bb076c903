"""What QUALITY_THRESHOLDS says: from which measured number on a check of a day warns or fails."""

from functools import cached_property
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from storage.settings import EnvironmentSettings

# The checks of a device's day.
QualityCheck = Literal[
    "completeness", "gaps", "duplicates", "flatline", "out_of_band", "clock_skew", "power_consistency"
]
QUALITY_CHECKS: tuple[QualityCheck, ...] = get_args(QualityCheck)


class Thresholds(BaseModel):
    """From where on a measured number is a warning, and from where on an error; null is never."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warn: float | None = None
    error: float | None = None
    below: bool = False

    def status(self, value: float) -> str:
        """`ok`, `warn` or `error`."""
        for name, limit in (("error", self.error), ("warn", self.warn)):
            if limit is not None and (value < limit if self.below else value > limit):
                return name
        return "ok"


# Shares of the day or of its readings; gaps and flatline in minutes, clock skew in seconds.
DEFAULT_THRESHOLDS: dict[QualityCheck, Thresholds] = {
    "completeness": Thresholds(warn=0.95, error=0.1, below=True),
    "gaps": Thresholds(warn=60),
    "duplicates": Thresholds(warn=0.01, error=0.5),
    "flatline": Thresholds(warn=120),
    "out_of_band": Thresholds(warn=0.05),
    "clock_skew": Thresholds(warn=60, error=3600),
    "power_consistency": Thresholds(warn=0.01, error=0.5),
}


class QualitySettings(EnvironmentSettings):
    """The thresholds of the checks; a check that QUALITY_THRESHOLDS does not name keeps its default."""

    quality_thresholds: dict[QualityCheck, Thresholds] = Field(default_factory=dict)

    @cached_property
    def thresholds(self) -> dict[QualityCheck, Thresholds]:
        """The thresholds of every check."""
        given = {kind: limits.model_dump(exclude_unset=True) for kind, limits in self.quality_thresholds.items()}
        return {kind: default.model_copy(update=given.get(kind)) for kind, default in DEFAULT_THRESHOLDS.items()}
