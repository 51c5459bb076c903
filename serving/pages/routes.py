"""All pages. The first page stands before the API's own answer at `/`."""

from serving.pages import (
    alerts,
    home,
    login,
    machine,
    machine_analyses,
    machine_data,
    machine_energy,
    machine_telemetry,
    machines,
    rule_form,
    rules,
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
)
ROUTERS = [home.first, *(module.router for module in MODULES)]
