from sqlalchemy import Engine
from sqlmodel import Session

from ingest.devices.last_seen import LastSeen
from ingest.devices.registry import Registry
from ingest.notify.outbox import Outbox
from ingest.notify.settings import NotifySettings
from ingest.rules.alerts import AlertRaiser
from storage.rules import Rule
from storage.settings import Settings
from storage.times import utc_now


def test_only_rules_that_changed_are_loaded_and_built_again(
    settings: Settings, engine: Engine, session: Session
) -> None:
    rules = [
        Rule(rule_name=str(i), scope="all_devices", property="power", condition=">", threshold=1.0 + i)
        for i in range(3)
    ]
    session.add_all(rules)
    session.commit()
    registry = Registry(settings, engine)
    registry.load()
    raiser = AlertRaiser(registry, LastSeen(), Outbox(NotifySettings.load()))
    before, rows = raiser.rules, registry.rules
    registry.load()
    assert registry.rules is rows
    assert raiser.rules is before
    rules[1].threshold, rules[1].updated_at = 9.0, utc_now()
    session.add(rules[1])
    session.commit()
    registry.load()
    after = raiser.rules
    assert sorted(rule.threshold for rule in after.rules) == [1.0, 3.0, 9.0]
    assert len({id(rule) for rule in before.rules} & {id(rule) for rule in after.rules}) == 2
