"""One cell: a network of a size made by a method, trained for the rest of its budget, and evaluated."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weit_rl.common.errors import NotDefined
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Cell
from weit_rl.comparison.methods import METHODS, Method
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.sources import NETWORKS, Sources, kinds
from weit_rl.core.network_from_bank import start_loss
from weit_rl.options.command import compose
from weit_rl.tasks import TaskEntry
from weit_rl.workflows.train_run import TrainRun

COST = ("steps", "flops", "seconds")
Row = dict[str, Any]  # in memory, "value" repeats the measure by which methods are compared


def fields_of(kind: TaskEntry) -> tuple[str, ...]:
    """Return the columns of a table of cells."""
    first, second, *others = kind.measure.columns
    where = ("method", kind.subject, "size", "width", "depth", "seed", "budget")
    return (*where, first, second, *COST, *others, "validation_loss", "source", "note")


def measured(kind: TaskEntry) -> tuple[str, ...]:
    """Return the columns that hold decimal numbers."""
    return (*kind.measure.columns, "validation_loss", "flops", "seconds")


def run_cell(cell: Cell, sources: Sources, folder: Path, rate: float | None = None, extra: Sequence[str] = ()) -> Row:
    """Train and evaluate a cell, and return its row; a method that is not defined for the size gives a note.

    Args:
        cell: the cell.
        sources: of the comparison.
        folder: of its run while it is made.
        rate: learning rate of the training; None uses the method's own.
        extra: further options, which override all others.
    """
    size, method, kind = Size.parse(cell.size), METHODS.get(cell.method), sources.grid.kind
    row: Row = {**dict.fromkeys(fields_of(kind), ""), "method": cell.method, "size": str(size)}
    row |= {"width": size.width, "depth": size.depth, "seed": cell.seed, "budget": cell.budget}
    row[kind.subject] = sources.grid.subject
    words = [*cell_words(cell, sources, rate), *extra]
    try:
        source, more = choose_source(method, cell.seed, sources, words)
    except NotDefined as error:
        return row | {"note": str(error)}
    report = {"failed_episodes": "", **finish_training(folder, [*words, *more])}  # missing in older reports
    return (
        row
        | {key: report[key] for key in measured(kind)}
        | {"steps": report["scaler_steps"] + report["train_steps"], "source": source}
    )


def cell_words(cell: Cell, sources: Sources, rate: float | None) -> list[str]:
    """Return the options of its run, except for the source."""
    grid, method = sources.grid, METHODS.get(cell.method)
    stage = method.stage(cell.budget)
    assert stage is not None
    options = {
        "size": cell.size,
        "init": method.init,
        "seed": cell.seed,
        "scaler_steps": stage,
        "train_steps": cell.budget - stage,
        "threads": sources.threads,
    }
    return [
        *grid.words(),
        *sources.scoring_words(),
        *(f"{key}={value}" for key, value in options.items()),
        *method.words,
        *(sources.rank_words(cell.seed) if method.ranked else []),
        *([f"train_lr={rate}"] if rate else []),
    ]


def choose_source(method: Method, seed: int, sources: Sources, words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the kind of source and the option that names it; of two possible ones, the one with the lower first loss.

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


def remove_run(folder: Path) -> None:
    """Remove the run of a finished cell, since its row is kept."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
