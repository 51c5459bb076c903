"""Telemetry in: from a message of a device to its readings, alerts and notifications."""
