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
from storage import access
from storage.database import open_engine
from storage.settings import LOOPBACK, Settings, SettingsError, check_settings

log = logging.getLogger("serving")

# Variables of the handover's services for finding each other.
UNUSED = frozenset(["DEVICE_SERVICE_URL", "RULE_ENGINE_URL"])

OPEN_FILES = 65_536


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit code 2 when a variable is wrong.

    Then what is being answered has five seconds to end; nothing new is accepted meanwhile.
    """
    try:
        check_settings()
        settings = Settings.load()
        refuse_an_open_door(settings)
    except SettingsError as error:
        print(f"serving: {error}", file=sys.stderr)
        sys.exit(2)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")  # it notes every request to Dagster
    if settings.allow_anonymous:
        log.warning(
            "ALLOW_ANONYMOUS is set: whoever reaches %s:%s may do everything", settings.api_host, settings.api_port
        )
    for name in sorted(UNUSED.intersection(os.environ)):
        log.info("%s is set and has no use here: the six services are one", name)
    # Each watcher of the live stream is an open file, and 1,024 is a usual limit.
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), most))
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_level="warning",
        timeout_graceful_shutdown=5,
        # Longer than clients keep an idle connection: else one is closed just when it is used again.
        timeout_keep_alive=75,
        server_header=False,
        **SERVER_OPTIONS,
    )
    server = _Server(config)
    with suppress(KeyboardInterrupt):  # a SIGINT that ended it is raised once more
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


class _Server(uvicorn.Server):
    """What is loaded when it has started stays: else the collector goes through it all in the midst of requests."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        configure_mappers()
        gc.collect()
        gc.freeze()


def refuse_an_open_door(settings: Settings) -> None:
    """Let pass who listens on loopback, or has a key, or says that no key is needed.

    Raises:
        SettingsError: the API would be open to a network.

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
            f"API_HOST={settings.api_host} needs a key, and the database does not tell whether there is one ({reason});"
            " set ENERGY_ADMIN_KEY, or start the database first"
        ) from None
    finally:
        engine.dispose()
    raise SettingsError(
        f"API_HOST={settings.api_host} would open the API to the network without any key; make one (`energy keys create"
        " NAME --role admin`), set ENERGY_ADMIN_KEY, keep 127.0.0.1, or set ALLOW_ANONYMOUS=true if that network is"
        " closed"
    )


if __name__ == "__main__":
    main()
