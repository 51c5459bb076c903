"""Pictures of a day and of a result, as PNG, small enough to be kept with the metadata of a run."""

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
    """The day's power in five-minute means, a row per device of the largest (another metric where none has power)."""
    datasets = catalogue.of_day(stores.session, day)
    metric = _shared_metric(datasets)
    shown = sorted((d for d in datasets if metric in d.metrics), key=lambda d: -abs(_mean(d, metric)))[:MAX_DEVICES]
    figure, axes = _canvas(len(shown))
    for dataset, axis in zip(shown, axes, strict=False):
        means = _five_minute_means(read(stores.objects, [dataset], ["timestamp", metric]), metric)
        axis.plot(means["time"].to_pylist(), means["mean"].to_pylist(), color=ACCENT, linewidth=0.9)
        axis.set_title(dataset.device_id, loc="left", fontsize=8, color=INK)
        axis.set_ylabel(UNITS.get(metric, ""), fontsize=7)
    start = midnight(day)
    _hours(axes[-1], start, start + timedelta(days=1))
    more = len(datasets) - len(shown)
    figure.suptitle(f"{metric}, {day} UTC" + (f" ({more} more devices)" if more else ""), x=0.01, ha="left", fontsize=9)
    return _png(figure)


def anomaly_picture(device_id: str, table: pa.Table, results: dict[str, Any]) -> bytes:
    """The metrics that the anomalies showed in, most often first, each with its own events shaded."""
    events = results["events"]
    showing = Counter(event["metric"] for event in events if event.get("metric") in table.column_names)
    metrics = [metric for metric, _ in showing.most_common(MAX_METRICS)] or [_first_metric(table)]
    times = pc.min_max(table["timestamp"]).as_py()
    visible = max(WINDOW, (times["max"] - times["min"]) / 300)  # two pixels
    figure, axes = _canvas(len(metrics))
    for metric, axis in zip(metrics, axes, strict=True):
        means = _five_minute_means(table.select(["timestamp", metric]), metric)
        axis.plot(means["time"].to_pylist(), means["mean"].to_pylist(), color=ACCENT, linewidth=0.8)
        for event in events:
            if event.get("metric") == metric:
                start, end = (datetime.fromisoformat(event[edge]) for edge in ("start", "end"))
                axis.axvspan(start, max(end, start + visible), color=ALARM, alpha=0.35, linewidth=0)
                # A spike hides the shade of its few minutes; the mark at the upper edge stays.
                edge = axis.get_xaxis_transform()
                axis.plot([start + (end - start) / 2], [0.97], "v", color=ALARM, markersize=4, transform=edge)
        count = showing[metric]
        axis.set_title(f"{metric}: {count} {'event' if count == 1 else 'events'}", loc="left", fontsize=8, color=INK)
        axis.set_ylabel(UNITS.get(metric, ""), fontsize=7)
    _dates(axes[-1])
    figure.suptitle(f"{device_id}: {len(events)} anomalous events, UTC", x=0.01, ha="left", fontsize=9)
    return _png(figure)


def forecast_picture(device_id: str, results: dict[str, Any]) -> bytes:
    """What was, what is expected, and the bands that hold 80 and 95 % of it."""
    figure, (axis,) = _canvas(1)
    history, ahead = results["history"], results["forecast"]
    times = _times(ahead)
    axis.plot(_times(history), [p["value"] for p in history], color=INK, linewidth=0.8, label="measured")
    axis.plot(times, [p["value"] for p in ahead], color=ACCENT, linewidth=1.2, label="expected")
    for low, high, share in (("lower", "upper", 95), ("lower_80", "upper_80", 80)):
        bounds = [[p[edge] for p in ahead] for edge in (low, high)]
        axis.fill_between(times, *bounds, color=ACCENT, alpha=0.18, linewidth=0, label=f"{share} % of cases")
    axis.axvline(times[0], color=INK, linewidth=0.6, linestyle=":")
    axis.set_ylabel(UNITS.get(results["metric"], ""), fontsize=7)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), fontsize=6, ncols=4, frameon=False)
    _dates(axis)
    worse = ", worse than the day before repeated" if results.get("warning") else ""
    figure.suptitle(f"{device_id}: {results['metric']}, forecast{worse}, UTC", x=0.01, ha="left", fontsize=9)
    return _png(figure)


def prediction_picture(device_id: str, results: dict[str, Any]) -> bytes:
    """The probability of a failure within the horizon at the newest steps, none of which its model had learnt from."""
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


def _dates(axis: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

    locator = AutoDateLocator(tz=UTC)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))


def _png(figure: "Figure") -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()
