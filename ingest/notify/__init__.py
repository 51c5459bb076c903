"""Notifications: an outbox that is filled in the alert's transaction, and senders that try until one is delivered."""

from ingest.notify.channels import DeliveryFailed, Unconfigured
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.notify.trial import send_test

__all__ = ["DeliveryFailed", "NotifySettings", "Outbox", "Unconfigured", "send_test"]
