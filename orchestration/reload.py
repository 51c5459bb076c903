"""Reloading the code location, so that Dagster sees partitions that begin earlier."""

import logging

import httpx

from storage.secret_files import internal_headers
from storage.settings import Settings

log = logging.getLogger(__name__)

RELOAD = """
mutation { reloadRepositoryLocation(repositoryLocationName: "energy") { __typename ... on PythonError { message } } }"""


def reload_definitions(settings: Settings, *, timeout_seconds: float = 60) -> bool:
    """Ask Dagster's webserver to load the definitions again. False if it has not done so in time.

    A webserver that does not answer loads them when it starts.
    """
    try:
        response = httpx.post(
            f"{settings.dagster_address}/graphql",
            json={"query": RELOAD},
            headers=internal_headers(settings),
            timeout=timeout_seconds,
        ).raise_for_status()
        outcome = response.json()["data"]["reloadRepositoryLocation"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        log.info("the definitions were not reloaded: %r", error)
        return False
    if outcome["__typename"] == "PythonError":
        log.warning("the definitions were not reloaded: %s", outcome["message"])
        return False
    return True
