"""The API process: `python -m serving`."""

import gc
import logging
import os
import resource
import socket
import sys
from contextlib import suppress

import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import configure_mappers
from sqlmodel import Session
from uvicorn.config import STARTUP_FAILURE

from serving.app import create_app
from serving.live.routes import SERVER_OPTIONS
from serving.settings import ApiSettings
from storage import access
from storage.database import open_engine
from storage.logs import start_logging
from storage.settings import LOOPBACK, Settings, SettingsError, check_settings
from web.protocol import BoundedHttp

log = logging.getLogger("serving")

# Variables by which the six separate services found each other.
UNUSED = frozenset(["DEVICE_SERVICE_URL", "RULE_ENGINE_URL"])

MAX_OPEN_FILES = 65_536
SHUTDOWN_SECONDS = 5


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with code 2 if a variable is wrong.

    At the end, requests in progress have `SHUTDOWN_SECONDS` to finish, and no new ones are accepted.
    """
    try:
        check_settings()
        settings = Settings.load()
        refuse_open_access(settings)
    except SettingsError as error:
        print(f"serving: {error}", file=sys.stderr)
        sys.exit(2)
    start_logging(settings.log_level)
    logging.getLogger("httpx").setLevel("WARNING")  # it logs every request to Dagster
    if settings.allow_anonymous:
        address = f"{settings.api_host}:{settings.api_port}"
        log.warning("ALLOW_ANONYMOUS is set: everybody who reaches %s can do everything", address)
    for name in sorted(UNUSED.intersection(os.environ)):
        log.info("%s is set but not used: the six services are one process", name)
    # Each client of the live stream is an open file, and the usual limit is 1,024.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        limit = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    server = _Server(server_config(settings))
    with suppress(KeyboardInterrupt):  # uvicorn raises the SIGINT that stopped it again
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def server_config(settings: Settings) -> uvicorn.Config:
    """How the server runs the app."""
    api = ApiSettings.load()
    proxies = api.trusted_proxies
    return uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        # Longer than clients keep idle connections, so that none is closed just when its client uses it again.
        timeout_keep_alive=75,
        server_header=False,
        # By default uvicorn believes whoever connects from 127.0.0.1.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        http=BoundedHttp,
        ssl_certfile=api.api_tls_cert,
        ssl_keyfile=api.api_tls_key,
        **SERVER_OPTIONS,
    )


class _Server(uvicorn.Server):
    """Excludes what is loaded at start from garbage collection, which would otherwise pause requests."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        configure_mappers()
        gc.collect()
        gc.freeze()


def refuse_open_access(settings: Settings) -> None:
    """Check that the API listens on loopback, or has a key, or is allowed to be open.

    Raises:
        SettingsError: The API would be open to a network.

    """
    if settings.api_host in LOOPBACK or settings.allow_anonymous or settings.energy_admin_key:
        return
    engine = open_engine(settings, pool_size=1)
    try:
        with Session(engine) as session:
            if access.any_keys(session):
                return
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise SettingsError(
            f"API_HOST={settings.api_host} needs a key, and the database that would have it does not answer ({reason});"
            " set ENERGY_ADMIN_KEY, or start the database first"
        ) from None
    finally:
        engine.dispose()
    raise SettingsError(
        f"API_HOST={settings.api_host} would open the API to the network without a key; create one (`energy keys create"
        " NAME --role admin`), set ENERGY_ADMIN_KEY, use 127.0.0.1, or set ALLOW_ANONYMOUS=true if the network is"
        " closed"
    )


if __name__ == "__main__":
    main()
