"""Dagster's webserver with the guard in front: `python -m orchestration.webserver`, in place of `dagster-webserver`."""

import argparse
import sys

import uvicorn
from dagster import DagsterInstance, __version__
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)

from orchestration.webserver.guard import Guard
from storage.database import ANSWER_TIMEOUT_SECONDS, open_engine
from storage.settings import CHECKOUT, Settings, SettingsError
from web.protocol import BoundedHttp

POLL_MILLISECONDS = 2000


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with code 2 if a variable is wrong."""
    arguments = argparse.ArgumentParser(prog="python -m orchestration.webserver")
    arguments.add_argument("--host", default="127.0.0.1")
    host = arguments.parse_args().host
    try:
        settings = Settings.load()
    except SettingsError as error:
        print(f"dagster: {error}", file=sys.stderr)
        sys.exit(2)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget([str(CHECKOUT / "workspace.yaml")])
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=POLL_MILLISECONDS)
            guard = Guard(app, settings, open_engine(settings, answer_timeout=ANSWER_TIMEOUT_SECONDS))
            uvicorn.Server(server_config(guard, host, settings.dagster_port)).run()


def server_config(guard: Guard, host: str, port: int) -> uvicorn.Config:
    """How the server runs the guard: with the API's limits for what strangers send.

    Without `proxy_headers`, since the guard goes by Host, Origin and keys alone, whoever says where they come from.
    """
    return uvicorn.Config(
        guard,
        host=host,
        port=port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        http=BoundedHttp,
    )


if __name__ == "__main__":
    main()
