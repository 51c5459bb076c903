"""Alerts reach people: an outbox in the alert's own transaction, and senders that try until it is through."""
