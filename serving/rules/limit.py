"""How many rules may watch one device: MAX_RULES_PER_DEVICE."""

from sqlalchemy import text
from sqlmodel import Session

from serving.http.errors import Conflict
from storage.rules import Rule

# Two that would pass the limit together wait for each other.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('energy/rules-per-device'))")
_EVERYWHERE = text("""
SELECT tenant_id, count(*)::int AS rules FROM rules
WHERE scope = 'all_devices' AND status = 'active' AND deleted_at IS NULL AND rule_id <> :rule_id GROUP BY tenant_id
""")
_FULLEST = text("""
SELECT selected.device_id, count(DISTINCT rule_id) AS watching FROM rules, unnest(device_ids) AS selected (device_id)
WHERE scope = 'selected_devices' AND status = 'active' AND deleted_at IS NULL AND rule_id <> :rule_id
  AND (:everywhere OR selected.device_id = ANY(CAST(:devices AS text[])))
  AND (CAST(:tenant AS text) IS NULL
       OR EXISTS (SELECT FROM devices d WHERE d.device_id = selected.device_id AND d.tenant_id = :tenant))
GROUP BY selected.device_id ORDER BY watching DESC, selected.device_id LIMIT 1
""")


def check_limit(session: Session, rule: Rule, most: int) -> None:
    """Let an active rule join the others only if every device that it watches stays within the limit.

    Raises:
        Conflict: one would not; it is named.

    """
    if rule.status != "active" or rule.deleted_at:
        return
    session.execute(_LOCK)
    for_all = rule.scope == "all_devices"
    counts = session.execute(_EVERYWHERE, {"rule_id": rule.rule_id})
    by_tenant: dict[str | None, int] = {row.tenant_id: row.rules for row in counts}
    of_nobody = by_tenant.pop(None, 0)
    own = max(by_tenant.values(), default=0) if rule.tenant_id is None else by_tenant.get(rule.tenant_id, 0)
    fullest = session.execute(
        _FULLEST, {"rule_id": rule.rule_id, "everywhere": for_all, "devices": rule.device_ids, "tenant": rule.tenant_id}
    ).first()
    watching = of_nobody + own + (fullest[1] if fullest else 0)
    if watching >= most:
        device = fullest[0] if fullest else (rule.device_ids[0] if not for_all else "every device")
        raise Conflict(
            f"{device} is watched by {watching} active rules, and MAX_RULES_PER_DEVICE is {most};"
            " pause or delete one of them, or raise the limit",
            field="device_ids",
        )
