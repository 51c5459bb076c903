"""Retention: old telemetry, files and runs are deleted every night."""
