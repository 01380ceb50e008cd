"""Sources of targets: banks, and plain networks trained for as many FLOPs as a bank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from weit_rl.common.home import expand_home
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.methods import METHODS, Method
from weit_rl.comparison.runs import finish_run
from weit_rl.models.shipped_banks import own_bank
from weit_rl.options.image_training_options import PretrainingOptions, TrainingOptions
from weit_rl.options.option_table import plain_config
from weit_rl.options.option_values import read_options, usual_options
from weit_rl.storage.tensor_file import read_card
from weit_rl.training.flops import step_flops
from weit_rl.workflows.pretrain_run import OPTIONS_NOT_IN_CARD, PretrainRun

JUDGE = "judge"  # a network whose features judge results, the same one for all seeds
OF_DATA = ("image_size", "channels", "data_root", "download", "skip_corrupt", "flip", "threads", "device", "workers")
OURS = "kronecker"  # the bank whose FLOPs all sources get
NETWORKS = ("largest", "smallest")  # networks of the largest and smallest sampled size, to cut and to grow
RANKS = {"svd": 128, "tucker": 32}  # ranks of whole weights; others use pre-training's default
NOT_MADE = (*OPTIONS_NOT_IN_CARD, "score_sizes", "episodes")  # options that do not change a bank's weights
_FLOPS: dict[str, float] = {}


@dataclass(frozen=True)
class Sources:
    """The sources of a comparison.

    Attributes:
        grid: options of the comparison.
        folder: of the sources.
        threads: CPU threads for making one.
        bank: further values of options of WeiT's bank, by name.
    """

    grid: Grid
    folder: Path
    threads: int
    bank: Mapping[str, Any] = field(default_factory=dict)

    def needed(self) -> list[str]:
        """Return the kinds that the methods need, and the judge if it must be trained."""
        methods = [METHODS.get(name) for name in self.grid.methods]
        judge = [JUDGE] if self.grid.kind.judge and not self.grid.features else []
        return list(dict.fromkeys([*judge, *(kind for method in methods for kind in kinds(method))]))

    def path(self, kind: str, seed: int) -> Path:
        """Return the path of a source: the file of a bank, or the folder of a network's run."""
        if kind == JUDGE:
            return run_of(self.grid.features) if self.grid.features else self.folder / JUDGE
        place = self.folder / f"seed{seed}" / kind
        if kind in NETWORKS:
            return place
        shipped = own_bank(self.grid.kind.name(self.grid.pretrain_options()), self.grid.model)
        ships = kind == OURS and self._ships(shipped, seed)
        return shipped if ships else place / "bank.safetensors"

    def make(self, kind: str, seed: int) -> None:
        """Train a source, unless it exists."""
        path = self.path(kind, seed)
        if kind == JUDGE:
            finish_run("train", path, self.judge_options())
        elif kind in NETWORKS:
            finish_run("train", path, self.network_options(kind, seed))
        elif not path.exists():
            finish_run("pretrain", path.parent, self.bank_options(kind, seed))

    def bank_options(self, kind: str, seed: int) -> PretrainingOptions:
        """Make the options of a bank's pre-training; for another constraint, its steps cost WeiT's FLOPs."""
        asked = self.grid.bank_options
        ours = {"seed": seed, "threads": self.threads, "constraint": kind, "score_sizes": []}
        options = self.grid.pretrain_options(ours | asked)  # those that a user gives for banks come last
        if kind in RANKS:
            options = replace(options, rank=RANKS[kind])
        if kind == OURS:
            options = replace(options, **self.bank)
        options = replace(options, steps=self.grid.pretrain_steps)
        if kind == OURS:
            return options
        return replace(options, steps=max(1, round(options.steps * self.flops(seed) / bank_flops(options))))

    def network_options(self, kind: str, seed: int) -> TrainingOptions:
        """Make the options of a network's training, with the bank's regularisation."""
        bank, options = self.bank_options(OURS, seed), self.grid.train_options()
        size = sampled(bank, kind)
        options = replace(
            options,
            seed=seed,
            threads=self.threads,
            size=replace(options.size, name=str(size)),
            init="scratch",
            train_steps=self.network_steps(seed, size),
            dropout=bank.dropout,
        )
        return replace(options, **self.grid.scoring())

    def judge_options(self) -> TrainingOptions:
        """Make the options of the judge's training."""
        given = {"data": self.grid.data, "threads": self.threads, "batch_size": self.grid.batch_size}
        given |= {name: value for name, value in self.grid.options.items() if name in OF_DATA}
        return read_options("train", {**self.grid.kind.judge, **given})

    def scoring(self) -> dict[str, Any]:
        """Return the options of a target's final evaluation."""
        judge = self.path(JUDGE, 0) if self.grid.kind.judge else None
        return {**self.grid.scoring(), **self.grid.judging(judge)}

    def network_steps(self, seed: int, size: Size) -> int:
        """Return the number of steps that cost the FLOPs of the bank."""
        task = PretrainRun(self.bank_options(OURS, seed)).task
        net = task.build(size)
        return max(1, round(self.flops(seed) / step_flops(net, lambda step: task.loss(net, task.batch(step)))))

    def rank_option(self, seed: int) -> dict[str, Any]:
        """Return the rank option of an initialiser that makes its own bank, equal to that of WeiT's bank."""
        rank = self.bank_options(OURS, seed).rank
        return {"init_options": {"rank": rank}} if isinstance(rank, int) else {}

    def flops(self, seed: int) -> float:
        """Return the FLOPs of one source, bank or network."""
        return bank_flops(self.bank_options(OURS, seed))

    def _ships(self, path: Path, seed: int) -> bool:
        """Return True if the shipped bank equals the one that would be made."""
        if not path.is_file():
            return False
        wanted = plain_config(self.bank_options(OURS, seed))
        # Options that are newer than the bank have defaults that repeat the earlier behaviour.
        made = {**plain_config(usual_options("pretrain", self.grid.task)), **read_card(path).get("config", {})}
        return all(made[key] == value for key, value in wanted.items() if key not in NOT_MADE)


def run_of(features: str) -> Path:
    """Return the folder of a run that judges; a text that is no path, such as ``inception``, stays as it is."""
    path = expand_home(features)
    return path.absolute() if path.exists() else path


def bank_flops(options: PretrainingOptions) -> float:
    """Return the FLOPs of a pre-training with these options, which are counted once."""
    key = repr(options)
    if key not in _FLOPS:
        _FLOPS[key] = PretrainRun(options).flops()
    return _FLOPS[key]


def kinds(method: Method) -> Iterable[str]:
    """Return the kinds of source that a method can start from."""
    if method.constraint:
        return (method.constraint,)
    return NETWORKS if method.starts_from_networks else ()


def sampled(cfg: PretrainingOptions, kind: str) -> Size:
    """Return the largest or smallest size that pre-training samples."""
    return Size.parse(cfg.size) if kind == "largest" else Size(min(cfg.widths), min(cfg.depths))
