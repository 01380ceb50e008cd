"""The cells of a part in the order in which they run, and the run of one cell."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.ml45.part import Part
from weit_rl.common.errors import NotDefined
from weit_rl.common.sizes import Size
from weit_rl.comparison import cell as comparison
from weit_rl.comparison import grid
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.sources import kinds
from weit_rl.initializers import TrainedSource
from weit_rl.models import MODELS
from weit_rl.options.pretrain_options import PretrainOptions


@dataclass(frozen=True)
class Cell:
    """A training of the benchmark: its method, task, number of demonstrations, size, seed and gradient steps."""

    method: str
    task: str
    demonstrations: int
    size: str
    seed: int
    budget: int

    def key(self) -> tuple[str, ...]:
        """Return the cell's columns as a row has them."""
        return tuple(map(str, astuple(self)))

    @property
    def name(self) -> str:
        """Return the name of its run."""
        return "-".join(self.key())


CELL = tuple(field.name for field in fields(Cell))
MEASURED = {  # column -> that of the comparison's cells
    "success": "score",
    "return": "return_mean",
    **{name: name for name in ("steps", "flops", "seconds", "validation_loss", "source")},
}
FIELDS = (*CELL, *MEASURED)


def cells(part: Part) -> list[Cell]:
    """List the cells, the most informative first; all methods of a size and task follow each other."""
    order = (
        part.seeds,
        sorted(part.demonstrations, key=part.first["demonstrations"].index),
        sorted(part.budgets, key=part.first["budgets"].index),
        part.sizes,
        part.tasks,
        part.methods,
    )
    found = (Cell(m, t, d, size, seed, budget) for seed, d, budget, size, t, m in product(*order))
    return [cell for cell in found if not why_not(part, cell.method, cell.size, cell.budget)]


@cache
def why_not(part: Part, method: str, size: str, budget: int) -> str:
    """Say why a method is not defined at a size and budget; empty if it is."""
    entry = METHODS.get(method)
    if entry.stage(budget) is None:
        return f"its own stage has {entry.initializer.stage_steps} steps"
    return _refusal(part, method, size) if entry.starts_from_networks else ""


def _refusal(part: Part, method: str, size: str) -> str:
    """Return why neither the largest nor the smallest network can become a size; empty if one can."""
    pretraining, model = part.options["pretraining"], MODELS.get(part.options["networks"]["model"])
    smallest = Size(min(pretraining["widths"]), min(pretraining["depths"]))
    shapes = {"largest": Size.parse(pretraining["size"]), "smallest": smallest}
    plan, target, reasons = model.plan(PretrainOptions().tile), _network(part, Size.parse(size)), []
    for kind in kinds(METHODS.get(method)):
        try:
            source = TrainedSource(_network(part, shapes[kind]))
            METHODS.get(method).initializer.check(source, target, plan)
            return ""
        except NotDefined as error:
            reasons.append(f"from {shapes[kind]}: {str(error).partition(': ')[2].partition(';')[0]}")
    return "; ".join(reasons)


def _network(part: Part, size: Size) -> Any:
    """Build the shapes of a network; numbers of observations and actions do not matter for what is defined."""
    networks = part.options["networks"]
    words = {"rtg": networks["rtg"], **networks["model_options"]}
    with torch.device("meta"):
        return MODELS.get(networks["model"]).build(size, observation_dim=1, action_dim=1, **words)


def run_cell(part: Part, cell: Cell, data: str, out: Path) -> dict[str, Any]:
    """Train and score a cell by the code of the comparison; return its row."""
    sources = part.targets(data, out, cell.task, cell.demonstrations)
    own = grid.Cell(cell.method, cell.size, cell.seed, cell.budget)
    row = comparison.run_cell(own, sources, place(out, part, cell))
    return {**asdict(cell), **{name: row[column] for name, column in MEASURED.items()}}


def place(out: Path, part: Part, cell: Cell) -> Path:
    """Return the folder of a cell's run while it is made."""
    return (out / "cells" / part.name / cell.name).absolute()
