"""Optuna's search for the rank and the masks of WeiT's bank, on tuning sizes and validation episodes.

A trial pre-trains a bank and makes networks of the tuning sizes from it; its value is the mean of what they reach.
Optuna is used itself, since Hydra's sweeper for it works under ``@hydra.main`` alone and asks for a version below 3.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from io import StringIO
from math import inf
from pathlib import Path
from statistics import mean
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown
from weit_rl.comparison.cell import discard
from weit_rl.comparison.launchers import Job
from weit_rl.comparison.rates import EPISODES, ROUNDS, SEED, STEPS, logged, validated
from weit_rl.comparison.results import damaged
from weit_rl.comparison.sources import JUDGE, OURS, Sources
from weit_rl.comparison.tables import Table
from weit_rl.core.size_sampler import RULES
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.storage.atomic_write import write_atomically
from weit_rl.tasks import Measure

METHOD, SIZES = "weit", tuple(sizes[0] for sizes in ROUNDS)  # none of them is reported
STUDY, FILE, FIELDS = "sweep.db", "sweep.csv", ("trial", "rank", "masks", "value")
SAMPLERS = ("tpe", "random")
Values = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class Space:
    """What is searched, and how.

    Attributes:
        rank: least and most templates of a role; in between all numbers, small ones in smaller steps.
        masks: rules of ``weit_rl.core.size_sampler``.
        sampler: ``"tpe"`` (tree-structured Parzen estimator, Bergstra et al. 2011) or ``"random"``.
        together: trials that are drawn before any of them is known, and worked on at the same time.
        seed: of what is drawn.
    """

    rank: tuple[int, ...]
    masks: tuple[str, ...]
    sampler: str
    together: int
    seed: int

    @classmethod
    def of(cls, cfg: BenchmarkOptions | ImageBenchmarkOptions) -> Space:
        """Of a config's options ``sweep.*``; raises UserError for one that is not possible."""
        options = cfg.sweep
        space = cls(tuple(options.rank), tuple(options.masks), options.sampler, options.together, options.seed)
        if len(space.rank) != 2 or not 1 <= space.rank[0] <= space.rank[1]:
            raise UserError(f"sweep.rank={list(space.rank)}: must be the least and the most, such as [16, 128]")
        for rule in space.masks:
            RULES.get(rule)
        if not space.masks:
            raise UserError("sweep.masks=[]: give at least one")
        if space.sampler not in SAMPLERS:
            raise unknown("sampler", space.sampler, list(SAMPLERS))
        for name, value in {"together": space.together, "trials": options.trials}.items():
            if value < 1:
                raise UserError(f"sweep.{name}={value}: must be 1 or more")
        return space


