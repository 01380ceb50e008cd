"""Jobs in processes of this machine, and the jobs that make the sources of a part."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.ml45.part import Part
from weit_rl.comparison.launchers import LAUNCHERS, Job, JobResults, JobSettings
from weit_rl.comparison.methods import METHODS
from weit_rl.comparison.sources import NETWORKS, Sources, kinds
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.storage.folder_lock import lock_folder
from weit_rl.storage.tensor_file import read_card

COSTS = "sources.json"


def work(jobs: dict[str, Job], arguments: argparse.Namespace, part: Part) -> JobResults:
    """Yield names and results of jobs, worked on by processes of one thread each."""
    if not jobs:
        return
    folder = arguments.out / arguments.what / part.name
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


def read_costs(path: Path) -> list[dict[str, Any]]:
    """Read the costs of finished sources; none if there is no file."""
    return json.loads(path.read_text()) if path.exists() else []  # type: ignore[no-any-return]


def finished_sources(part: Part, arguments: argparse.Namespace) -> set[tuple[str, int]]:
    """Return the kind and seed of every source that is finished."""
    sources = part.sources(arguments.data, arguments.out)
    names = {kind for method in arguments.methods for kind in kinds(METHODS.get(method))}
    pairs = ((kind, seed) for kind in names for seed in arguments.seeds)
    return {(kind, seed) for kind, seed in pairs if _result(sources.path(kind, seed), kind).exists()}


def _result(path: Path, kind: str) -> Path:
    return path / "evaluation.json" if kind in NETWORKS else path
