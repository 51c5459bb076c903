"""What a rule may watch: devices of its tenant, with at most MAX_RULES_PER_DEVICE rules each."""

from collections.abc import Collection

from sqlmodel import Session

from serving.http.errors import Conflict, Invalid
from storage.devices import tenants_devices
from storage.rules import Rule, most_watched_device


def check_devices(session: Session, rule: Rule, device_ids: Collection[str]) -> None:
    """Check that the ids that a tenant's rule is to watch are devices of the tenant. Deleted ones may come back.

    Raises:
        Invalid: One is not. Whether another tenant has it is not told.

    """
    if rule.tenant_id is None:
        return
    if unknown := sorted(set(device_ids) - tenants_devices(session, rule.tenant_id, device_ids)):
        raise Invalid(f"{rule.tenant_id} has no device {unknown[0]}; register the device first", field="device_ids")


def check_limit(session: Session, rule: Rule, limit: int) -> None:
    """Check that at most `limit` active rules watch each device of this rule, with this rule among them.

    Raises:
        Conflict: More rules would watch a device, which the error names.

    """
    if rule.status != "active" or rule.deleted_at:
        return
    device_id, rules = most_watched_device(session, rule)
    if rules >= limit:
        name = device_id or ("every device" if rule.scope == "all_devices" else rule.device_ids[0])
        raise Conflict(
            f"{rules} active rules watch {name}, and MAX_RULES_PER_DEVICE is {limit};"
            " pause or delete one of them, or raise the limit",
            field="device_ids",
        )
