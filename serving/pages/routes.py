"""All pages. The first page stands before the API's own answer at `/`."""

from serving.pages import (
    alerts,
    analysis_charts,
    analytics,
    data,
    home,
    login,
    machine,
    machine_analyses,
    machine_data,
    machine_energy,
    machine_telemetry,
    machines,
    quarantine,
    report_schedules,
    reports,
    rule_form,
    rules,
    settings_page,
)

MODULES = (
    home,
    login,
    machines,
    machine,
    machine_telemetry,
    machine_energy,
    machine_analyses,
    machine_data,
    alerts,
    rules,
    rule_form,
    analytics,
    analysis_charts,
    quarantine,
    data,
    report_schedules,
    reports,
    settings_page,
)
ROUTERS = [home.first, *(module.router for module in MODULES)]
