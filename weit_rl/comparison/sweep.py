"""A search by Optuna for the rank and the masks of WeiT's bank, on tuning sizes and validation data.

A trial pre-trains a bank and makes networks of the tuning sizes from it; its value is their mean result. Optuna is used
directly, since Hydra's sweeper for it needs ``@hydra.main``, and a version below 3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from statistics import mean
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.common.registry import unknown_name_error
from weit_rl.comparison.cell import remove_run
from weit_rl.comparison.csv_file import damaged, read_csv, write_csv
from weit_rl.comparison.launchers import Job
from weit_rl.comparison.rates import EPISODES, ROUNDS, SEED, STEPS, logged, validated
from weit_rl.comparison.sources import JUDGE, OURS, Sources
from weit_rl.comparison.tables import Table
from weit_rl.core.size_sampler import SAMPLING_RULES
from weit_rl.options.benchmark_options import BenchmarkOptions, ImageBenchmarkOptions
from weit_rl.tasks import Measure

METHOD, SIZES = "weit", tuple(sizes[0] for sizes in ROUNDS)  # sizes that no comparison reports
STUDY, FILE, FIELDS = "sweep.db", "sweep.csv", ("trial", "rank", "masks", "value")
SAMPLERS = ("tpe", "random")
Values = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class SearchSpace:
    """The search space and the options of the search.

    Attributes:
        rank: least and most templates per role, searched on a logarithmic scale.
        masks: rules of ``weit_rl.core.size_sampler``.
        sampler: ``"tpe"`` (tree-structured Parzen estimator, Bergstra et al. 2011) or ``"random"``.
        together: number of trials that are drawn and run at the same time.
        seed: of the draws.
    """

    rank: tuple[int, ...]
    masks: tuple[str, ...]
    sampler: str
    together: int
    seed: int

    @classmethod
    def of(cls, cfg: BenchmarkOptions | ImageBenchmarkOptions) -> SearchSpace:
        """Read a config's options ``sweep.*``; raise UserError for an impossible one."""
        options = cfg.sweep
        space = cls(tuple(options.rank), tuple(options.masks), options.sampler, options.together, options.seed)
        if len(space.rank) != 2 or not 1 <= space.rank[0] <= space.rank[1]:
            raise UserError(f"sweep.rank={list(space.rank)}: must be the least and the most, such as [16, 128]")
        for rule in space.masks:
            SAMPLING_RULES.get(rule)
        if not space.masks:
            raise UserError("sweep.masks=[]: give at least one")
        if space.sampler not in SAMPLERS:
            raise unknown_name_error("sampler", space.sampler, list(SAMPLERS))
        for name, value in {"together": space.together, "trials": options.trials}.items():
            if value < 1:
                raise UserError(f"sweep.{name}={value}: must be 1 or more")
        return space


