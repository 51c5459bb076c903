import json
import threading
from collections.abc import Mapping

import httpx
import pytest
import yaml
from sqlalchemy import Engine, text

from serving.auth.tenancy import RequestSession
from serving.jobs import dagster, lifecycle
from serving.jobs.dagster import Dagster
from serving.jobs.launcher import Launcher
from storage.access import ANONYMOUS
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
        "dagster/max_runtime": str(Settings().job_timeout_seconds), "dagster/priority": "1000000",
    }  # fmt: skip


def test_a_refused_launch_is_left_to_the_sensor(caplog: pytest.LogCaptureFixture) -> None:
    refused = {"__typename": "PipelineNotFoundError"}
    assert client(Settings(), refused, []).launch(export()) is None
    assert "export-0123456789ab was not launched; Dagster's sensor will launch it" in caplog.text


def test_a_webserver_that_never_ends_its_answer_holds_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dagster, "DEADLINE_SECONDS", 0.2)
    ended = threading.Event()

    def answer(_: httpx.Request) -> httpx.Response:
        ended.wait(60)
        return httpx.Response(500)

    api = Dagster(Settings())
    api._client = httpx.Client(base_url="http://dagster", transport=httpx.MockTransport(answer))
    assert api.launch(export()) is None
    assert "no end after 0.2 s" in caplog.text
    api.terminate("run-1")
    with pytest.raises(TimeoutError):
        api.check()
    ended.set()


def test_no_transaction_is_open_while_dagster_is_asked(engine: Engine, settings: Settings) -> None:
    """Whatever is idle in a transaction then would hold its locks for as long as Dagster takes."""
    states: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        with engine.connect() as connection:
            query = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            states.append(list(connection.scalars(text(query))))
        launched = {"__typename": "LaunchRunSuccess", "run": {"runId": "run-1"}}
        return httpx.Response(200, json={"data": {"launchRun": launched, "terminateRun": {}}})

    api = Dagster(settings)
    api._client = httpx.Client(base_url="http://dagster", transport=httpx.MockTransport(answer))
    launcher = Launcher(engine, api)
    with RequestSession(engine, ANONYMOUS) as session:
        job = export()
        lifecycle.submit(session, launcher, job)
        launcher._waiting.join()
        session.refresh(job)
        assert (job.run_id, job.turn) == ("run-1", 1)
        lifecycle.cancel(session, launcher, job)
        launcher._waiting.join()
    launcher.close()
    assert len(states) == 2
    assert all("idle in transaction" not in state for state in states)
