"""When and how things are made: Dagster's definitions, thin over `assets`."""