class Sweep:
    """A study that is stored in ``sweep.db`` and can be continued; the same seed gives the same trials.

    Args:
        folder: of the comparison.
        space: search space and options.
        sources: of the comparison; banks use the first seed of its grid.

    Raises:
        UserError: without Optuna, for a study of another search in the folder, or a damaged study.
    """

    def __init__(self, folder: Path, space: SearchSpace, sources: Sources):
        self.folder, self.space, self.sources = folder, space, sources
        optuna = library()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            url = f"sqlite:///{(folder / STUDY).absolute()}"
            self.study = optuna.create_study(storage=url, study_name="sweep", direction="maximize", load_if_exists=True)
        except Exception as error:  # SQLAlchemy raises many kinds
            raise damaged(folder / STUDY, error) from error
        searched = {**asdict(space), "masks": list(space.masks), "rank": list(space.rank)}
        if self.study.user_attrs.get("space", searched) != searched:
            raise UserError(f"run_dir={folder}: holds a sweep with other options sweep.*; choose another run_dir")
        self.study.set_user_attr("space", searched)

    def __call__(self, trials: int, work: Callable[[Mapping[str, Job], str], Values]) -> None:
        """Run the missing trials up to a number, in rounds of ``space.together``."""
        self.write()
        while (done := len(self.finished())) < trials:
            end = (done // self.space.together + 1) * self.space.together  # end of a round, which may have been stopped
            asked = [self.trial(number) for number in range(done, min(trials, end))]
            values = self.values(asked, work)
            for trial in asked:  # in the order of trials, since later draws depend on it
                self.study.tell(trial, values[key_of(trial)])
            self.write()

    def values(self, asked: list[Any], work: Callable[[Mapping[str, Job], str], Values]) -> dict[Any, float]:
        """Return the results of trials by their options; options drawn twice are run once."""
        known = {key_of(trial): trial.value for trial in self.finished()}
        names = {key_of(trial): f"trial{trial.number}" for trial in reversed(asked) if key_of(trial) not in known}
        jobs = {name: (reached, (key, self.sources, self.place(name))) for key, name in names.items()}
        found = dict(work(dict(reversed(jobs.items())), f"{len(self.finished())} trials done, now"))
        return known | {key: found[name] for key, name in names.items()}

    def trial(self, number: int) -> Any:
        """Return a trial with its options drawn; a stopped trial gets the same options again."""
        optuna = library()
        kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        more = {"constant_liar": True} if self.space.sampler == "tpe" else {}
        # One seed per trial: a sampler's state is not stored, and a continued study must draw the next options.
        seed = random.Random(f"{self.space.seed}/{number}").getrandbits(32)
        self.study.sampler = kinds[self.space.sampler](seed=seed, **more)
        started = self.study.get_trials(deepcopy=False)
        trial = optuna.trial.Trial(self.study, started[number]._trial_id) if number < len(started) else self.study.ask()
        trial.suggest_int("rank", *self.space.rank, log=True)
        trial.suggest_categorical("masks", self.space.masks)
        return trial

    def finished(self) -> list[Any]:
        """Return the finished trials."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def place(self, name: str) -> Path:
        """Return the folder of a trial's runs while they are made."""
        return (self.folder / "trials" / name).absolute()

    def write(self) -> None:
        """Write the finished trials as a table, which the report reads without Optuna."""
        rows = ({"trial": t.number, **t.params, "value": t.value} for t in self.finished())
        write_csv(self.folder / FILE, FIELDS, rows)
        for trial in self.finished():
            remove_run(self.place(f"trial{trial.number}"))


def key_of(trial: Any) -> tuple[tuple[str, Any], ...]:
    """Return the options of a trial."""
    return tuple(sorted(trial.params.items()))


def library() -> Any:
    """Import Optuna; raise UserError if it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"mode=sweep needs optuna ({error}): pip install 'weit_rl[optuna]'") from error
    return optuna


def reached(params: tuple[tuple[str, Any], ...], sources: Sources, folder: Path) -> float:
    """Return the mean validation result of networks of the tuning sizes, from a bank with these options."""
    features = str(sources.path(JUDGE, 0)) if sources.grid.kind.judge else None
    grid = replace(sources.grid, features=features)
    sources = replace(sources, grid=grid, folder=folder / "sources", bank=dict(params))
    sources.make(OURS, grid.seeds[0])
    values = [validated(METHOD, size, None, sources, folder / size)["value"] for size in SIZES]
    return -inf if "" in values else mean(values)  # an episode failed


def read_sweep(folder: Path) -> list[dict[str, Any]]:
    """Read the trials so far."""
    return read_csv(folder / FILE, _typed)


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """Convert the value to a number; raise ValueError or KeyError for an incomplete row."""
    return {**{name: str(row[name]) for name in FIELDS}, "value": float(row["value"])}


def sweep_table(rows: list[dict[str, Any]], measure: Measure) -> Table:
    """Return a table of the trials' results, the best one first."""
    best = sorted(rows, key=lambda row: -row["value"])
    lines = [[row["trial"], row["rank"], row["masks"], f"{row['value']:,.{measure.digits}f}"] for row in best]
    by = f"{EPISODES} validation episodes" if measure.word == "return" else "the validation split"
    note = f"Mean {logged(measure)} at {' and '.join(SIZES)} over {by}, after WeiT's own stage and {STEPS} steps, "
    note += f"one seed ({SEED}). For the first row: `rank={best[0]['rank']} masks={best[0]['masks']}`."
    return Table("Rank and masks of the bank", ["trial", "rank", "masks", logged(measure)], lines, note)
