import json
from collections.abc import Mapping

import httpx
import pytest
import yaml

from serving.jobs import dagster
from serving.jobs.dagster import Dagster
from storage.jobs import AnalyticsJob, ExportJob, Job
from storage.settings import CHECKOUT, Settings
from storage.times import utc_now


def analysis() -> AnalyticsJob:
    return AnalyticsJob(
        job_id="job-0123456789ab", device_id="D1", analysis_type="forecast", model_name="prophet",
        date_range_start=utc_now(), date_range_end=utc_now(),
    )  # fmt: skip


def export() -> ExportJob:
    return ExportJob(job_id="export-0123456789ab", device_id="D1")


def client(settings: Settings, launched: Mapping[str, object], requests: list[dict[str, object]]) -> Dagster:
    """A client of a webserver that answers every launch with `launched`."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        requests.append(body["variables"])
        return httpx.Response(200, json={"data": {"launchRun": launched}})

    api = Dagster(settings)
    api._client = httpx.Client(base_url="http://dagster", transport=httpx.MockTransport(answer))
    return api


def test_the_code_location_is_the_workspaces() -> None:
    (server,) = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"]
    assert dagster.LOCATION["repositoryLocationName"] == server["grpc_server"]["location_name"]


@pytest.mark.parametrize(("job", "partition"), [(analysis(), "D1"), (export(), None)])
def test_a_launch_names_the_job_its_tags_and_its_partition(job: Job, partition: str | None) -> None:
    requests: list[dict[str, object]] = []
    launched = {"__typename": "LaunchRunSuccess", "run": {"runId": "run-1"}}
    assert client(Settings(), launched, requests).launch(job) == "run-1"
    added = [(request["definition"], request["key"]) for request in requests if "key" in request]
    assert added == ([("devices", "D1")] if partition else [])
    parameters = requests[-1]["parameters"]
    assert isinstance(parameters, dict)
    assert parameters["selector"]["jobName"] == ("forecast_job" if partition else "export_job")
    tags = {tag["key"]: tag["value"] for tag in parameters["executionMetadata"]["tags"]}
    assert tags.pop("dagster/partition", None) == partition
    assert tags == {
        "energy/job_id": job.job_id, "energy/job": job.prefix,
        "dagster/max_runtime": str(Settings().job_timeout_seconds),
    }  # fmt: skip


def test_a_refused_launch_is_left_to_the_sensor(caplog: pytest.LogCaptureFixture) -> None:
    refused = {"__typename": "PipelineNotFoundError"}
    assert client(Settings(), refused, []).launch(export()) is None
    assert "export-0123456789ab was not launched; Dagster's sensor will launch it" in caplog.text
