"""Datasets: a device's days as Parquet files, and reads over files and the telemetry store."""
