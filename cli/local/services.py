"""The services of a platform on this machine, in the order in which they need each other."""

import signal
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.local import dagster_home, nats, postgres
from serving.settings import ApiSettings
from storage.settings import CHECKOUT, Settings

# Stages end in reverse order: first the programs that use the code server, then the code server, then the stores.
STORES, CODE, PROGRAMS = 0, 1, 2
# Datasets can wait for the processor; readings that come in and callers of the API cannot.
GIVING_WAY = ("nice", "-n", "10")


@dataclass(frozen=True)
class Start:
    """How a service is started; `options` go to `subprocess.Popen`. One that is not ours inherits no secrets."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    is_ours: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """A process of the platform. `prepare` is called before each start. A service without a `probe` ends by itself."""

    name: str
    prepare: Callable[[], Start]
    probe: str | None
    needs: tuple[str, ...] = ()
    stage: int = PROGRAMS
    stop_signal: signal.Signals = signal.SIGTERM
    address: str = ""


def services_of(settings: Settings, code_port: int) -> list[Service]:
    """The services to run here. One whose address is set in the environment is not started."""
    stores = []
    if settings.embeds_postgres:
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        stores.append(
            Service("postgres", lambda: _postgres(settings), f"postgresql://127.0.0.1:{settings.postgres_port}",
                 stage=STORES, stop_signal=signal.SIGINT, address=f"127.0.0.1:{settings.postgres_port}")
        )  # fmt: skip
    if settings.embeds_broker:
        address = f"127.0.0.1:{settings.mqtt_broker_port}"
        stores.append(
            Service(
                "broker",
                lambda: Start(nats.prepare(settings), is_ours=False),
                f"tcp://{address}",
                stage=STORES,
                address=address,
            )
        )
    api = f"{_reachable(settings.api_host)}:{settings.api_port}"
    scheme = api_scheme()
    ingest = f"127.0.0.1:{settings.ingest_metrics_port}"
    migrations = Service("migrations", lambda: _python("storage.database"), None, tuple(store.name for store in stores))
    ours = [
        Service(
            "ingest", lambda: _python("ingest"), f"http://{ingest}/ready", ("migrations",), address=f"http://{ingest}"
        ),
        Service(
            "api", lambda: _python("serving"), f"{scheme}://{api}/health", ("migrations",), address=f"{scheme}://{api}"
        ),
    ]
    return [*stores, migrations, *ours, *([] if settings.dagster_url else _dagster(settings, code_port))]


def api_scheme() -> str:
    """`https` if the API has a certificate."""
    return "https" if ApiSettings.load().api_tls_cert else "http"


def addresses(settings: Settings) -> dict[str, str]:
    """Where people and devices find the platform."""
    return {
        "pages": f"{api_scheme()}://{_reachable(settings.api_host)}:{settings.api_port}/",
        "API docs": f"{api_scheme()}://{_reachable(settings.api_host)}:{settings.api_port}/docs",
        "Dagster UI": settings.dagster_address,
        "MQTT broker": f"{settings.broker_host}:{settings.mqtt_broker_port}",
        "home": str(settings.energy_home),
    }


def _dagster(settings: Settings, code_port: int) -> list[Service]:
    code = f"127.0.0.1:{code_port}"
    web = f"127.0.0.1:{settings.dagster_port}"
    where = {
        "DAGSTER_CODE_HOST": "127.0.0.1",
        "DAGSTER_CODE_PORT": str(code_port),
        # How long a code server that ends waits for calls that still run. Dagster's default is 180 s.
        "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "1",
    }

    def start(program: str, *arguments: str) -> Start:
        home = str(dagster_home.prepare(settings))
        return Start([*GIVING_WAY, _script(program), *arguments], {**where, "DAGSTER_HOME": home})

    workspace = ("-w", str(CHECKOUT / "workspace.yaml"))
    return [
        Service(
            "code",
            lambda: start("python", "-m", "orchestration.code_server", "-m", "orchestration.definitions",
                          "-h", "127.0.0.1", "-p", str(code_port), "--location-name", "energy",
                          "--log-level", "warning"),
            f"tcp://{code}", ("migrations",), stage=CODE, address=code,
        ),
        Service(
            "dagster",
            lambda: start("python", "-m", "orchestration.webserver"),
            f"dagster-location://{web}", ("code",), address=f"http://{web}",
        ),
        Service(
            "daemon",
            lambda: start("dagster-daemon", "run", *workspace, "--log-level", "warning"),
            f"dagster-daemon://{web}", ("code",),
        ),
    ]  # fmt: skip


def _postgres(settings: Settings) -> Start:
    server = postgres.prepare(settings)
    return Start(server.command, is_ours=False, options={**server.identity, "cwd": "/"})


def _python(module: str) -> Start:
    return Start([sys.executable, "-m", module])


def _script(name: str) -> str:
    """A program of this environment, whatever PATH says."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
