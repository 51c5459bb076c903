"""What orchestration alone reads: how often days are exported, and how runs are split."""

from typing import Annotated

from pydantic import Field

from storage.settings import EnvironmentSettings


class OrchestrationSettings(EnvironmentSettings):
    """Pace and size of runs, how many days analyses and unused models stay (0: forever), and how long a night is."""

    export_interval_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    lookback_hours: Annotated[float, Field(ge=0)] = 1
    max_export_window_hours: Annotated[float, Field(ge=24)] = 24
    split_runs_above_devices: Annotated[int, Field(ge=1)] = 2000
    analysis_retention_days: Annotated[int, Field(ge=0)] = 0
    model_retention_days: Annotated[int, Field(ge=0)] = 60
    night_budget_minutes: Annotated[int, Field(ge=1, le=1440)] = 240
