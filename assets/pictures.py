"""Pictures of a day and of a result, as PNG, small enough to be kept with the metadata of a run."""

import io
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.datasets import Workshop, read
from storage import catalogue
from storage.catalogue import Dataset
from storage.devices import NAMED_METRICS, UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DEVICES = 8
WINDOW = timedelta(minutes=5)
INK, ACCENT, ALARM = "#33414e", "#1f77b4", "#c8423b"


def day_picture(workshop: Workshop, day: date) -> bytes:
    """The day's power in five-minute means, a row per device of the largest (another metric where none has power)."""
    datasets = catalogue.of_day(workshop.session, day)
    metric = _shared_metric(datasets)
    shown = sorted((d for d in datasets if metric in d.metrics), key=lambda d: -abs(_mean(d, metric)))[:MOST_DEVICES]
    figure, axes = _canvas(len(shown))
    for dataset, axis in zip(shown, axes, strict=False):
        means = _five_minute_means(read(workshop.objects, [dataset], ["timestamp", metric]), metric)
        axis.plot(means["time"].to_pylist(), means["mean"].to_pylist(), color=ACCENT, linewidth=0.9)
        axis.set_title(dataset.device_id, loc="left", fontsize=8, color=INK)
        axis.set_ylabel(UNITS.get(metric, ""), fontsize=7)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    _hours(axes[-1], start, start + timedelta(days=1))
    more = len(datasets) - len(shown)
    figure.suptitle(f"{metric}, {day} UTC" + (f" ({more} more devices)" if more else ""), x=0.01, ha="left", fontsize=9)
    return _png(figure)


def anomaly_picture(device_id: str, table: pa.Table, results: dict[str, Any]) -> bytes:
    """The metric that the anomalies showed in most, with their events shaded."""
    events = results["events"]
    metrics = [event["metric"] for event in events if event.get("metric") in table.column_names]
    metric = max(set(metrics), key=metrics.count) if metrics else _first_metric(table)
    means = _five_minute_means(table.select(["timestamp", metric]), metric)
    figure, (axis,) = _canvas(1)
    axis.plot(means["time"].to_pylist(), means["mean"].to_pylist(), color=ACCENT, linewidth=0.8)
    for event in events:
        start, end = (datetime.fromisoformat(event[edge]) for edge in ("start", "end"))
        axis.axvspan(start, max(end, start + WINDOW), color=ALARM, alpha=0.35, linewidth=0)
    axis.set_ylabel(UNITS.get(metric, ""), fontsize=7)
    figure.suptitle(f"{device_id}: {metric}, {len(events)} anomalous events", x=0.01, ha="left", fontsize=9)
    return _png(figure)


def forecast_picture(device_id: str, results: dict[str, Any]) -> bytes:
    """What was, what is expected, and the band that holds 95 % of it."""
    figure, (axis,) = _canvas(1)
    history, ahead = results["history"], results["forecast"]
    times = [datetime.fromisoformat(point["timestamp"]) for point in ahead]
    axis.plot(
        [datetime.fromisoformat(p["timestamp"]) for p in history],
        [p["value"] for p in history],
        color=INK,
        linewidth=0.8,
    )
    axis.plot(times, [p["value"] for p in ahead], color=ACCENT, linewidth=1.2)
    axis.fill_between(
        times, [p["lower"] for p in ahead], [p["upper"] for p in ahead], color=ACCENT, alpha=0.2, linewidth=0
    )
    axis.set_ylabel(UNITS.get(results["metric"], ""), fontsize=7)
    figure.suptitle(f"{device_id}: {results['metric']}, forecast with 95 % band", x=0.01, ha="left", fontsize=9)
    return _png(figure)


def _shared_metric(datasets: list[Dataset]) -> str:
    counted = {name: sum(name in d.metrics for d in datasets) for d in datasets for name in d.metrics}
    return "power" if "power" in counted else max(counted, key=lambda name: counted[name], default="power")


def _first_metric(table: pa.Table) -> str:
    there = [name for name in ("power", *NAMED_METRICS) if table[name].null_count < len(table)]
    return there[0] if there else table.column_names[-1]


def _mean(dataset: Dataset, metric: str) -> float:
    statistics = dataset.metrics[metric]
    return float(statistics["sum"] / statistics["count"])


def _five_minute_means(table: pa.Table, metric: str) -> pa.Table:
    windows = pc.floor_temporal(table["timestamp"], 5, "minute")
    means = pa.table({"time": windows, "value": table[metric]}).group_by("time").aggregate([("value", "mean")])
    return means.rename_columns(["time", "mean"]).sort_by("time")


def _canvas(rows: int) -> tuple["Figure", list["Axes"]]:
    # A figure without pyplot: nothing global, so that threads of one process do not meet.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - 0.4 s that minute runs need not pay
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows = max(rows, 1)
    figure = Figure(figsize=(7, 0.6 + 1.1 * rows if rows > 1 else 2.4), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for axis in axes:
        axis.tick_params(labelsize=7, colors=INK)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e3e7ea", linewidth=0.6)
    return figure, axes


def _hours(axis: "Axes", start: datetime, end: datetime) -> None:
    from matplotlib.dates import DateFormatter, HourLocator  # noqa: PLC0415

    axis.set_xlim(start, end)
    axis.xaxis.set_major_locator(HourLocator(interval=3))
    axis.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))


def _png(figure: "Figure") -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()
