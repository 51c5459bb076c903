"""Telemetry in: subscribe, decode, validate, enrich, keep; evaluate rules and raise alerts."""
