"""Whether a device's day can be trusted: checks, and the settings of their thresholds."""

from assets.quality.cadence import GAUGE_LIMIT
from assets.quality.settings import QUALITY_CHECKS, QualityCheck, QualitySettings, Thresholds

__all__ = ["GAUGE_LIMIT", "QUALITY_CHECKS", "QualityCheck", "QualitySettings", "Thresholds"]
