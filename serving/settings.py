"""The settings of the API alone: limits of requests, limits and defaults of rules."""

from typing import Annotated

from pydantic import Field

from storage.settings import EnvironmentSettings


class ApiSettings(EnvironmentSettings):
    """Limits of requests, and limits and defaults of rules."""

    # Requests per second from one key, or from one address without a key; bursts may be ten times as many. 0: no limit.
    api_rate_limit: Annotated[float, Field(ge=0)] = 100
    api_max_body_mb: Annotated[float, Field(gt=0)] = 8

    notification_cooldown_minutes: Annotated[int, Field(ge=0, le=525_600)] = 15
    rule_evaluation_timeout: Annotated[float, Field(gt=0, le=300)] = 5  # seconds
    max_rules_per_device: Annotated[int, Field(ge=1)] = 100
