"""One cell: a network of a size made by a method, trained for the rest of its budget, scored on test episodes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weit_rl.command import compose
from weit_rl.comparison.grid import Cell
from weit_rl.comparison.methods import METHODS, Method
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.sources import NETWORKS, Sources, kinds
from weit_rl.errors import NotDefined
from weit_rl.sizes import Size
from weit_rl.start import start_loss
from weit_rl.workflows.train import TrainRun

FIELDS = (
    *("method", "env", "size", "width", "depth", "seed", "budget", "return_mean", "score", "steps", "flops", "seconds"),
    *("return_std", "return_median", "validation_loss", "source", "note"),
)
MEASURED = ("return_mean", "return_std", "return_median", "validation_loss", "score", "flops", "seconds")
Row = dict[str, Any]


def run_cell(cell: Cell, sources: Sources, folder: Path, rate: float | None = None, extra: Sequence[str] = ()) -> Row:
    """The row of a cell; one whose method is not defined for its size says so in its note.

    Args:
        cell: which.
        sources: of the comparison.
        folder: where its run lies while it is made.
        rate: learning rate of the training; None takes the method's own.
        extra: further options, over all others.
    """
    size, method = Size.parse(cell.size), METHODS.get(cell.method)
    row: Row = {**dict.fromkeys(FIELDS, ""), "method": cell.method, "env": sources.grid.env, "size": str(size)}
    row |= {"width": size.width, "depth": size.depth, "seed": cell.seed, "budget": cell.budget}
    words = [*cell_words(cell, sources, rate), *extra]
    try:
        source, more = choose_source(method, cell.seed, sources, words)
    except NotDefined as error:
        return row | {"note": str(error)}
    report = finish_training(folder, [*words, *more])
    measured = {key: report[key] for key in MEASURED}
    return row | measured | {"steps": report["scaler_steps"] + report["train_steps"], "source": source}


def cell_words(cell: Cell, sources: Sources, rate: float | None) -> list[str]:
    """Options of its run, but for the source."""
    grid, method = sources.grid, METHODS.get(cell.method)
    stage = method.stage(cell.budget)
    assert stage is not None
    options = {
        "size": cell.size,
        "init": method.init,
        "seed": cell.seed,
        "scaler_steps": stage,
        "train_steps": cell.budget - stage,
        "episodes": grid.episodes,
        "validation_episodes": 0,
        "threads": sources.threads,
    }
    return [
        *grid.words(),
        *(f"{key}={value}" for key, value in options.items()),
        *method.words,
        *([f"train_lr={rate}"] if rate else []),
    ]


def choose_source(method: Method, seed: int, sources: Sources, words: Sequence[str]) -> tuple[str, list[str]]:
    """The kind of source and the option that names it; of two that are possible the one with the lower first loss.

    Raises:
        NotDefined: if there is none that the method can start from.
    """
    options = {kind: f"{'source' if kind in NETWORKS else 'bank'}={sources.path(kind, seed)}" for kind in kinds(method)}
    losses, refused = {}, None
    for kind, option in options.items() or {"": ""}.items():
        try:
            run = TrainRun(compose("train", [*words, *([option] if option else [])]))
        except NotDefined as error:
            refused = error
            continue
        losses[kind] = start_loss(run.begun(), run.context(None).loss) if len(options) > 1 else 0.0
    if not losses:
        assert refused is not None
        raise refused
    best = min(losses, key=losses.__getitem__)
    return best, [options[best]] if best else []


def discard(folder: Path) -> None:
    """Remove a finished cell's run; its row is what is kept."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
