"""The run of a comparison: the missing cells are trained, then everything is reported."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from weit_rl.common.errors import Interrupted, UserError, interrupted_by
from weit_rl.common.home import expand_home
from weit_rl.common.output import print_line
from weit_rl.common.registry import unknown_name_error
from weit_rl.comparison import rates
from weit_rl.comparison.cell import remove_run, run_cell
from weit_rl.comparison.figures import all_figures
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.launchers import Job, JobSettings, launcher_of
from weit_rl.comparison.page import write_html, write_markdown
from weit_rl.comparison.results import Results, defined_rows
from weit_rl.comparison.sources import JUDGE, OURS, Sources
from weit_rl.comparison.sweep import SearchSpace, Sweep, library, read_sweep, sweep_table
from weit_rl.comparison.tables import ReferenceScore, all_tables
from weit_rl.data.readers import data_name
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.options.choices import check_numbers
from weit_rl.tasks import task_entry, task_entry_of
from weit_rl.training.progress import Progress
from weit_rl.workflows.pretrain_run import PretrainRun
from weit_rl.workflows.run_setup import check_model
from weit_rl.workflows.train_run import TrainRun

MODES, REPORTS = ("run", "tune", "sweep", "report"), ("markdown", "html")


def benchmark(cfg: BenchmarkOptions | ImageBenchmarkOptions) -> dict[str, Any]:
    """Run a comparison or continue it; return the path of the report and the number of cells."""
    check_numbers(cfg)
    task_entry_of(cfg).prepare(cfg)
    check_model(cfg)
    for name, choices in {"mode": MODES, "report": REPORTS}.items():
        if cfg[name] not in choices:
            raise unknown_name_error(name, cfg[name], list(choices))
    comparison = Comparison(cfg)
    try:
        return comparison()
    except (Interrupted, KeyboardInterrupt, SystemExit) as stop:
        again = shlex.quote(f"run_dir={comparison.folder}")
        raise interrupted_by(stop, f"stopped; the same command goes on with what is left ({again})") from None


class Comparison:
    """A run of ``weit_rl.benchmark``: the constructor reads and checks everything, a call does the work.

    Args:
        cfg: the composed config of ``weit_rl.benchmark``.
    """

    def __init__(self, cfg: BenchmarkOptions | ImageBenchmarkOptions):
        self.cfg, self.grid = cfg, Grid.of(cfg)
        self.kind = self.grid.kind
        self.task = self.kind.make(replace(self.grid.train_options(), **self.grid.judging()))
        slug = re.sub(r"[^\w-]+", "-", self.task.name)
        self.folder = expand_home(cfg.run_dir or f"runs/benchmark-{slug}-{cfg.profile}")
        self.results = Results(self.folder, self.grid)
        self.sources = Sources(self.grid, (self.folder / "sources").absolute(), cfg.threads)
        if self.grid.bank_options:
            PretrainRun(self.sources.bank_options(OURS, self.grid.seeds[0]))
        self.space = SearchSpace.of(cfg)
        if cfg.workers == 0:
            raise UserError("workers=0: must be 1 or more jobs at a time")
        self.where = JobSettings(cfg.workers, cfg.threads, self.folder / "logs")

    def __call__(self) -> dict[str, Any]:
        """Do what the mode says, then write the report, while holding the folder's lock."""
        if self.cfg.mode == "report":
            return self.report()
        self.launch = launcher_of(self.cfg)
        if self.cfg.mode == "sweep":
            library()
        lock = self.results.begin()
        try:
            self.make()
            return self.report()
        finally:
            lock.release()

    def make(self) -> None:
        """Run the missing trials or cells."""
        if self.cfg.mode == "tune":
            self.tune()
        if self.cfg.mode == "sweep":
            judge = [JUDGE] if JUDGE in self.sources.needed() else []
            self.make_sources(self.grid.seeds[0], judge)
            Sweep(self.folder, self.space, self.sources)(self.cfg.sweep.trials, self.work)
        if self.cfg.mode == "run":
            for seed in self.grid.seeds:
                self.run(seed)

    def run(self, seed: int) -> None:
        """Run the missing sources and cells of a seed."""
        chosen = rates.best_rates(rates.read_rates(self.folder))
        for cell in filter(self.results.has, self.grid.cells(seed)):
            remove_run(self.place(cell.name))  # left by a process that was killed
        cells = {cell.name: cell for cell in self.grid.cells(seed) if not self.results.has(cell)}
        if not cells:
            return
        self.make_sources(seed)
        jobs: dict[str, Job] = {
            name: (run_cell, (cell, self.sources, self.place(name), chosen.get(cell.method)))
            for name, cell in cells.items()
        }
        with closing(self.work(jobs, f"seed {seed}: cells")) as done:  # if this fails, the other jobs are stopped
            for name, row in done:
                self.results.add(row)
                remove_run(self.place(name))

    def tune(self) -> None:
        """Run the trials of every method, round by round, and store them in rates.csv."""
        self.make_sources(self.grid.seeds[0])
        found = rates.read_rates(self.folder)
        for number, sizes in enumerate(rates.ROUNDS, start=1):
            jobs = rates.trials(self.sources, (self.folder / "trials").absolute(), found, sizes)
            self.check_untrained({arguments[0] for _, arguments in jobs.values()})
            with closing(self.work(jobs, f"trials, round {number}")) as done:
                for name, row in done:
                    found.append(row)
                    rates.write_rates(self.folder, found)
                    remove_run(self.folder / "trials" / name)

    def check_untrained(self, methods: set[str]) -> None:
        """Raise UserError for methods that have cells already, since later cells would use another rate."""
        if found := sorted(methods & {row["method"] for row in self.results.rows}):
            raise UserError(
                f"mode=tune: {', '.join(found)} were run without it in {self.folder}; choose another run_dir"
            )

    def make_sources(self, seed: int, kinds: Sequence[str] | None = None) -> None:
        """Make the banks and networks of a seed: those that the methods need, unless kinds are given."""
        needed = self.sources.needed() if kinds is None else kinds
        jobs: Mapping[str, Job] = {f"source-{kind}-{seed}": (self.sources.make, (kind, seed)) for kind in needed}
        for _ in self.work(jobs, f"seed {seed}: sources"):
            pass

    def work(self, jobs: Mapping[str, Job], label: str) -> Generator[tuple[str, Any], None, None]:
        """Yield names and results of jobs, with a progress bar."""
        if not jobs:
            return
        with Progress(len(jobs), label, unit="jobs") as bar, closing(self.launch(jobs, self.where)) as pairs:
            for number, pair in enumerate(pairs, start=1):
                yield pair
                bar.update(number)

    def place(self, name: str) -> Path:
        """Return the folder of a cell's run while it is made."""
        return (self.folder / "cells" / name).absolute()

    def report(self) -> dict[str, Any]:
        """Write tables and plots of the finished rows."""
        trials = rates.read_rates(self.folder)
        tables = all_tables(self.results.rows, self.reference, self.kind.measure, self.judge)
        tables += [rates.rates_table(trials, self.kind.measure)] if trials else []
        swept = read_sweep(self.folder)
        tables += [sweep_table(swept, self.kind.measure)] if swept else []
        done = defined_rows(self.results.rows)
        if not tables:
            raise UserError(f"run_dir={self.folder}: nothing to report yet; run it first (mode=run)")
        figures = all_figures(done, self.reference, self.source_flops, self.kind.measure) if done else {}
        value = None if math.isnan(self.reference.value) else self.reference.value  # JSON has no NaN
        known = {**self.reference._asdict(), "value": value}
        self.results.write_json({"reference": known, "source_flops": self.source_flops})
        write = write_html if self.cfg.report == "html" else write_markdown
        data = data_name(self.grid.data)
        title = f"{', '.join(dict.fromkeys((self.task.name, data)))}: networks of a new size"
        path = write(self.folder, title, self.facts(), tables, figures)
        print_line(f"report: {path}")
        return {"report": str(path), "cells": len(self.results.rows)}

    @property
    def reference(self) -> ReferenceScore:
        """Return the data's own result, or the result of the longest training from scratch."""
        own, word = self.task.reference(), self.kind.measure.word
        if own is not None and own[self.task.measure] is not None:
            return ReferenceScore(float(own[self.task.measure]), f"the data's {word}")
        cells = [row for row in defined_rows(self.results.rows) if row["method"] == "scratch"]
        longest = max((row["budget"] for row in cells), default=0)
        values = [row["value"] for row in cells if row["budget"] == longest]
        mean = sum(values) / len(values) if values else math.nan
        return ReferenceScore(mean, f"the {word} of {longest} steps from scratch")

    @property
    def judge(self) -> str:
        """Describe the network that judges results as a sentence; empty if no network judges."""
        path = self.sources.path(JUDGE, 0) / TrainRun.result
        if not self.kind.judge or not path.exists():
            return ""
        report = json.loads(path.read_text())
        named = f"{report['model']} {report['size']} of {report['data']}"
        score = f"{task_entry(report['task']).measure.word} on the test images {report['accuracy']:.1f}"
        return (
            f"{self.grid.samples} images drawn in {self.grid.sampling_steps} steps against "
            f"{report['images']} test images, by the features of {named} ({score})."
        )

    @cached_property
    def source_flops(self) -> float:
        """Return the FLOPs of a method's source."""
        return self.sources.flops(self.grid.seeds[0])

    def facts(self) -> list[str]:
        """Describe the conditions of the comparison for its reader."""
        grid, cells = self.grid, len(defined_rows(self.results.rows))
        judged = "the test images" if grid.episodes is None else f"{grid.episodes} test episodes"
        judge = [f"{self.kind.measure.title}: {self.judge}"] if self.judge else []
        return [
            f"{cells} cells, judged by {judged} each, batches of {grid.batch_size}. A budget is "
            "every gradient step spent on a target, a method's own stage in it, with its own finished schedule. "
            "Same data, batches, training loop and evaluation seeds for all; float32 matrix products of precision "
            f"{grid.precision}.",
            f"Every source, bank or network, was trained on the same data for {self.source_flops:.3g} FLOPs "
            f"({grid.pretrain_steps} steps of WeiT's bank); where a method can start from the largest sampled size or "
            "the smallest, it takes the one of lower first loss.",
            *judge,
        ]
