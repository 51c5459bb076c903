"""`energy evaluate`: how good the analyses' models are on real data."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Data sets, laid out as docs/analytics.md says.")],
    *,
    case: Annotated[
        list[str] | None, typer.Option(help="Only this case or group, such as skab or forecast. Repeat for several.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model. Repeat for several.")] = None,
    every: Annotated[
        int, typer.Option(min=1, help="Use only every Nth origin or file: a rough figure in less time.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Judge the models on labelled and held-out data by fixed protocols: the way to judge a change."""
    from assets.evaluation import NoCases, evaluate as evaluate_models

    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder")
    try:
        evaluations = evaluate_models(folder, case or (), model or (), every)
    except NoCases as error:
        raise typer.BadParameter(str(error)) from None
    failed = 0
    if not as_json:
        print(f"{'case':28} {'model':18} {'seconds':>8} {'MB':>6}  figures", flush=True)
    for found in evaluations:
        failed += found.error is not None
        if as_json:
            line = {name: value for name, value in asdict(found).items() if name != "error" or value is not None}
            print(json.dumps({**line, "seconds": round(found.seconds, 2), "peak_mb": round(found.peak_mb)}))
        else:
            figures = found.error or _words(found.figures)
            print(f"{found.case:28} {found.model:18} {found.seconds:8.1f} {found.peak_mb:6.0f}  {figures}")
        sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


def _words(figures: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in figures.items() if name != "series"}
    return "  ".join(f"{name} {_number(value)}" for name, value in shown.items())


def _number(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_number, value))
    return "none" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
