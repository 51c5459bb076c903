"""What an analysis learns of a device from the platform's own tables and files."""

from datetime import UTC, datetime, timedelta

from assets.analyses import device_context
from assets.datasets.export import export_day
from storage.devices import Device
from storage.failures import Failure
from storage.stores import Stores
from storage.times import midnight, utc_now
from tests.support.plant import DAY, DAY_MINUTES, reading, store

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)


def test_failures_and_peers_are_those_of_the_same_type_and_tenant(stores: Stores) -> None:
    devices = {
        "D1": ("acme", "pump"),
        "D2": ("acme", "pump"),
        "D3": ("acme", "pump"),
        "gone": ("acme", "pump"),
        "other-type": ("acme", "press"),
        "other-tenant": ("else", "pump"),
        "nobodys": (None, "pump"),
    }
    for name, (tenant_id, kind) in devices.items():
        deleted = utc_now() if name == "gone" else None
        row = Device(device_id=name, device_name=name, device_type=kind, tenant_id=tenant_id, deleted_at=deleted)
        stores.session.add(row)
        stores.session.add(Failure(device_id=name, failed_at=NOON, source="api"))
    stores.session.add(Failure(device_id="D3", failed_at=NOON + timedelta(days=1), source="status"))
    stores.session.commit()
    store(stores, *(reading(minute, "D3", power=1.0 + minute) for minute in range(DAY_MINUTES)))
    export_day(stores, "D3", DAY)
    context = device_context(stores, "D1", midnight(DAY), midnight(DAY + timedelta(days=1)))
    assert [failure.failed_at for failure in context.failures] == [NOON]
    most, one = context.peers()
    assert (most.device_id, len(most.failures)) == ("D3", 2)
    assert (one.device_id, len(one.failures), one.read()) == ("D2", 1, None)
    rows = most.read()
    assert rows is not None
    assert rows["power"].to_pylist() == [1.0 + minute for minute in range(DAY_MINUTES)]
    of_nobody = device_context(stores, "nobodys", midnight(DAY), midnight(DAY + timedelta(days=1)))
    assert of_nobody.peers() == []
