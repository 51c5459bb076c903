"""`energy devices`: register devices through the API."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storage.settings import Settings

if TYPE_CHECKING:
    import httpx

app = typer.Typer(help="Register devices.", no_args_is_help=True)


@app.command(name="import")
def import_devices(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A CSV file in UTF-8 with a header.")
    ],
    url: Annotated[str | None, typer.Option(help="The API's address. Default: the one on this machine.")] = None,
    key: Annotated[str | None, typer.Option(envvar=["ENERGY_API_KEY", "ENERGY_ADMIN_KEY"], help="An API key.")] = None,
) -> None:
    """Register the devices of a CSV file, or update those that are registered.

    The first line names the columns: device_id, device_name, device_type, and optionally status, location,
    manufacturer, model, metadata_json, tenant_id. An empty cell leaves its field unchanged. Each row that fails is
    printed with its line number and the reason, and the exit code is 1; the other rows are kept.
    """
    import httpx

    from serving.devices.schemas import MAX_BULK_DEVICES, DeviceCreate

    address = url or f"http://127.0.0.1:{Settings.load().api_port}"
    rows = list(_rows(file, set(DeviceCreate.model_fields)))
    headers = {"X-API-Key": key} if key else {}
    failed, count = 0, {"created": 0, "updated": 0, "unchanged": 0}
    with httpx.Client(base_url=address, headers=headers, timeout=120) as client:
        for start in range(0, len(rows), MAX_BULK_DEVICES):
            part = rows[start : start + MAX_BULK_DEVICES]
            data = _send(client, [row for _, row in part])
            for result in data["results"]:
                if result["status"] == "failed":
                    failed += 1
                    fields = "".join(f"{e['field']}: " for e in result["errors"][:1])
                    print(f"{file}:{part[result['index']][0]}: {fields}{result['detail']}", file=sys.stderr)
                else:
                    count[result["status"]] += 1
    print(", ".join(f"{number} {what}" for what, number in count.items()) + f", {failed} failed")
    raise typer.Exit(1 if failed else 0)


def _rows(file: Path, known: set[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with its line number, without its empty cells."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        try:
            reader = csv.DictReader(lines, strict=True)
            unknown = [name for name in reader.fieldnames or ["(nothing)"] if name not in known]
            if unknown:
                raise typer.BadParameter(
                    f"{file}: unknown columns: {', '.join(unknown)}; the columns are {', '.join(known)}"
                )
            for row in reader:
                if None in row:
                    raise typer.BadParameter(
                        f"{file}:{reader.line_num}: more cells than columns; put cells with a comma in quotes"
                    )
                yield reader.line_num, {name: value for name, value in row.items() if name and value not in ("", None)}
        except (UnicodeDecodeError, csv.Error) as error:
            raise typer.BadParameter(f"{file} cannot be read as a CSV file in UTF-8: {error}") from None


def _send(client: "httpx.Client", devices: list[dict[str, Any]]) -> dict[str, Any]:
    import httpx

    try:
        response = client.post("/api/v1/devices/bulk", json={"devices": devices})
        body = response.json()
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        print(
            f"energy: the API at {client.base_url} does not answer: {error}. Is `energy up` running?", file=sys.stderr
        )
        raise typer.Exit(1) from None
    if response.status_code != 200:
        print(f"energy: {body.get('detail', body)}", file=sys.stderr)
        raise typer.Exit(1)
    data: dict[str, Any] = body["data"]
    return data
