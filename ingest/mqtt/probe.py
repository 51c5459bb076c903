"""The probe: a message to ourselves through the broker, which shows whether what devices send would reach us.

A connection can be open and answer pings while nothing is delivered over it any more. So the subscription publishes a
probe every few seconds, with QoS 1 and over its own session, where it waits behind everything else that the broker
delivers. A probe that comes back, or any message, is a sign of life.
"""

import logging
import time

log = logging.getLogger(__name__)

TOPIC = "energy/probe"
INTERVAL_SECONDS = 4.0
# A connection is dead if a probe was sent so long ago and nothing has arrived since.
DEAD_SECONDS = 20.0
# If a new connection brings nothing either, the next one is tried after twice the time, and so on.
MAX_DOUBLINGS = 5


class Probe:
    """What one session knows of its probes. It is not thread-safe: its owner has a lock."""

    def __init__(self, client_id: str) -> None:
        self.topic = f"{TOPIC}/{client_id}"
        self.returned = 0
        self.reconnects = 0
        self._returned_at = time.monotonic()
        self._sent_at = 0.0
        self._unanswered_since: float | None = None
        self._reconnects_in_vain = 0
        self._has_warned = False

    @property
    def age_seconds(self) -> float:
        """Seconds since a probe came back, or since the start."""
        return time.monotonic() - self._returned_at

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._sent_at >= INTERVAL_SECONDS

    @property
    def is_unanswered(self) -> bool:
        """Whether a probe was sent, and nothing has arrived for `DEAD_SECONDS` since."""
        return self._reconnects_in_vain > 0 or self._silent_seconds >= DEAD_SECONDS

    @property
    def has_never_returned(self) -> bool:
        """Whether no probe has come back and the time for one is over: the broker may not allow the topic."""
        return self._has_warned and not self.returned

    @property
    def _silent_seconds(self) -> float:
        return 0.0 if self._unanswered_since is None else time.monotonic() - self._unanswered_since

    def sent(self) -> None:
        self._sent_at = time.monotonic()
        if self._unanswered_since is None:
            self._unanswered_since = self._sent_at

    def came_back(self) -> None:
        self.returned += 1
        self._returned_at = time.monotonic()
        self.sign_of_life()

    def sign_of_life(self) -> None:
        """Something has arrived, or what arrived before was still being kept."""
        self._unanswered_since = None
        self._reconnects_in_vain = 0

    def connected(self) -> None:
        """Start anew, an interval before the next probe: what was sent over the connection before may be lost."""
        self._sent_at, self._unanswered_since = time.monotonic(), None

    def wants_reconnect(self) -> bool:
        """Whether to give the connection up now; it is counted and logged.

        A broker that lets no probe through looks the same as a dead connection. So nothing is given up before the
        first probe has come back.
        """
        if self._silent_seconds < DEAD_SECONDS * 2 ** min(self._reconnects_in_vain, MAX_DOUBLINGS):
            return False
        if not self.returned:
            if not self._has_warned:
                self._has_warned = True
                log.warning(
                    "no probe has come back. Allow the platform's login to publish and read %s/# at the broker;"
                    " until then ingestion cannot notice a connection that delivers nothing",
                    TOPIC,
                )
            return False
        self.reconnects += 1
        self._reconnects_in_vain += 1
        log.error(
            "nothing has come from the broker for %.0f s, not even a probe; connecting again", self._silent_seconds
        )
        return True
