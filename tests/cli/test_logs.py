"""What a service's log keeps of its output."""

from pathlib import Path

import pytest

from cli.local.logs import Screen, ServiceLog

PRINTED = """\
dagster - ERROR - export_job - 1234 - export_device - STEP_FAILURE - Execution of step "export_device" failed.

dagster._core.errors.DagsterExecutionInterruptedError

Stack Trace:
  File "execute_plan.py", line 243, in dagster_event_sequence_for_step
    yield from check.generator(step_events)

dagster - INFO - export_job - the next line
ValueError: of another kind

Stack Trace:
  File "code.py", line 1
"""


def test_the_stack_of_a_cancelled_run_is_left_out(tmp_path: Path) -> None:
    log = ServiceLog("daemon", tmp_path, None)
    for line in PRINTED.splitlines():
        log.write(line)
    log.close()
    kept = [line[24:] for line in log.path.read_text().splitlines()]
    lines = PRINTED.splitlines()
    assert kept == [*lines[:3], *lines[8:]]


def test_what_a_service_prints_while_it_ends_is_in_its_file_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    log = ServiceLog("daemon", tmp_path, screen)
    log.write("works")
    log.leave_screen()
    log.write("Location energy does not exist in workspace")
    log.close()
    screen.close()
    assert [line[24:] for line in log.path.read_text().splitlines()] == [
        "works", "Location energy does not exist in workspace"
    ]  # fmt: skip
    (shown,) = capfd.readouterr().out.splitlines()
    assert shown.endswith("| works")
