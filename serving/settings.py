"""What the API alone reads: limits of requests and of rules."""

from typing import Annotated

from pydantic import Field

from storage.settings import EnvironmentSettings


class ApiSettings(EnvironmentSettings):
    """Limits of requests, and limits and defaults of rules."""

    # Requests a second of one key, or of one address without a key; ten seconds' worth may come at once. 0: no limit.
    api_rate_limit: Annotated[float, Field(ge=0)] = 100
    api_max_body_mb: Annotated[float, Field(gt=0)] = 8

    notification_cooldown_minutes: Annotated[int, Field(ge=0, le=525_600)] = 15
    rule_evaluation_timeout: Annotated[float, Field(gt=0, le=300)] = 5  # seconds
    max_rules_per_device: Annotated[int, Field(ge=1)] = 100
