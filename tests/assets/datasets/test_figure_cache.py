"""Figures of day files are read from the catalogue once, and again when the row has changed."""

from unittest import mock

from assets.datasets import FigureCache, TelemetryReader, energy_of, export_day
from storage import day_figures
from storage.devices import Device
from storage.stores import Stores
from storage.times import DAY
from tests.support import plant

START = plant.START


def test_figures_are_read_once_and_again_after_a_change_of_their_row(stores: Stores) -> None:
    stores.session.add(Device(device_id="D1", device_name="D1", device_type="pump"))
    plant.store(stores, *(plant.reading(m, power=1000) for m in range(0, 1440, 5)))
    export_day(stores, "D1", plant.DAY)
    cache = FigureCache()

    def kwh_and_mean() -> tuple[float | None, float]:
        stores.session.expire_all()
        reader = TelemetryReader(stores.session, stores.telemetry, stores.objects, figures=cache)
        energy = energy_of(stores.session, reader, "D1", START, START + DAY)
        assert not energy.outdated_days
        return energy.kwh, reader.statistics("D1", START, START + DAY).metrics["power"].mean

    first = kwh_and_mean()
    assert first[1] == 1000
    with mock.patch.object(day_figures, "load_figures", side_effect=AssertionError("it is kept")):
        assert kwh_and_mean() == first
    (file,) = day_figures.day_files(stores.session, "D1", plant.DAY, plant.DAY)
    cells = file.dataset.energy["metrics"]["power"]["cells"]  # type: ignore[index] # it was exported
    changed = [amount * 2 for amount in cells["amounts"]]
    energy = dict(file.dataset.energy or {})
    energy["metrics"] = {"power": {**energy["metrics"]["power"], "cells": {**cells, "amounts": changed}}}
    day_figures.replace_figures(stores.session, file.dataset, energy=energy, hourly=file.dataset.hourly)
    stores.session.commit()
    assert first[0] is not None
    assert kwh_and_mean()[0] == first[0] * 2
