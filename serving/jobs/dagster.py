"""Dagster as the API uses it: launch a job's run at once, end it; over GraphQL, best effort.

Nothing depends on it: a job that is not launched here is launched by Dagster's own sensor.
"""

import logging
from typing import Any

import httpx

from storage import jobs
from storage.jobs import ExportJob, Job
from storage.settings import Settings

log = logging.getLogger(__name__)

LOCATION = {"repositoryLocationName": "energy", "repositoryName": "__repository__"}

ADD_PARTITION = """
mutation ($repository: RepositorySelector!, $key: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "devices", partitionKey: $key) { __typename }
}"""
LAUNCH = """
mutation ($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
TERMINATE = """
mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"""


class Dagster:
    """A client of the webserver's GraphQL endpoint; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(base_url=settings.dagster_address, timeout=5)

    def launch(self, job: Job) -> str | None:
        """Start a run for the job; its id, or None when Dagster does not answer (the sensor will do it)."""
        try:
            if not isinstance(job, ExportJob):
                self._ask(ADD_PARTITION, repository=LOCATION, key=job.device_id)
            tags = [{"key": key, "value": value} for key, value in jobs.run_tags(job, self._settings).items()]
            parameters = {
                "selector": {**LOCATION, "jobName": jobs.dagster_job(job)},
                "runConfigData": {},
                "executionMetadata": {"tags": tags},
            }
            answer = self._ask(LAUNCH, parameters=parameters)["launchRun"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            log.warning("%s waits for Dagster's sensor: %r", job.job_id, error)
            return None
        if answer["__typename"] != "LaunchRunSuccess":
            log.warning("%s waits for Dagster's sensor: %s", job.job_id, answer)
            return None
        return str(answer["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """End a run, if Dagster answers; a cancelled job's run also finds out by itself."""
        try:
            self._ask(TERMINATE, run=run_id)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            log.warning("run %s was not ended: %r", run_id, error)

    def check(self) -> None:
        """Return when the webserver answers.

        Raises:
            httpx.HTTPError: it does not.

        """
        self._client.get("/server_info").raise_for_status()

    def close(self) -> None:
        self._client.close()

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self._client.post("/graphql", json={"query": query, "variables": variables})
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        if body.get("errors"):
            raise ValueError(body["errors"][0]["message"])
        data: dict[str, Any] = body["data"]
        return data
