"""Devices without a fault, made by the command: 30 days at a minute, as the night judges them, told nothing.

`anomaly/noise` is Gaussian noise on three metrics, `anomaly/healthy` a machine with a day's and a week's course. Every
event is a false one; about one a week is the default budget.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from assets.analyses import ANALYSES, AnomalyParameters, analyse
from assets.evaluation.cases import Case, Figures

if TYPE_CHECKING:
    import pandas as pd

    from storage.arrays import Floats

DAYS, DAY_MINUTES = 30, 1440
SEED = 20260101


def cases(folder: Path, _every: int) -> list[Case]:
    if not (folder / "anomaly").is_dir():
        return []
    models = ANALYSES["anomaly"].models
    return [
        Case("anomaly/noise", models, lambda model: _figures(model, _noise())),
        Case("anomaly/healthy", models, lambda model: _figures(model, _healthy())),
    ]


def _figures(model: str, rows: "pd.DataFrame") -> Figures:
    from assets.evaluation.tables import ignore_progress, table  # noqa: PLC0415 - the list of cases needs no library

    result = analyse("anomaly", model, table(rows), AnomalyParameters(), ignore_progress)
    summary = result.results["summary"]
    return {"false_events": summary["events"], "flagged": summary["anomalous_share"], "rows": summary["rows"]}


def _noise() -> "pd.DataFrame":
    import numpy as np  # noqa: PLC0415

    random = np.random.default_rng(SEED)
    return _rows({name: random.normal(50, 2, DAYS * DAY_MINUTES) for name in ("pressure", "flow", "speed")})


def _healthy() -> "pd.DataFrame":
    """A machine that works from 6 to 22 on weekdays and idles otherwise, with what its mains and its cooling do."""
    import numpy as np  # noqa: PLC0415

    random, minutes = np.random.default_rng(SEED), np.arange(DAYS * DAY_MINUTES)
    hour, day = minutes / 60 % 24, minutes // DAY_MINUTES
    works = (hour >= 6) & (hour < 22) & (day % 7 < 5)
    load = np.where(works, 8000 + 1500 * np.sin(minutes / 37), 400)
    # Loads and heat follow slowly.
    power = _smooth(load) * random.normal(1, 0.02, len(minutes))
    voltage = 230 + 2 * np.sin(2 * np.pi * (hour - 4) / 24) + random.normal(0, 0.8, len(minutes))
    factor = np.where(power > 2000, 0.92, 0.75) * random.normal(1, 0.01, len(minutes))
    temperature = 24 + 3 * np.sin(2 * np.pi * (hour - 9) / 24) + _smooth(load, 90) / 400
    return _rows({
        "voltage": voltage,
        "current": power / voltage / factor,
        "power": power,
        "temperature": temperature + random.normal(0, 0.3, len(minutes)),
    })  # fmt: skip


def _smooth(values: "Floats", span: int = 5) -> "Floats":
    import pandas as pd  # noqa: PLC0415

    smooth: Floats = pd.Series(values).ewm(span=span).mean().to_numpy()
    return smooth


def _rows(columns: "dict[str, Floats]") -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415

    times = pd.date_range("2026-01-05", periods=DAYS * DAY_MINUTES, freq="min", tz="UTC")
    return pd.DataFrame({"timestamp": times, **columns})
