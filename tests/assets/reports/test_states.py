"""Time and energy of a machine's states in its report and in Dagster's metadata."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from assets.datasets import TelemetryReader, export_day, states_of
from assets.reports.compose import compose
from assets.reports.document import markdown_of
from assets.reports.measures import Measured
from assets.reports.sources import gather
from orchestration.datasets.daily import energy_metadata
from storage.devices import Device
from storage.jobs import ReportJob
from storage.maintenance import MaintenanceWindow
from storage.stores import Stores
from storage.times import DAY as DAY_LONG, HOUR, midnight
from tests.assets.reports.test_excel import Book, workbook
from tests.support.plant import DAY, START, reading, store

DAYS = 9


def test_the_states_of_a_machine(stores: Stores, tmp_path: Path) -> None:
    metadata = '{"off_below_w": 5, "idle_below_w": 200, "cadence_seconds": 600}'
    stores.session.add(Device(device_id="D1", device_name="D1", device_type="pump", metadata_json=metadata))
    serviced = midnight(DAY) + timedelta(days=6, hours=20)
    stores.session.add(
        MaintenanceWindow(device_id="D1", starts_at=serviced, ends_at=serviced + timedelta(hours=6), reason="service")
    )
    powers = (0.0, 100.0, 1000.0)
    store(stores, *(reading(m, power=powers[m // 480 % 3]) for m in range(0, DAYS * 1440, 10)))
    days = [DAY + timedelta(days=i) for i in range(DAYS)]
    for day in days:
        export_day(stores, "D1", day)
    job = ReportJob(
        job_id="report-1", device_id="D1", format="json", date_range_start=midnight(DAY),
        date_range_end=midnight(DAY) + timedelta(days=DAYS), analysis_types=[],
    )  # fmt: skip
    data = gather(stores, job, "test")
    content = compose(Measured.of(data))

    reader = TelemetryReader(stores.session, stores.telemetry, stores.objects)
    window = (START + 6 * DAY_LONG + 20 * HOUR, START + 7 * DAY_LONG + 2 * HOUR)
    whole, _ = states_of(stores.session, reader, "D1", START, START + DAYS * DAY_LONG, maintenance=[window])
    assert {s.state: (s.hours, s.energy_kwh) for s in content.states} == {
        state: (time / HOUR, whole.kwh(state)) for state, time in whole.time.items() if time
    }
    assert {s.state for s in content.states} == {"off", "idle", "running", "maintenance", "silent"}
    assert sum(s.share for s in content.states) == 1
    energy = content.kpi("energy").value
    assert energy is not None
    assert round(sum(s.energy_kwh for s in content.states), 6) == energy
    running = next(s.hours for s in content.states if s.state == "running")
    assert content.kpi("running_hours").value == running, "one running time in a report"
    assert "| Maintenance | 6" in markdown_of(content, ())
    rows = Book.of(workbook(data, tmp_path / "book")).rows("States")
    assert rows[0] == ["State", "Time (h)", "Share", "Energy (kWh)"]
    assert {row[0]: row[3] for row in rows[1:]} == {s.state: s.energy_kwh for s in content.states}

    shown = energy_metadata(stores, days[1])
    of_day = {record.data["state"]: record.data["hours"] for record in shown["states"].records}
    assert sum(of_day.values()) == 24
    assert 7 < of_day["idle"] < 8.2
    assert shown["energy"].records[0].data["base load (W)"] == 0

    without = compose(Measured.of(replace(data, states=None)))
    assert without.states == []
    assert "| State |" not in markdown_of(without, ())
