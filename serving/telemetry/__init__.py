"""Telemetry over time."""
