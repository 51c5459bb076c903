"""Fitted models are kept: later jobs score with them, if they are what was stored, new enough and of the same code."""

import json
import pickle
import zlib
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlmodel import select
from typer.testing import CliRunner

from assets.datasets import export_day
from cli.main import app
from orchestration.analyses import kept
from orchestration.analyses.results import perform_analysis
from orchestration.claimed_job import ClaimedJob
from orchestration.maintenance.analysis_retention import delete_models
from orchestration.metadata import code_version
from storage import jobs
from storage.devices import Device
from storage.jobs import AnalyticsJob
from storage.kept_models import KeptModel, kept_models
from storage.settings import Settings
from storage.stores import Stores
from storage.times import midnight, utc_now
from tests.support.plant import DAY, DAY_MINUTES, reading, store

DAYS = 12
STEP = 15  # minutes


@pytest.fixture
def machine(stores: Stores) -> Stores:
    """A machine with twelve days of readings; on the last day its pressure is too high for three hours."""
    stores.session.add(Device(device_id="D1", tenant_id="alpha", device_name="M", device_type="press"))
    random = np.random.default_rng(7)
    readings = []
    for minute in range(0, DAYS * DAY_MINUTES, STEP):
        off = 30.0 if (DAYS - 1) * DAY_MINUTES + 600 <= minute < (DAYS - 1) * DAY_MINUTES + 780 else 0.0
        power = 1000 + 300 * np.sin(2 * np.pi * minute / DAY_MINUTES) + random.normal(0, 20)
        readings.append(reading(minute, power=power, pressure=random.normal(50, 2) + off, flow=random.normal(9, 1)))
    store(stores, *readings)
    for day in range(DAYS):
        export_day(stores, "D1", DAY + timedelta(days=day))
    stores.session.commit()
    return stores


def performed(stores: Stores, analysis: str, first: int, last: int, **parameters: Any) -> AnalyticsJob:
    model = "covariance" if analysis == "anomaly" else "gradient_boosting"
    job = AnalyticsJob(
        job_id=jobs.new_job_id(AnalyticsJob), tenant_id="alpha", device_id="D1", analysis_type=analysis,
        model_name=model, date_range_start=midnight(DAY + timedelta(days=first)),
        date_range_end=midnight(DAY + timedelta(days=last)), parameters=parameters,
    )  # fmt: skip
    stores.session.add(job)
    stores.session.commit()
    claimed = jobs.claim(stores.session, AnalyticsJob, job.job_id, "run-1")
    assert claimed is not None
    perform_analysis(ClaimedJob(stores, claimed))
    return claimed


