"""Intake: messages are decoded, kept and acknowledged; what is refused goes to quarantine and can be replayed."""

from ingest.intake.decode import EARLIEST, MAX_AHEAD, decode_payload, plausible_limits
from ingest.intake.quarantine import MAX_REPLAYED, ReplayRunning, replay

__all__ = ["EARLIEST", "MAX_AHEAD", "MAX_REPLAYED", "ReplayRunning", "decode_payload", "plausible_limits", "replay"]
