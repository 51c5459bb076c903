"""Runs cases: each model on each case in a process of its own, one after the other, on one thread."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from assets.evaluation.cases import Case, Evaluation, NoCases

# One protocol a module in this package. Its `cases(folder, every)` returns the cases for which the folder has data;
# with `every` above 1 they use every such origin or file only.
PROTOCOLS = ("skab", "nab", "household", "quiet", "forecasts", "ai4i", "cmapss")


def find_cases(folder: Path, every: int = 1) -> list[Case]:
    """The cases for which the folder has data."""
    return [case for name in PROTOCOLS for case in _of_protocol(name, folder, every)]


def evaluate(
    folder: Path, cases: Sequence[str] = (), models: Sequence[str] = (), every: int = 1
) -> Iterator[Evaluation]:
    """Judge models on the cases of a folder, one after the other, as the iterator is read.

    Args:
        folder: data laid out as docs/analytics.md describes.
        cases: names of cases, or of groups of them (`forecast` stands for `forecast/…`); by default all.
        models: names of models; by default all.
        every: above 1, use every such origin or file only. Figures are then rough, and quick.

    Raises:
        NoCases: the folder has none of the cases, no case has one of the models, or a file cannot be read.

    """
    pairs = [
        (protocol, case.name, model)
        for protocol in PROTOCOLS
        for case in _of_protocol(protocol, folder, every)
        for model in case.models
    ]
    if not pairs:
        raise NoCases(f"{folder} has no data for any case. docs/analytics.md describes the files.")
    for kind, names, known in (
        ("case", cases, sorted({case for _, case, _ in pairs})),
        ("model", models, sorted({model for _, _, model in pairs})),
    ):
        if unknown := [name for name in names if not any(_is_of(item, name) for item in known)]:
            raise NoCases(f"there is no {kind} {unknown[0]} in {folder}. There are: {', '.join(known)}")
    of_cases = [pair for pair in pairs if not cases or any(_is_of(pair[1], name) for name in cases)]
    chosen = [pair for pair in of_cases if not models or pair[2] in models]
    if not chosen:
        there_are = ", ".join(sorted({model for _, _, model in of_cases}))
        raise NoCases(f"the model {models[0]} is not one of {', '.join(cases)}. There are: {there_are}")
    return (_in_a_process(protocol, folder, every, case, model) for protocol, case, model in chosen)


def _is_of(case: str, name: str) -> bool:
    return case == name or case.startswith(f"{name}/")


def _of_protocol(protocol: str, folder: Path, every: int) -> list[Case]:
    found: list[Case] = import_module(f"assets.evaluation.{protocol}").cases(folder, every)
    return found


def _in_a_process(protocol: str, folder: Path, every: int, case: str, model: str) -> Evaluation:
    """The evaluation, made in a fresh process: its peak of memory is then the model's own."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    source = (protocol, folder, every)
    process = context.Process(target=_send_evaluation, args=(sender, source, case, model), daemon=True)
    try:
        process.start()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    sender.close()
    try:
        evaluation: Evaluation = receiver.recv()
    except EOFError:
        process.join()
        reason = f"its process ended with exit code {process.exitcode}"
        return Evaluation(case, model, {}, 0.0, 0.0, reason)
    process.join()
    return evaluation


def _send_evaluation(sender: Connection, source: tuple[str, Path, int], name: str, model: str) -> None:
    case = next(case for case in _of_protocol(*source) if case.name == name)
    started = time.perf_counter()
    error = None
    try:
        figures = case.evaluate(model)
    except Exception as failure:  # noqa: BLE001 - one model's failure is a line of its own; the others go on
        figures, error = {}, f"{type(failure).__name__}: {failure}"
    sender.send(Evaluation(name, model, figures, time.perf_counter() - started, peak_mb(), error))


def peak_mb() -> float:
    """The peak of this process's memory."""
    import resource  # noqa: PLC0415 - not on every system

    # `ru_maxrss` of a fresh process can be its parent's; the kernel's own figure is not.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if own is None else own) / 1024
