"""`energy models`: list, show and delete the models that analyses have fitted and kept."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.tenants import check_identifier, migrated_session

if TYPE_CHECKING:
    from sqlmodel import Session

    from storage.kept_models import KeptModel

app = typer.Typer(
    help="List, show and delete fitted models. Later analyses score with them, and fit again what is deleted.",
    no_args_is_help=True,
)
Device = Annotated[str | None, typer.Option(help="Only models of this device.")]


@app.command(name="list")
def list_models(device: Device = None) -> None:
    """List the kept models: whose they are, what they were fitted on, and when they were last used."""
    from storage.kept_models import kept_models

    if device is not None:
        check_identifier(device, "--device")
    with migrated_session() as session:
        rows = kept_models(session, device)
    if not rows:
        whose = f"of {device} " if device else ""
        print(f"energy: no model {whose}is kept; analyses keep those that they fit", file=sys.stderr)
    head = f"{'ID':>8} {'DEVICE':24} {'ANALYSIS':10} {'MODEL':18} {'DAYS':24} {'KB':>7}  LAST USED"
    print(head)
    for row in rows:
        days = f"{row.fitted_from:%Y-%m-%d} to {row.last_day}"
        print(
            f"{row.model_id:>8} {row.device_id:24} {row.analysis_type:10} {row.model_name:18} {days:24}"
            f" {row.size_bytes / 1000:>7,.0f}  {row.last_used_at:%Y-%m-%d %H:%M}"
        )


@app.command()
def show(model_id: Annotated[int, typer.Argument(help="The model's id, as `energy models list` shows it.")]) -> None:
    """Show all that is known of a model, as JSON."""
    with migrated_session() as session:
        row = _existing(session, model_id)
        print(json.dumps(row.model_dump(mode="json"), indent=2))


@app.command()
def delete(
    model_ids: Annotated[list[int] | None, typer.Argument(help="Ids of models.")] = None,
    device: Annotated[str | None, typer.Option(help="Delete all models of this device.")] = None,
) -> None:
    """Delete models with their files. The next analysis fits again."""
    from storage.dirty_days import unknown_devices
    from storage.kept_models import kept_models
    from storage.objects import open_object_store
    from storage.settings import Settings

    if bool(model_ids) == bool(device):
        raise typer.BadParameter("name the ids of models, or a device with --device", param_hint="MODEL_IDS")
    objects = open_object_store(Settings.load())
    with migrated_session() as session:
        if device:
            check_identifier(device, "--device")
            rows = kept_models(session, device)
            if not rows and unknown_devices(session, [device]):
                raise typer.BadParameter(f"there is no device {device}", param_hint="--device")
        else:
            rows = [_existing(session, model_id) for model_id in dict.fromkeys(model_ids or ())]
        for row in rows:
            objects.delete(row.object_key)
            session.delete(row)
        session.commit()
    print("1 model was deleted" if len(rows) == 1 else f"{len(rows)} models were deleted")


def _existing(session: "Session", model_id: int) -> "KeptModel":
    from storage.kept_models import KeptModel

    row = session.get(KeptModel, model_id) if 0 < model_id < 2**63 else None
    if row is None:
        raise typer.BadParameter(f"there is no model {model_id}; `energy models list` shows all", param_hint="ID")
    return row
