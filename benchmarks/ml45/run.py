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
import time
from pathlib import Path

from benchmarks._shared.result_page import with_command
from benchmarks._shared.rows import append, finished
from benchmarks._shared.script import add_out, make_parser, run_script
from benchmarks.ml45.cells import CELL, FIELDS, Cell, cells, place, run_cell
from benchmarks.ml45.jobs import COSTS, finished_sources, log, read_costs, run_sources, work
from benchmarks.ml45.part import PARTS, Part, read_part
from benchmarks.ml45.tables import all_tables
from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.comparison.cell import remove_run
from weit_rl.comparison.launchers import Job
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.sources import kinds

CHOICES = ("methods", "tasks", "demonstrations", "sizes", "seeds", "budgets")  # lists of a part, in the order of CELL
FILES = {"reported": "results.csv", "tuning": "tuning.csv"}
PAGES = {"reported": "README.md", "tuning": "tuning.md"}


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
