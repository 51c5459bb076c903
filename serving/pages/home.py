"""The first page: what needs attention now. Its parts come one by one, and anew while the page stays open."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response

from assets.analyses import strongest_event
from assets.energy import fleet_peak
from serving.alerts import routes as alerts
from serving.alerts.schemas import AlertPublic, AlertQuery
from serving.alerts.summary import SummaryQuery, summarize_alerts
from serving.analytics import routes as analytics
from serving.analytics.fleet import FleetQuery, JobBehind, rank_fleet
from serving.analytics.schemas import JobQuery
from serving.auth.principal import CurrentPrincipal
from serving.auth.tenancy import DatabaseSession
from serving.dependencies import LimitSettings, PlatformSettings, Readings
from serving.http.fields import Instant
from serving.pages.broker import broker_of
from serving.pages.figures import figures_of
from serving.pages.intake_rate import readings_per_second
from serving.pages.recent import recent
from serving.pages.render import show
from serving.pages.route import BrowserRoute, pages
from serving.quarantine.routes import list_quarantine
from serving.quarantine.schemas import QuarantineQuery
from serving.reports import routes as reports
from serving.reports.schemas import ReportQuery
from serving.telemetry.sums import MAX_DEVICES, energies_of, energy_sum, summed_devices
from storage import attention, catalogue, dirty_days, last_seen
from storage.settings import Settings
from storage.times import microseconds, midnight, moment, utc_now

router = pages()
first = pages(BrowserRoute)

MACHINES = 12
# A wall has room for more.
MAX_MACHINES = 60
ALERTS = 5
LATELY = timedelta(minutes=5)
# Seconds that a figure is shown to all who look, before it is asked for again.
FRESH = 8
# Of more machines the month's peak would take long to work out.
MAX_PEAK_DEVICES = 60


@first.get("/")
def home_page(
    request: Request, session: DatabaseSession, settings: PlatformSettings, limits: LimitSettings
) -> Response:
    """The first page, for browsers; programs get the service's version."""
    rows, total = attention.machines(session, limit=MACHINES)
    _, senders = dirty_days.unregistered_devices(session, "device_id", 0, 1)
    if not total and not senders:
        host, port = broker_of(request, settings, limits)
        return show(request, "start.html", {"settings": settings, "host": host, "port": port})
    context = {"rows": rows, "total": total, "senders": senders, "figures": {}, "limit": MACHINES}
    return show(request, "home.html", context)


@router.get("/home/arrived")
def first_reading(session: DatabaseSession) -> Response:
    """Load the page anew once a device has sent something."""
    _, senders = dirty_days.unregistered_devices(session, "device_id", 0, 1)
    return Response(status_code=204, headers={"HX-Refresh": "true"} if senders else {})


@router.get("/home/machines")
def worst_machines(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    limit: Annotated[int, Query(ge=1, le=MAX_MACHINES)] = MACHINES,
) -> Response:
    """The machines that need attention most, with what their readings say."""
    rows, total = attention.machines(session, limit=limit)
    figures = figures_of(request, session, reader, settings, rows)
    return show(request, "partials/home_machines.html", {"rows": rows, "total": total, "figures": figures})


@router.get("/home/alerts")
def open_alerts(
    request: Request, session: DatabaseSession, settings: PlatformSettings, principal: CurrentPrincipal
) -> Response:
    """Open alerts by severity, and the worst of them."""

    def found() -> dict[str, Any]:
        counts = summarize_alerts(session, settings, SummaryQuery(days=1)).data.by_severity
        worst = attention.worst_alerts(session, limit=ALERTS)
        return {"counts": counts, "worst": [AlertPublic.seen_by(principal.tenant_id, alert) for alert in worst]}

    context = recent(request, FRESH).get(("alerts", principal.tenant_id), found)
    return show(request, "partials/home_alerts.html", context)


@router.get("/home/energy")
def energy_today(
    request: Request,
    session: DatabaseSession,
    reader: Readings,
    settings: PlatformSettings,
    principal: CurrentPrincipal,
) -> Response:
    """The energy of today beside that of the same weekday until this time, and the month's highest quarter hour."""

    def found() -> dict[str, Any]:
        return _energy(session, reader, settings)

    context = recent(request, 60).get(("energy", principal.tenant_id), found)
    return show(request, "partials/home_energy.html", context)


