"""Notifications: an outbox that is filled in the alert's transaction, and senders that try until one is delivered."""

from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings

__all__ = ["NotifySettings", "Outbox"]
