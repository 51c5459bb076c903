"""A machine: its tabs, and what is known of it now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from fastapi import Query, Request, Response
from sqlmodel import Session

from assets.quality import GAUGE_LIMIT
from serving.alerts.schemas import AlertPublic
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings, Readings, WorkingSite
from serving.devices.schemas import DevicePath
from serving.http.errors import NotFound
from serving.http.pagination import PageQuery
from serving.pages.broker import broker_of
from serving.pages.cadence import silent_after
from serving.pages.display import KNOWN_UNITS
from serving.pages.recent import recent
from serving.pages.render import is_partial, show
from serving.pages.route import pages
from serving.rules import routes as rules
from serving.rules.schemas import RuleQuery
from serving.telemetry.routes import refuse_unknown
from serving.telemetry.states import states_data
from storage import attention
from storage.devices import Device, DeviceMetadata, order_metrics
from storage.known_ids import known_ids
from storage.last_seen import DeviceLastSeen
from storage.times import DAY, HOUR, SECOND, microseconds, utc_now

router = pages()

# Metrics may come in messages of their own: the newest value of each is looked for in so many readings.
NEWEST = 50


class Tab(NamedTuple):
    """A tab of the page: the end of its path, and its name."""

    path: str
    name: str


TABS = (
    Tab("", "Overview"),
    Tab("telemetry", "Telemetry"),
    Tab("rules", "Rules"),
    Tab("alerts", "Alerts"),
    Tab("energy", "Energy"),
    Tab("analyses", "Analyses"),
    Tab("data", "Data"),
)


class Value(NamedTuple):
    """The newest value of a metric, with its unit, and its nominal band if one is declared."""

    name: str
    value: float
    unit: str
    at: datetime
    band: tuple[float, float] | None

    @property
    def is_out_of_band(self) -> bool:
        return self.band is not None and not self.band[0] <= self.value <= self.band[1]


def machine_context(session: Session, device_id: str, tab: str) -> dict[str, Any]:
    """What every tab shows above: the machine, as far as it is registered, and when it was last seen.

    Raises:
        NotFound: It was never registered, and has not sent anything.

    """
    device = session.get(Device, device_id)
    if device is None:
        if (known := known_ids(session, [device_id])[0]) != device_id:
            raise NotFound(f"there is no machine {device_id}; did you mean {known}?")
        refuse_unknown(session, [device_id])
    seen = session.get(DeviceLastSeen, device_id)
    metadata = DeviceMetadata.parse(device.metadata_json if device else None)
    return {"device_id": device_id, "device": device, "metadata": metadata, "seen": seen, "tab": tab, "tabs": TABS}


@router.get("/machines/{device_id}")
def overview(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    *,
    limits: LimitSettings,
    site: WorkingSite,
    principal: CurrentPrincipal,
    device_id: DevicePath,
) -> Response:
    """What the machine does now: newest values and open alerts; the states of the last day come after the page."""
    context = machine_context(session, device_id, "")
    now = microseconds(utc_now())
    worst = attention.worst_alerts(session, device_id, limit=5)

    is_part = is_partial(request)
    seen: DeviceLastSeen | None = context["seen"]
    rows = newest_rows(reader, device_id, seen)

    def states() -> dict[str, Any]:
        # The next reading says what the machine does since the newest one.
        newest = microseconds(rows[-1]["time"]) if rows else now
        end = newest if now - GAUGE_LIMIT < newest < now else now
        found = states_data(session, reader, settings, site, device_id, start=end - DAY, end=end)
        last = found["timeline"][-1] if found["timeline"] else None
        # Readings without power come after the newest one with it: "silent" would say more than is known.
        if last and last["state"] == "silent" and (since := microseconds(last["start_time"])) > end - GAUGE_LIMIT:
            found = states_data(session, reader, settings, site, device_id, start=since - DAY, end=since)
        return found

    context |= {
        "values": newest_values(rows, context["metadata"]),
        "newest": max([*(row["time"] for row in rows[-1:]), *([seen.last_seen_at] if seen else [])], default=None),
        "silent_after": silent_after(context["metadata"], [microseconds(row["time"]) for row in rows]) // SECOND,
        "topic": settings.mqtt_topic.replace("+", device_id).replace("#", f"{device_id}/telemetry"),
        "broker": ":".join(broker_of(request, settings, limits)),
        "states": recent(request, 30).get(("states", device_id), states) if is_part else None,
        "alerts": [AlertPublic.seen_by(principal.tenant_id, alert) for alert in worst],
    }
    return show(request, "partials/machine_now.html" if is_part else "machine_overview.html", context)


@router.get("/machines/{device_id}/rules")
def rules_of_machine(
    request: Request, session: DatabaseSession, device_id: DevicePath, page: Annotated[PageQuery, Query()]
) -> Response:
    """The rules that watch the machine."""
    query = RuleQuery(device_id=device_id, page=page.page, page_size=page.page_size, sort="-created_at")
    context = machine_context(session, device_id, "rules") | {"rules": rules.list_rules(session, query), "query": query}
    return show(request, "machine_rules.html", context)


def newest_rows(reader: Readings, device_id: str, seen: DeviceLastSeen | None) -> list[dict[str, Any]]:
    """The newest readings, ascending."""
    # When a device was last seen is saved now and then: its first readings may be there before.
    end = microseconds(seen.newest_reading if seen else utc_now()) + HOUR
    rows: list[dict[str, Any]] = reader.read(device_id, end - DAY, end, newest=NEWEST).to_pylist()
    return rows


def newest_values(rows: Sequence[Mapping[str, Any]], metadata: DeviceMetadata) -> list[Value]:
    """The newest value of each metric."""
    found: dict[str, Value] = {}
    for row in reversed(rows):
        at = row["time"]
        for name, value in row.items():
            if name != "time" and value is not None and name not in found:
                found[name] = Value(name, value, unit_of(name, metadata), at, metadata.bands.get(name))
    return [found[name] for name in order_metrics(set(found)) if name in found]


def unit_of(metric: str, metadata: DeviceMetadata) -> str:
    """The unit of a metric's values: of counters as they are declared, if a reading is an amount in it."""
    counter = metadata.counters.get(metric)
    if counter is not None:
        return counter.unit if counter.factor in (None, 1) else ""
    return KNOWN_UNITS.get(metric, "")
