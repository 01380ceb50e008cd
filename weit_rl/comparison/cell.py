"""Train and evaluate a cell of a comparison: one method at one size, seed and budget."""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weit_rl.common.errors import NotDefined
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Cell
from weit_rl.comparison.methods import METHODS, Method
from weit_rl.comparison.runs import finish_training
from weit_rl.comparison.sources import NETWORKS, Sources, kinds
from weit_rl.core.network_from_bank import start_loss
from weit_rl.options.image_training_options import TrainingOptions
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


def run_cell(
    cell: Cell, sources: Sources, folder: Path, rate: float | None = None, changes: Mapping[str, Any] | None = None
) -> Row:
    """Train and evaluate a cell, and return its row; a method that is not defined for the size gives a note.

    Args:
        cell: the cell.
        sources: of the comparison.
        folder: of its run while it is made.
        rate: learning rate of the training; None uses the method's own.
        changes: values of options that replace all others (default: none).
    """
    size, method, kind = Size.parse(cell.size), METHODS.get(cell.method), sources.grid.kind
    row: Row = {**dict.fromkeys(fields_of(kind), ""), "method": cell.method, "size": str(size)}
    row |= {"width": size.width, "depth": size.depth, "seed": cell.seed, "budget": cell.budget}
    row[kind.subject] = sources.grid.subject
    options = replace(cell_options(cell, sources, rate), **(changes or {}))
    try:
        source, options = choose_source(method, cell.seed, sources, options)
    except NotDefined as error:
        return row | {"note": str(error)}
    report = {"failed_episodes": "", **finish_training(folder, options)}  # missing in older reports
    return (
        row
        | {key: report[key] for key in measured(kind)}
        | {"steps": report["scaler_steps"] + report["train_steps"], "source": source}
    )


def cell_options(cell: Cell, sources: Sources, rate: float | None) -> TrainingOptions:
    """Make the options of its run, except for the source."""
    method = METHODS.get(cell.method)
    stage = method.stage(cell.budget)
    assert stage is not None
    options = replace(sources.grid.train_options(), **sources.scoring())
    options = replace(
        options,
        size=replace(options.size, name=cell.size),
        init=method.init,
        seed=cell.seed,
        scaler_steps=stage,
        train_steps=cell.budget - stage,
        threads=sources.threads,
        train_lr=rate or options.train_lr,
    )
    own = sources.rank_option(cell.seed) if method.ranked else {}
    return replace(options, **copy.deepcopy({**method.options, **own}))


def choose_source(method: Method, seed: int, sources: Sources, options: TrainingOptions) -> tuple[str, TrainingOptions]:
    """Return the kind of source and the options with it; of two possible ones, the one with the lower first loss.

    Raises:
        NotDefined: if there is none that the method can start from.
    """
    possible = {kind: with_source(options, kind, sources.path(kind, seed)) for kind in kinds(method)} or {"": options}
    losses, refused = {}, None
    for kind, own in possible.items():
        try:
            run = TrainRun(own)
        except NotDefined as error:
            refused = error
            continue
        losses[kind] = (
            start_loss(run.begun(), run.context(lambda module, *_: module).loss) if len(possible) > 1 else 0.0
        )
    if not losses:
        assert refused is not None
        raise refused
    best = min(losses, key=losses.__getitem__)
    return best, possible[best]


def with_source(options: TrainingOptions, kind: str, path: Path) -> TrainingOptions:
    """Copy the options of a run, which starts from a source of that kind."""
    options = copy.deepcopy(options)
    return replace(options, source=str(path)) if kind in NETWORKS else replace(options, bank=str(path))


def remove_run(folder: Path) -> None:
    """Remove the run of a finished cell, since its row is kept."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
