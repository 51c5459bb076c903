"""Answers in the format that the client accepts: JSON, CSV, Arrow IPC or Parquet."""

import io
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from fastapi import Request, Response

from serving.http.errors import NotAcceptable

Format = Literal["json", "csv", "arrow", "parquet"]
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
CONTENT: dict[str, Any] = {media_type: {} for media_type in MEDIA_TYPES.values() if media_type != "application/json"}


def accepted(request: Request) -> Format:
    """The format that the request's `Accept` likes best; JSON where it does not care.

    Raises:
        NotAcceptable: it likes none of them.

    """
    wishes = request.headers.get("accept") or "*/*"
    best: tuple[float, Format] | None = None
    for wish in wishes.split(","):
        media_range, *parameters = (part.strip().lower() for part in wish.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weight = float(quality) if quality.replace(".", "", 1).isdigit() else 0.0
        found = next((f for f, media_type in MEDIA_TYPES.items() if _matches(media_range, media_type)), None)
        if found and weight > 0 and (best is None or weight > best[0]):
            best = (weight, found)
    if best is None:
        raise NotAcceptable(f"the answer comes as {', '.join(MEDIA_TYPES.values())}; none of them is accepted")
    return best[1]


def json_answer(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """JSON without a detour over models: times as RFC 3339 in UTC."""
    return Response(msgspec.json.encode(content), media_type=MEDIA_TYPES["json"], headers=headers)


def table_answer(table: pa.Table, format_: Format, name: str, headers: Mapping[str, str]) -> Response:
    """A table as a file of the format."""
    sink = io.BytesIO()
    if format_ == "csv":
        pyarrow.csv.write_csv(table, sink)
    elif format_ == "parquet":
        pq.write_table(table, sink, compression="snappy")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    suffix = {"csv": "csv", "parquet": "parquet"}.get(format_, "arrows")
    disposition = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"'}
    return Response(sink.getvalue(), media_type=MEDIA_TYPES[format_], headers={**headers, **disposition})


def _matches(media_range: str, media_type: str) -> bool:
    kind, _, _ = media_type.partition("/")
    return media_range in (media_type, "*/*", f"{kind}/*")
