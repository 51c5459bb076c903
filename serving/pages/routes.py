"""All pages. The first page stands before the API's own answer at `/`."""

from serving.pages import (
    home,
    login,
    machine,
    machine_analyses,
    machine_data,
    machine_energy,
    machine_telemetry,
    machines,
)

MODULES = (home, login, machines, machine, machine_telemetry, machine_energy, machine_analyses, machine_data)
ROUTERS = [home.first, *(module.router for module in MODULES)]
