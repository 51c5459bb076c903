"""The dimensions: UTC days and months, and devices in step with the registry. They are never multiplied.

Dagster's limit is 100,000 partitions an asset; a daily run holds its devices inside instead.
"""

import dagster as dg

from storage.settings import Settings

# Today is a partition too: it is materialized many times until it closes.
first_day = Settings.load().dataset_start_date
days = dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1)
months = dg.MonthlyPartitionsDefinition(start_date=first_day.replace(day=1).isoformat(), timezone="UTC")
devices = dg.DynamicPartitionsDefinition(name="devices")
