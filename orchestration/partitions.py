"""Partitions: UTC days, UTC months, and devices. Days and devices are not combined.

Dagster supports up to 100,000 partitions per asset. The run of a day exports the day's devices one by one instead.
"""

import dagster as dg

from storage.job_runs import DEVICE_PARTITIONS
from storage.settings import Settings

# Today is a partition too. It is materialized many times until it closes.
first_day = Settings.load().dataset_start_date
days = dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1)
months = dg.MonthlyPartitionsDefinition(start_date=first_day.replace(day=1).isoformat(), timezone="UTC")
devices = dg.DynamicPartitionsDefinition(name=DEVICE_PARTITIONS)