class Sweep:
    """A study that is kept in ``sweep.db`` and can be gone on with; the same seed gives the same trials.

    Args:
        folder: of the comparison.
        space: what is searched.
        sources: of the comparison; its grid's first seed is that of the banks.

    Raises:
        UserError: without Optuna, for a study of something else in the folder, or one that was damaged.
    """

    def __init__(self, folder: Path, space: Space, sources: Sources):
        self.folder, self.space, self.sources = folder, space, sources
        optuna = library()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            url = f"sqlite:///{(folder / STUDY).absolute()}"
            self.study = optuna.create_study(storage=url, study_name="sweep", direction="maximize", load_if_exists=True)
        except Exception as error:  # of SQLAlchemy, which has many
            raise damaged(folder / STUDY, error) from error
        searched = {**asdict(space), "masks": list(space.masks), "rank": list(space.rank)}
        if self.study.user_attrs.get("space", searched) != searched:
            raise UserError(f"run_dir={folder}: holds a sweep with other options sweep.*; choose another run_dir")
        self.study.set_user_attr("space", searched)

    def __call__(self, trials: int, work: Callable[[Mapping[str, Job], str], Values]) -> None:
        """The trials that are not there yet, up to a number, in rounds of ``space.together``."""
        self.write()
        while (done := len(self.finished())) < trials:
            end = (done // self.space.together + 1) * self.space.together  # of a round that may have been stopped
            asked = [self.trial(number) for number in range(done, min(trials, end))]
            values = self.values(asked, work)
            for trial in asked:  # in their order, whichever ended first: the next ones are drawn from it
                self.study.tell(trial, values[key_of(trial)])
            self.write()

    def values(self, asked: list[Any], work: Callable[[Mapping[str, Job], str], Values]) -> dict[Any, float]:
        """By options, what trials reached; what is drawn twice is made once."""
        known = {key_of(trial): trial.value for trial in self.finished()}
        names = {key_of(trial): f"trial{trial.number}" for trial in reversed(asked) if key_of(trial) not in known}
        jobs = {name: (reached, (key, self.sources, self.place(name))) for key, name in names.items()}
        found = dict(work(dict(reversed(jobs.items())), f"{len(self.finished())} trials done, now"))
        return known | {key: found[name] for key, name in names.items()}

    def trial(self, number: int) -> Any:
        """A trial with its options drawn; one that was stopped has them, and is drawn again as it was."""
        optuna = library()
        kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        more = {"constant_liar": True} if self.space.sampler == "tpe" else {}
        # A seed of its own for each: a sampler's state is not kept, and a resumed study must draw what comes next.
        seed = random.Random(f"{self.space.seed}/{number}").getrandbits(32)
        self.study.sampler = kinds[self.space.sampler](seed=seed, **more)
        begun = self.study.get_trials(deepcopy=False)
        trial = optuna.trial.Trial(self.study, begun[number]._trial_id) if number < len(begun) else self.study.ask()
        trial.suggest_int("rank", *self.space.rank, log=True)
        trial.suggest_categorical("masks", self.space.masks)
        return trial

    def finished(self) -> list[Any]:
        """The trials whose value is known."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def place(self, name: str) -> Path:
        """Where the runs of a trial lie while they are made."""
        return (self.folder / "trials" / name).absolute()

    def write(self) -> None:
        """Keep what is known as a table, which the report reads without Optuna."""
        text = StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"trial": t.number, **t.params, "value": t.value} for t in self.finished())
        write_atomically(self.folder / FILE, text.getvalue().encode())
        for trial in self.finished():
            discard(self.place(f"trial{trial.number}"))


def key_of(trial: Any) -> tuple[tuple[str, Any], ...]:
    """The options of a trial."""
    return tuple(sorted(trial.params.items()))


def library() -> Any:
    """Optuna."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"mode=sweep needs optuna ({error}): pip install 'weit_rl[optuna]'") from error
    return optuna


def reached(params: tuple[tuple[str, Any], ...], sources: Sources, folder: Path) -> float:
    """The mean of what networks of the tuning sizes reach on the validation split, from a bank with these options."""
    words = tuple(f"{name}={value}" for name, value in params)
    features = str(sources.path(JUDGE, 0)) if sources.grid.kind.judge else None
    grid = replace(sources.grid, features=features)
    sources = replace(sources, grid=grid, folder=folder / "sources", bank=words)
    sources.make(OURS, grid.seeds[0])
    values = [validated(METHOD, size, None, sources, folder / size)["value"] for size in SIZES]
    return -inf if "" in values else mean(values)  # an episode failed


def read_sweep(folder: Path) -> list[dict[str, Any]]:
    """The trials so far."""
    if not (folder / FILE).exists():
        return []
    try:
        with (folder / FILE).open(newline="", encoding="utf-8") as file:
            return [{**{name: str(row[name]) for name in FIELDS}, "value": float(row["value"])}
                    for row in csv.DictReader(file)]  # fmt: skip
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise damaged(folder / FILE, error) from error


def sweep_table(rows: list[dict[str, Any]], measure: Measure) -> Table:
    """What every trial reached, the best one first."""
    best = sorted(rows, key=lambda row: -row["value"])
    lines = [[row["trial"], row["rank"], row["masks"], f"{row['value']:,.{measure.digits}f}"] for row in best]
    by = f"{EPISODES} validation episodes" if measure.word == "return" else "the validation split"
    note = f"Mean {logged(measure)} at {' and '.join(SIZES)} over {by}, after WeiT's own stage and {STEPS} steps, "
    note += f"one seed ({SEED}). For the first row: `rank={best[0]['rank']} masks={best[0]['masks']}`."
    return Table("Rank and masks of the bank", ["trial", "rank", "masks", logged(measure)], lines, note)
