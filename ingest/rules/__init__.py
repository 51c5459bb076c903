"""Rules: readings that breach them become alerts, by pending period, active hours, maintenance and cooldown."""

from ingest.rules.active_rule import ActiveRule
from ingest.rules.alerts import Outcome, raise_alerts
from ingest.rules.backtest import Backtest, could_meet
from ingest.rules.evaluate import evaluate_readings
from ingest.rules.outside_forecast import ForecastWatch, MeasuredHour
from ingest.rules.rule_set import RuleSet

__all__ = [
    "ActiveRule",
    "Backtest",
    "ForecastWatch",
    "MeasuredHour",
    "Outcome",
    "RuleSet",
    "could_meet",
    "evaluate_readings",
    "raise_alerts",
]
