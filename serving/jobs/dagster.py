"""A client of Dagster's GraphQL API that launches and terminates the runs of jobs.

Jobs do not depend on it: the sensor `launch_waiting_jobs` launches those that were not launched here.
"""

import logging
from typing import Any

import httpx

from storage import job_runs
from storage.deadlines import BoundedCalls
from storage.jobs import Job
from storage.secret_files import internal_headers
from storage.settings import Settings

log = logging.getLogger(__name__)

# For one call altogether; and how many calls may be under way, of the launcher and of readiness.
DEADLINE_SECONDS, MAX_CALLS = 10.0, 40
# The code location of `workspace.yaml`, and the name that Dagster gives to the definitions in it.
LOCATION = {"repositoryLocationName": "energy", "repositoryName": "__repository__"}

ADD_PARTITION = """
mutation ($repository: RepositorySelector!, $definition: String!, $key: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: $definition, partitionKey: $key) {
    __typename
  }
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
        self._calls = BoundedCalls(DEADLINE_SECONDS, MAX_CALLS)
        self._client = httpx.Client(base_url=settings.dagster_address, timeout=5, headers=internal_headers(settings))

    def launch(self, job: Job) -> str | None:
        """Launch a run for the job and return its id; None if Dagster does not launch it now."""
        tags = job_runs.run_tags(job, self._settings)
        try:
            if partition := job_runs.partition_of(job):
                self._execute(ADD_PARTITION, repository=LOCATION, definition=job_runs.DEVICE_PARTITIONS, key=partition)
                tags[job_runs.PARTITION_TAG] = partition
            parameters = {
                "selector": {**LOCATION, "jobName": job_runs.dagster_job_of(job)},
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            }
            launched = self._execute(LAUNCH, parameters=parameters)["launchRun"]
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError) as error:
            log.warning("%s was not launched; Dagster's sensor will launch it: %r", job.job_id, error)
            return None
        if launched["__typename"] != "LaunchRunSuccess":
            log.warning("%s was not launched; Dagster's sensor will launch it: %s", job.job_id, launched)
            return None
        return str(launched["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Terminate a run if Dagster answers; the run of a cancelled job also ends by itself."""
        try:
            self._execute(TERMINATE, run=run_id)
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError) as error:
            log.warning("run %s was not terminated: %r", run_id, error)

    def check(self) -> None:
        """Return if the webserver answers.

        Raises:
            httpx.HTTPError, TimeoutError: it does not.

        """
        self._calls.call(self._client.get, "/server_info").raise_for_status()

    def close(self) -> None:
        self._client.close()

    def _execute(self, query: str, **variables: Any) -> dict[str, Any]:
        response = self._calls.call(self._client.post, "/graphql", json={"query": query, "variables": variables})
        response.raise_for_status()
        body: dict[str, Any] = response.json()
        if body.get("errors"):
            raise ValueError(body["errors"][0]["message"])
        data: dict[str, Any] = body["data"]
        return data
