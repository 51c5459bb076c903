"""Whether a device's day can be trusted: checks, and the settings of their thresholds."""

from assets.quality.settings import QUALITY_CHECKS, QualityCheck, QualitySettings, Thresholds

__all__ = ["QUALITY_CHECKS", "QualityCheck", "QualitySettings", "Thresholds"]
