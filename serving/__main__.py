"""The API process: `python -m serving`."""

import logging
import sys

import uvicorn

from serving.app import create_app
from storage.settings import Settings, SettingsError

log = logging.getLogger("serving")


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit code 2 when a variable is wrong."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        print(f"serving: {error}", file=sys.stderr)
        sys.exit(2)
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    if settings.allow_anonymous:
        log.warning(
            "ALLOW_ANONYMOUS is set: whoever reaches %s:%s may do everything", settings.api_host, settings.api_port
        )
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_level="warning",
        timeout_graceful_shutdown=5,
        server_header=False,
    )


if __name__ == "__main__":
    main()
