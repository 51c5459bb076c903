"""Pictures of a day and of analysis results as PNG, small enough for the metadata of a Dagster run."""

import io
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.datasets.files import read
from storage import catalogue
from storage.catalogue import Dataset
from storage.devices import NAMED_METRICS, UNITS
from storage.stores import Stores
from storage.times import midnight

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_DEVICES = 8
MAX_METRICS = 4
WINDOW = timedelta(minutes=5)
INK, ACCENT, ALARM = "#33414e", "#1f77b4", "#c8423b"


def day_picture(stores: Stores, day: date) -> bytes:
    """The day's power as five-minute means, one row for each of the devices with the most power.

    If no device measures power, the picture shows the metric that most devices measure.
    """
    datasets = catalogue.of_day(stores.session, day)
    metric = _most_common_metric(datasets)
    shown = sorted((d for d in datasets if metric in d.metrics), key=lambda d: -abs(_mean(d, metric)))[:MAX_DEVICES]
    figure, axes = _canvas(len(shown))
    for dataset, axis in zip(shown, axes, strict=False):
        means = _five_minute_means(read(stores.objects, [dataset], ["timestamp", metric]), metric)
        axis.plot(means["time"].to_pylist(), means["mean"].to_pylist(), color=ACCENT, linewidth=0.9)
        axis.set_title(dataset.device_id, loc="left", fontsize=8, color=INK)
        axis.set_ylabel(UNITS.get(metric, ""), fontsize=7)
    start = midnight(day)
    _hours(axes[-1], start, start + timedelta(days=1))
    others = len(datasets) - len(shown)
    figure.suptitle(
        f"{metric}, {day} UTC" + (f" ({others} more devices)" if others else ""), x=0.01, ha="left", fontsize=9
    )
    return _png(figure)


def anomaly_picture(device_id: str, table: pa.Table, results: dict[str, Any]) -> bytes:
    """The metrics with the most events as five-minute means, with their events shaded.

    `table` has the dataset rows that the analysis used, `results` what it found.
    """
    events = results["events"]
    event_counts = Counter(event["metric"] for event in events if event.get("metric") in table.column_names)
    metrics = [metric for metric, _ in event_counts.most_common(MAX_METRICS)] or [_first_metric(table)]
    times = pc.min_max(table["timestamp"]).as_py()
    min_width = max(WINDOW, (times["max"] - times["min"]) / 300)  # two pixels
    figure, axes = _canvas(len(metrics))
    for metric, axis in zip(metrics, axes, strict=True):
        means = _five_minute_means(table.select(["timestamp", metric]), metric)
        axis.plot(means["time"].to_pylist(), means["mean"].to_pylist(), color=ACCENT, linewidth=0.8)
        for event in events:
            if event.get("metric") == metric:
                start, end = (datetime.fromisoformat(event[edge]) for edge in ("start", "end"))
                axis.axvspan(start, max(end, start + min_width), color=ALARM, alpha=0.35, linewidth=0)
                # A spike hides the shade of its few minutes, so a mark at the upper edge shows the event as well.
                upper_edge = axis.get_xaxis_transform()
                axis.plot([start + (end - start) / 2], [0.97], "v", color=ALARM, markersize=4, transform=upper_edge)
        count = event_counts[metric]
        axis.set_title(f"{metric}: {count} {'event' if count == 1 else 'events'}", loc="left", fontsize=8, color=INK)
        axis.set_ylabel(UNITS.get(metric, ""), fontsize=7)
    _dates(axes[-1])
    figure.suptitle(f"{device_id}: {len(events)} anomalous events, UTC", x=0.01, ha="left", fontsize=9)
    return _png(figure)


def forecast_picture(device_id: str, results: dict[str, Any]) -> bytes:
    """The measured past, the forecast, and its 80 and 95 % bands."""
    figure, (axis,) = _canvas(1)
    history, forecast = results["history"], results["forecast"]
    times = _times(forecast)
    axis.plot(_times(history), [p["value"] for p in history], color=INK, linewidth=0.8, label="measured")
    axis.plot(times, [p["value"] for p in forecast], color=ACCENT, linewidth=1.2, label="expected")
    for low, high, share in (("lower", "upper", 95), ("lower_80", "upper_80", 80)):
        bounds = [[p[edge] for p in forecast] for edge in (low, high)]
        axis.fill_between(times, *bounds, color=ACCENT, alpha=0.18, linewidth=0, label=f"{share} % of cases")
    axis.axvline(times[0], color=INK, linewidth=0.6, linestyle=":")
    axis.set_ylabel(results["unit"] or "", fontsize=7)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), fontsize=6, ncols=4, frameon=False)
    _dates(axis)
    worse = ", worse than its baseline" if results.get("warning") else ""
    figure.suptitle(f"{device_id}: {results['metric']}, forecast{worse}, UTC", x=0.01, ha="left", fontsize=9)
    return _png(figure)


def prediction_picture(device_id: str, results: dict[str, Any]) -> bytes:
    """The probability of a failure within the horizon, at the newest steps."""
    figure, (axis,) = _canvas(1)
    steps = results["probabilities"]
    axis.plot(_times(steps), [step["failure_probability"] for step in steps], ".", color=ALARM, markersize=3)
    axis.set_ylim(0, 1)
    _dates(axis)
    title = f"{device_id}: probability of a failure within {results['horizon_hours']} h, UTC"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return _png(figure)


def _times(points: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(point["timestamp"]) for point in points]


def _most_common_metric(datasets: list[Dataset]) -> str:
    counts = Counter(name for dataset in datasets for name in dataset.metrics)
    return "power" if "power" in counts or not counts else counts.most_common(1)[0][0]


def _first_metric(table: pa.Table) -> str:
    measured = [name for name in ("power", *NAMED_METRICS) if table[name].null_count < len(table)]
    return measured[0] if measured else table.column_names[-1]


def _mean(dataset: Dataset, metric: str) -> float:
    statistics = dataset.metrics[metric]
    return float(statistics["sum"] / statistics["count"])


def _five_minute_means(table: pa.Table, metric: str) -> pa.Table:
    windows = pc.floor_temporal(table["timestamp"], 5, "minute")
    means = pa.table({"time": windows, "value": table[metric]}).group_by("time").aggregate([("value", "mean")])
    return means.rename_columns(["time", "mean"]).sort_by("time")


def _canvas(rows: int) -> tuple["Figure", list["Axes"]]:
    # Without pyplot there is no global state, so several threads can draw at the same time.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - takes 0.4 s, which the run of every minute does not need
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


def _dates(axis: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    locator = AutoDateLocator(tz=UTC)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))


def _png(figure: "Figure") -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()