def model_of(job: AnalyticsJob) -> dict[str, Any]:
    found: dict[str, Any] = (job.results or {})["provenance"]["model"]
    return found


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """After it is called, a fit is an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("fitted again")

    def forbid() -> None:
        monkeypatch.setattr("assets.analyses.anomaly.fit_detector", refuse)
        monkeypatch.setattr("assets.analyses.forecast._fitted", refuse)
        monkeypatch.setattr("assets.analyses.forecasting.boosting._fitted_trees", refuse)

    return forbid


def test_the_same_days_have_the_same_result_without_a_fit(machine: Stores, no_fit: Any) -> None:
    first = {name: performed(machine, name, 0, 11) for name in ("anomaly", "forecast")}
    no_fit()
    for name, before in first.items():
        again = performed(machine, name, 0, 11)
        assert model_of(before)["is_new"] is True
        assert model_of(again) == model_of(before) | {"is_new": False}
        assert before.results is not None
        assert again.results is not None
        for results in (before.results, again.results):
            results.pop("provenance")
            results.pop("scores", None)
        assert again.results == before.results
        assert again.accuracy_metrics == before.accuracy_metrics


def test_a_fresh_day_is_judged_by_what_was_usual(machine: Stores, no_fit: Any) -> None:
    performed(machine, "anomaly", 0, 11)
    performed(machine, "forecast", 0, 11)
    no_fit()
    judged = performed(machine, "anomaly", 1, 12)
    assert judged.results is not None
    event = max(judged.results["events"], key=lambda event: event["score"])
    assert event["metric"] == "pressure"
    assert event["start"].startswith("2026-02-23T10")
    assert model_of(judged)["fitted_until"] == "2026-02-22"
    coming = performed(machine, "forecast", 1, 12).results
    assert coming is not None
    assert coming["forecast"][0]["timestamp"] == "2026-02-24T00:00:00Z"
    noon = coming["forecast"][6]["value"]
    assert noon == pytest.approx(1300, abs=100)


@pytest.mark.parametrize(
    ("first", "last", "parameters"),
    [(0, 11, {"refit": True}), (0, 10, {}), (0, 11, {"strictness": 2.0})],
)
def test_what_is_not_for_a_job_is_fitted_again(
    machine: Stores, first: int, last: int, parameters: dict[str, Any]
) -> None:
    performed(machine, "anomaly", 0, 11)
    assert model_of(performed(machine, "anomaly", first, last, **parameters))["is_new"] is True
    rows = kept_models(machine.session, "D1")
    assert len(rows) == (2 if "strictness" in parameters else 1)
    assert len(list(machine.objects.list("models"))) == len(rows)


def test_a_file_that_is_not_ours_is_not_unpickled(
    machine: Stores, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "evil"), "w"))

    performed(machine, "anomaly", 0, 11)
    (row,) = kept_models(machine.session)
    machine.objects.put(row.object_key, zlib.compress(pickle.dumps(Evil())))
    assert model_of(performed(machine, "anomaly", 0, 11))["is_new"] is True
    assert not (tmp_path / "evil").exists()
    assert "is not the one that was stored" in caplog.text
    (row,) = kept_models(machine.session)
    machine.objects.delete(row.object_key)
    assert model_of(performed(machine, "anomaly", 0, 11))["is_new"] is True


@pytest.mark.parametrize("changed", ["code_version", "libraries"])
def test_a_model_of_another_release_is_not_read(machine: Stores, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    performed(machine, "anomaly", 0, 11)
    monkeypatch.setattr(kept, changed, lambda: "0.0" if changed == "code_version" else {"numpy": "0"})
    monkeypatch.setattr(kept, "load", lambda *_: pytest.fail("it was read"))
    assert model_of(performed(machine, "anomaly", 0, 11))["is_new"] is True


def test_models_are_listed_shown_and_deleted(machine: Stores, settings: Settings) -> None:
    performed(machine, "anomaly", 0, 11)
    performed(machine, "forecast", 0, 11)
    run = CliRunner().invoke
    lines = run(app, ["models", "list"]).output.splitlines()
    assert [line.split()[1:4] for line in lines[1:]] == [
        ["D1", "anomaly", "covariance"],
        ["D1", "forecast", "gradient_boosting"],
    ]
    assert all(f" {DAY} to {DAY + timedelta(days=10)} " in line for line in lines[1:])  # the last of eleven days
    assert "no model of D2 is kept" in run(app, ["models", "list", "--device", "D2"]).stderr
    first = lines[1].split()[0]
    shown = json.loads(run(app, ["models", "show", first]).output)
    assert (shown["device_id"], shown["code_version"]) == ("D1", code_version())
    assert shown["libraries"] == kept.libraries()
    assert run(app, ["models", "delete", first]).output == "1 model was deleted\n"
    assert run(app, ["models", "show", first]).exit_code == 2
    assert run(app, ["models", "delete"]).exit_code == 2
    assert run(app, ["models", "delete", "--device", "D1"]).output == "1 model was deleted\n"
    assert list(machine.objects.list("models")) == []


def test_models_that_nothing_uses_are_deleted(machine: Stores) -> None:
    performed(machine, "anomaly", 0, 11)
    assert delete_models(machine, utc_now() - timedelta(days=1)) == 0
    assert delete_models(machine, utc_now()) == 1
    assert machine.session.exec(select(KeptModel)).all() == []
    assert list(machine.objects.list("models")) == []


def test_an_event_has_the_energy_that_was_used_and_expected(machine: Stores) -> None:
    judged = performed(machine, "anomaly", 0, 12)
    assert judged.results is not None
    print(judged.results["events"])
    (event,) = [e for e in judged.results["events"] if e["metric"] == "pressure"]
    energy = event["energy"]
    assert (energy["from"][11:16], energy["cost"]) == ("10:00", None)
    assert energy["kwh"] == pytest.approx(energy["expected_kwh"], rel=0.05)
    assert energy["excess_kwh"] == pytest.approx(energy["kwh"] - energy["expected_kwh"], abs=1e-6)
    hours = (datetime.fromisoformat(energy["to"]) - datetime.fromisoformat(energy["from"])) / timedelta(hours=1)
    assert energy["kwh"] / hours == pytest.approx(0.95, abs=0.15)
