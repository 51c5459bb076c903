"""The two jobs that make a day's datasets: a lean one for the open day, and one with checks for closed days."""

import dagster as dg

from orchestration.datasets.observations import TELEMETRY_DATASET

dataset_job = dg.define_asset_job(
    "dataset_job",
    selection=dg.AssetSelection.assets(TELEMETRY_DATASET).without_checks(),
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Updates the files of the open day. The sensor `export_touched_days` requests it.",
)
closed_day_job = dg.define_asset_job(
    "closed_day_job",
    selection=dg.AssetSelection.assets(TELEMETRY_DATASET),
    executor_def=dg.in_process_executor,
    tags={"energy/purpose": "export"},
    description="Exports and checks a day that has closed or has late data. The sensor `export_touched_days` requests"
    " it.",
)
