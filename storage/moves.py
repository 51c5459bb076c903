"""A device that moves to another tenant: what goes along with it, over all tables.

What was made of its telemetry goes along: files, exports, analyses with their results, and maintenance windows. What
tells of the former owner's rules does not. Alerts, their notifications and the counts of suppressed ones stay with the
tenant that had the device when they were raised. Reports show such alerts, so from then on they belong to no tenant,
and only keys of all tenants see them.
"""

from collections.abc import Collection
from typing import Any

from sqlmodel import Session, col, delete, update

from storage.anomaly_feedback import AnomalyFeedback
from storage.catalogue import Dataset
from storage.corrections import FORMER_OWNER
from storage.failures import Failure
from storage.jobs import AnalyticsJob, ExportJob, ReportJob
from storage.kept_models import KeptModel
from storage.maintenance import MaintenanceWindow
from storage.pending import RulePending

GOES_ALONG: tuple[type[Any], ...] = (Dataset, AnalyticsJob, KeptModel, ExportJob, MaintenanceWindow)


def move(session: Session, device_ids: Collection[str], tenant_id: str | None, *, had_owner: bool = True) -> None:
    """Give what goes along with the devices to a tenant, or to none. The caller commits.

    If another tenant may have had them (`had_owner`), its descriptions of their failures are removed.
    """
    # On the connection: a request's session would leave out the rows of other tenants, and of none.
    connection = session.connection()
    owners: dict[type[Any], str | None] = {**dict.fromkeys(GOES_ALONG, tenant_id), ReportJob: None}
    for table, owner in owners.items():
        connection.execute(update(table).where(col(table.device_id).in_(device_ids)).values(tenant_id=owner))
    # What was said of anomalies goes along; who of the former owner said it, and the note, does not.
    said = {"tenant_id": tenant_id, "given_by": FORMER_OWNER, "note": None}
    connection.execute(update(AnomalyFeedback).where(col(AnomalyFeedback.device_id).in_(device_ids)).values(said))
    if had_owner:
        described = update(Failure).where(col(Failure.device_id).in_(device_ids))
        connection.execute(described.values(description=None))
    # Since when a rule's condition has held says nothing once the rule has not watched for a while.
    connection.execute(delete(RulePending).where(col(RulePending.device_id).in_(device_ids)))
