"""What a protocol offers: cases that models are judged on, and the figures that come out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Numbers by name; `series` may hold more figures by the name of a part, which the table leaves out.
Figures = Mapping[str, Any]


class NoCases(Exception):
    """The folder has no data to judge the models on, or a name is unknown; the message says which there are."""


@dataclass(frozen=True)
class Case:
    """Data and a protocol for the models of one analysis. `evaluate` fits the model of that name."""

    name: str
    models: tuple[str, ...]
    evaluate: Callable[[str], Figures]


@dataclass(frozen=True)
class Evaluation:
    """One model's figures on one case, the seconds it took, and the peak of its process's memory in MB.

    `error` says why there are no figures.
    """

    case: str
    model: str
    figures: Figures
    seconds: float
    peak_mb: float
    error: str | None = None
