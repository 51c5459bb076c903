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
    """The format that the request's `Accept` prefers; JSON if it has no preference.

    Raises:
        NotAcceptable: It accepts none of the formats.

    """
    header = request.headers.get("accept") or "*/*"
    best: tuple[float, Format] | None = None
    for choice in header.split(","):
        media_range, *parameters = (part.strip().lower() for part in choice.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weight = float(quality) if quality.replace(".", "", 1).isdigit() else 0.0
        format_ = next((f for f, media_type in MEDIA_TYPES.items() if _matches(media_range, media_type)), None)
        if format_ and weight > 0 and (best is None or weight > best[0]):
            best = (weight, format_)
    if best is None:
        raise NotAcceptable(f"Accept allows none of the formats of this answer: {', '.join(MEDIA_TYPES.values())}")
    return best[1]


def json_answer(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response straight from dictionaries, without models; times are RFC 3339 in UTC."""
    return Response(msgspec.json.encode(content), media_type=MEDIA_TYPES["json"], headers=headers)


def table_answer(table: pa.Table, format_: Format, name: str, headers: Mapping[str, str]) -> Response:
    """A response with the table as a file in this format."""
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
