"""The limit on the rules that watch one device: MAX_RULES_PER_DEVICE."""

from sqlmodel import Session

from serving.http.errors import Conflict
from storage.rules import Rule, most_watched_device


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