@router.get("/home/intake")
def intake_now(
    request: Request, session: DatabaseSession, settings: PlatformSettings, principal: CurrentPrincipal
) -> Response:
    """Whether readings arrive and get into datasets: senders, delay, quarantine, exported days."""

    def found() -> dict[str, Any]:
        now = utc_now()
        refused = QuarantineQuery(replayed=False, start_time=now - timedelta(days=1), page_size=1)
        return {
            "senders": last_seen.senders(session, now - LATELY),
            "never_seen": attention.never_seen(session),
            "lately": LATELY.total_seconds(),
            "rate": readings_per_second(request, settings) if principal.tenant_id is None else None,
            "quarantined": list_quarantine(session, refused).total,
            "exported_until": catalogue.exported_until(session, now.date()),
            "today": catalogue.day_totals(session, now.date()),
        }

    context = recent(request, FRESH).get(("intake", principal.tenant_id), found)
    return show(request, "partials/home_intake.html", context)


@router.get("/home/analyses")
def newest_analyses(request: Request, session: DatabaseSession, principal: CurrentPrincipal) -> Response:
    """The machines with the strongest anomalies, those with the highest risk of a failure, and the newest analyses."""

    def found() -> dict[str, Any]:
        by_anomaly = rank_fleet(session, FleetQuery(sort="-anomaly", page_size=ALERTS)).devices
        by_risk = rank_fleet(session, FleetQuery(sort="-risk", page_size=ALERTS)).devices
        return {
            "anomalies": [
                (device, _event_of(session, device.anomaly.job))
                for device in by_anomaly
                if device.anomaly and device.anomaly.score > 0
            ],
            "risks": [device for device in by_risk if device.failure_risk],
            "jobs": analytics.list_jobs(session, JobQuery(status="completed", limit=1)).jobs,
        }

    context = recent(request, FRESH).get(("analyses", principal.tenant_id), found)
    return show(request, "partials/home_analyses.html", context)


@router.get("/home/changes")
def changes(
    request: Request, session: DatabaseSession, principal: CurrentPrincipal, since: Annotated[Instant, Query()]
) -> Response:
    """What happened since the browser's last visit."""
    context = {
        "since": since,
        "alerts": alerts.list_alerts(session, principal, AlertQuery(start_time=since, page_size=1)).total,
        "analyses": analytics.list_jobs(session, JobQuery(start_time=since, status="completed", limit=1)).total,
        "failed": analytics.list_jobs(session, JobQuery(start_time=since, status="failed", limit=1)).total,
        "reports": reports.list_reports(session, ReportQuery(start_time=since, status="completed", page_size=1)).total,
        "quarantined": list_quarantine(session, QuarantineQuery(start_time=since, page_size=1)).total,
    }
    return show(request, "partials/home_changes.html", context)


def _event_of(session: DatabaseSession, job: JobBehind) -> dict[str, Any] | None:
    """The event whose score a machine is ranked by."""
    return strongest_event(analytics.get_analytics_results(session, job.job_id).results, job.until)


def _energy(session: DatabaseSession, reader: Readings, settings: Settings) -> dict[str, Any]:
    _, total = attention.machines(session, limit=1)
    if total > MAX_DEVICES:
        return {"total": total, "limit": MAX_DEVICES, "today": None}
    names = summed_devices(session)
    local = utc_now().astimezone(settings.zone)
    today_start = midnight(local.date(), settings.zone)
    week = timedelta(days=7)  # by the clock: a week in which the clock changes is an hour shorter or longer
    today = energy_sum(session, reader, names, microseconds(today_start), microseconds(local))
    earlier = energy_sum(session, reader, names, microseconds(today_start - week), microseconds(local - week))
    peak = None
    if len(names) <= MAX_PEAK_DEVICES:
        month = microseconds(today_start.replace(day=1))
        energies, fleet = energies_of(session, reader, names, month, microseconds(local))
        peak = fleet_peak({name: energies[name] for name in fleet.counted.devices})
    before, after = earlier["energy_kwh"], today["energy_kwh"]
    return {
        "total": total,
        "limit": MAX_DEVICES,
        "today": today,
        "earlier": earlier,
        "change": (after - before) / before if before and after is not None else None,
        "peak": peak,
        "peak_at": peak and moment(peak.at),
        "weekday": f"{today_start:%A}",
        "zone": settings.zone.key,
    }
