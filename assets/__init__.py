"""What is made from telemetry: datasets, analyses, reports. Plain functions on Arrow; Dagster is in `orchestration`."""
