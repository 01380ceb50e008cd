"""Start tasks of Meta-World that no source saw from banks and networks of 45 other tasks, against scratch.

    export OMP_NUM_THREADS=1
    python -m weit_rl.collect env=metaworld/MT50 episodes=25 run_dir=runs/mt50
    python -m benchmarks.ml45.run sources --data runs/mt50
    python -m benchmarks.ml45.run cells --data runs/mt50 [--workers 2]
    python -m benchmarks.ml45.run table

Tasks, sizes, seeds and budgets are in ``frozen.yaml``. ``--part tuning`` is for choices of rates, ranks and rules.
Finished sources and cells stay, so the same command resumes. Lists such as ``--methods weit scratch`` choose cells.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import append, finished
from benchmarks._shared.script import add_out, make_parser, run_script
from benchmarks.ml45.cells import CELL, FIELDS, Cell, cells, place, run_cell
from benchmarks.ml45.part import PARTS, Part, read_part
from benchmarks.ml45.tables import all_tables
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.comparison.cell import remove_run
from weit_rl.comparison.launchers import LAUNCHERS, Job, JobResults, JobSettings
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.sources import NETWORKS, Sources, kinds
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.storage.folder_lock import lock_folder
from weit_rl.storage.tensor_file import read_card

CHOICES = ("methods", "tasks", "demonstrations", "sizes", "seeds", "budgets")  # lists of a part, in the order of CELL
COSTS, FILES = "sources.json", {"reported": "results.csv", "tuning": "tuning.csv"}
PAGES = {"reported": "README.md", "tuning": "tuning.md"}


def make_source(sources: Sources, kind: str, seed: int) -> dict[str, Any]:
    """Train a source; return its cost, with the seconds that it took now."""
    begun = time.monotonic()
    sources.make(kind, seed)
    seconds, path = time.monotonic() - begun, sources.path(kind, seed)
    if kind in NETWORKS:
        report = json.loads(_result(path, kind).read_text())
        own = {"size": report["size"], "steps": report["train_steps"], "success": report["score"]}
        return {"source": kind, "seed": seed, **own, "flops": report["flops"], "seconds": round(seconds)}
    card = read_card(path)
    own = {"size": card["config"]["size"], "steps": card["config"]["steps"], "numbers": card["numbers"]}
    return {"source": kind, "seed": seed, **own, "flops": card["flops"], "seconds": round(seconds)}


def run_sources(part: Part, arguments: argparse.Namespace) -> None:
    """Train the missing sources, and add their costs to ``sources.json``."""
    path, sources = arguments.out / COSTS, part.sources(arguments.data, arguments.out)
    names = dict.fromkeys(kind for method in arguments.methods for kind in kinds(METHODS.get(method)))
    known = {(cost["part"], cost["source"], cost["seed"]) for cost in read_costs(path)}
    wanted = [(seed, name) for seed in arguments.seeds for name in names if (part.name, name, seed) not in known]
    jobs: dict[str, Job] = {f"{name}-{seed}": (make_source, (sources, name, seed)) for seed, name in wanted}
    for name, cost in work(jobs, arguments, part):
        costs = [*read_costs(path), {"part": part.name, **cost}]
        write_atomically(path, (json.dumps(costs, indent=1) + "\n").encode())
        print(f"{name}: {cost['seconds']} s", flush=True)


def read_costs(path: Path) -> list[dict[str, Any]]:
    """Read the costs of finished sources; none if there is no file."""
    return json.loads(path.read_text()) if path.exists() else []  # type: ignore[no-any-return]


def run_cells(part: Part, arguments: argparse.Namespace) -> None:
    """Run the chosen cells that have no row yet and whose sources exist; add each row as soon as it is there."""
    out, path = arguments.out, arguments.out / FILES[part.name]
    done = {tuple(row[name] for name in CELL) for row in finished(out, path.name, CELL)}
    left = [cell for cell in cells(part) if cell.key() not in done and is_chosen(cell, arguments)]
    there = finished_sources(part, arguments)
    ready = [cell for cell in left if {(kind, cell.seed) for kind in kinds(METHODS.get(cell.method))} <= there]
    if len(ready) < len(left):
        print(f"{len(left) - len(ready)} cells wait for their sources (run sources)", flush=True)
    jobs: dict[str, Job] = {cell.name: (run_cell, (part, cell, arguments.data, out)) for cell in ready}
    named, begun = {cell.name: cell for cell in ready}, time.monotonic()
    for number, (name, row) in enumerate(work(jobs, arguments, part), start=1):
        append(path, FIELDS, row)
        remove_run(place(out, part, named[name]))
        log(out, part, name).unlink(missing_ok=True)
        each = (time.monotonic() - begun) / number
        print(f"{number}/{len(ready)} {name}: {row['success']:.0f} %, {each:.1f} s a cell", flush=True)


def is_chosen(cell: Cell, arguments: argparse.Namespace) -> bool:
    """Return True if the lists of the command hold a cell."""
    return all(getattr(cell, field) in getattr(arguments, name) for field, name in zip(CELL, CHOICES, strict=True))


def finished_sources(part: Part, arguments: argparse.Namespace) -> set[tuple[str, int]]:
    """Return the kind and seed of every source that is finished."""
    sources = part.sources(arguments.data, arguments.out)
    names = {kind for method in arguments.methods for kind in kinds(METHODS.get(method))}
    pairs = ((kind, seed) for kind in names for seed in arguments.seeds)
    return {(kind, seed) for kind, seed in pairs if _result(sources.path(kind, seed), kind).exists()}


def _result(path: Path, kind: str) -> Path:
    return path / "evaluation.json" if kind in NETWORKS else path


def work(jobs: dict[str, Job], arguments: argparse.Namespace, part: Part) -> JobResults:
    """Yield names and results of jobs, worked on by processes of one thread each."""
    folder = arguments.out / "cells" / part.name
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder)
    try:
        settings = JobSettings(arguments.workers, 1, log(arguments.out, part, "").parent)
        with closing(LAUNCHERS.get("local").work(jobs, settings)) as results:
            yield from results
    finally:
        lock.release()


def log(out: Path, part: Part, name: str) -> Path:
    """Return the file with the output of a job."""
    return out / "logs" / part.name / f"{name}.txt"


def read_arguments() -> tuple[Part, argparse.Namespace]:
    """Read the command; lists that are left out are those of the part."""
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["sources", "cells", "table"])
    parser.add_argument("--part", choices=PARTS, default="reported")
    parser.add_argument("--data", help="folder of the demonstrations, made by weit_rl.collect")
    for name in CHOICES:
        kind = str if name in ("methods", "tasks", "sizes") else int
        parser.add_argument(f"--{name}", nargs="+", type=kind, help="only these (default: all of the part)")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default: 1)")
    add_out(parser, Path(__file__).parent)
    arguments = parser.parse_args()
    part = read_part(arguments.part)
    for name in CHOICES:
        given, known = getattr(arguments, name), getattr(part, name)
        for value in given or ():
            if value not in known:
                raise unknown_name_error(f"--{name}", str(value), list(map(str, known)))
        setattr(arguments, name, given or known)
    if arguments.what != "table" and arguments.data is None:
        raise UserError("--data is missing: give the folder of the demonstrations")
    return part, arguments


def main() -> None:
    part, arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "sources":
        run_sources(part, arguments)
    elif arguments.what == "cells":
        run_cells(part, arguments)
    else:
        rows = finished(arguments.out, FILES[part.name], CELL)
        text = all_tables(part, rows, read_costs(arguments.out / COSTS))
        chosen = "" if part.name == "reported" else f" --part {part.name}"
        text = with_command(text, f"python -m benchmarks.ml45.run sources|cells|table{chosen}")
        (arguments.out / PAGES[part.name]).write_text(text)
        print(text)


if __name__ == "__main__":
    run_script(main)
