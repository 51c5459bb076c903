"""Dagster's webserver behind a guard that knows the platform's keys."""
