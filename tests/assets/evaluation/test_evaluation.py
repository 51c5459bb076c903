import gzip
import json
import shutil
from math import gcd
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from assets.evaluation import find_cases
from assets.evaluation.forecasts import origins_of
from assets.evaluation.nab import nab_score
from cli.demo import fleet
from cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo's series, laid out as the protocol of injected faults expects it."""
    household = tmp_path / "anomaly" / "household_injected"
    household.mkdir(parents=True)
    shutil.copy(fleet.SERIES, household / "house-a.csv.gz")
    return tmp_path


def test_cases_are_those_for_which_the_folder_has_data(folder: Path) -> None:
    assert [case.name for case in find_cases(folder)] == [
        "household/house-a",
        "household/house-a/untold",
        "anomaly/noise",
        "anomaly/healthy",
    ]


def test_origins_are_forty_and_go_around_the_clock() -> None:
    for hours, is_ett, first in ((17_420, True, 11_520), (8_760, False, 6_132)):
        origins = origins_of(hours, is_ett=is_ett)
        assert (len(origins), origins[0]) == (40, first)
        assert gcd(origins[1] - origins[0], 168) == 1
        assert {origin % 24 for origin in origins} == set(range(24))
    assert origins_of(17_420, is_ett=True)[-1] + 24 <= 14_400


def test_the_nab_score_counts_early_alarms_missed_windows_and_false_alarms() -> None:
    """By the standard profile: 1 at a window's begin, less later; 0.11 lost at most for a false alarm; 1 for a miss."""
    window = np.zeros(1000, bool)
    window[500:600] = True
    assert nab_score([500], [window]) == pytest.approx(1.0)
    assert 0 < nab_score([595], [window]) < 0.2
    assert nab_score([500, 520, 560], [window]) == nab_score([500], [window])
    assert nab_score([], [window]) == -1
    assert nab_score([100], [window]) == pytest.approx(-1.11)
    just_after = nab_score([610], [window])
    assert -1.11 < just_after < -1.0


@pytest.mark.slow
def test_the_command_prints_a_line_a_case_and_model(folder: Path) -> None:
    options = ["--json", "--case", "household/house-a/untold", "--model", "isolation_forest"]
    done = CliRunner().invoke(app, ["evaluate", str(folder), *options])
    assert done.exit_code == 0
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(line) == {"case", "model", "figures", "seconds", "peak_mb"}
    assert (line["case"], line["model"]) == ("household/house-a/untold", "isolation_forest")
    assert line["figures"]["faults"] == 21
    assert line["figures"]["faults_found"] >= 17
    assert 100 < line["peak_mb"] < 2_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--case", "steel"], "there is no case steel"),
        (["--model", "crystal_ball"], "there is no model crystal_ball"),
    ],
)
def test_a_wrong_name_is_refused_with_those_that_exist(folder: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(folder), *options])
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert message in said
    assert "figures" not in said  # the head of the table


def test_a_model_of_other_cases_is_refused_with_those_of_the_case(folder: Path) -> None:
    (folder / "forecast").mkdir()
    with gzip.open(folder / "forecast" / "plant.csv.gz", "wt") as file:
        file.write("timestamp,power_kw\n2026-02-12T10:00:00Z,1\n")
    options = ["--case", "household", "--model", "prophet"]
    done = CliRunner().invoke(app, ["evaluate", str(folder), *options], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert "the model prophet is not one of household. There are: auto, autoencoder, covariance, isolation_f" in said


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "forecast").mkdir()
    (folder / "forecast" / "plant.csv.gz").write_bytes(b"")
    done = CliRunner().invoke(app, ["evaluate", str(folder)], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "plant.csv.gz cannot be read as CSV" in " ".join(done.output.replace("│", " ").split())


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path)])
    assert done.exit_code == 2
    assert "no data for any case" in " ".join(done.output.replace("│", " ").split())
