"""Sources of targets: banks, and plain networks trained for as many FLOPs as a bank."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weit_rl.common.home import expand_home
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Grid, words_of
from weit_rl.comparison.methods import METHODS, Method
from weit_rl.comparison.runs import finish_run
from weit_rl.models.shipped_banks import own_bank
from weit_rl.options.command import compose
from weit_rl.options.image_training_options import PretrainingOptions
from weit_rl.options.option_table import plain_config
from weit_rl.storage.tensor_file import read_card
from weit_rl.training.flops import step_flops
from weit_rl.workflows.pretrain_run import OPTIONS_NOT_IN_CARD, PretrainRun

JUDGE = "judge"  # a network whose features judge results, the same one for all seeds
OF_DATA = ("image_size", "channels", "data_root", "download", "skip_corrupt", "flip", "threads", "device", "workers")
OURS = "kronecker"  # the bank whose FLOPs all sources get
NETWORKS = ("largest", "smallest")  # networks of the largest and smallest sampled size, to cut and to grow
RANKS = {"svd": 128, "tucker": 32}  # ranks of whole weights; others use pre-training's default
NOT_MADE = (*OPTIONS_NOT_IN_CARD, "score_sizes", "episodes")  # options that do not change a bank's weights


@dataclass(frozen=True)
class Sources:
    """The sources of a comparison.

    Attributes:
        grid: options of the comparison.
        folder: of the sources.
        threads: CPU threads for making one.
        bank: further options of WeiT's bank.
    """

    grid: Grid
    folder: Path
    threads: int
    bank: tuple[str, ...] = ()

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
        shipped = own_bank(self.grid.kind.name(compose("pretrain", self.grid.words())), self.grid.model)
        ships = kind == OURS and self._ships(shipped, seed)
        return shipped if ships else place / "bank.safetensors"

    def make(self, kind: str, seed: int) -> None:
        """Train a source, unless it exists."""
        path = self.path(kind, seed)
        if kind == JUDGE:
            finish_run("train", path, self.judge_words())
        elif kind in NETWORKS:
            finish_run("train", path, self.network_words(kind, seed))
        elif not path.exists():
            finish_run("pretrain", path.parent, self.bank_words(kind, seed))

    def bank_words(self, kind: str, seed: int) -> list[str]:
        """Return the options of a bank's pre-training; for another constraint, its steps cost WeiT's FLOPs."""
        words = [*self._common(seed), f"constraint={kind}", "score_sizes=[]", *words_of(self.grid.bank_options)]
        words += [f"rank={RANKS[kind]}"] if kind in RANKS else []
        words += self.bank if kind == OURS else ()
        steps = self.grid.pretrain_steps
        if kind != OURS:
            steps = max(1, round(steps * self.flops(seed) / bank_flops(*words, f"steps={steps}")))
        return [*words, f"steps={steps}"]

    def network_words(self, kind: str, seed: int) -> list[str]:
        """Return the options of a network's training, with the bank's regularisation."""
        cfg = compose("pretrain", self.bank_words(OURS, seed))
        size, steps = sampled(cfg, kind), self.network_steps(seed, sampled(cfg, kind))
        words = [f"size={size}", "init=scratch", f"train_steps={steps}", f"dropout={cfg.dropout}"]
        return [*self._common(seed), *words, *self.grid.scoring_words()]

    def judge_words(self) -> list[str]:
        """Return the options of the judge's training."""
        given = {"data": self.grid.data, "threads": self.threads, "batch_size": self.grid.batch_size}
        given |= {name: value for name, value in self.grid.options.items() if name in OF_DATA}
        return [*self.grid.kind.judge, *(f"{name}={value}" for name, value in given.items())]

    def scoring_words(self) -> list[str]:
        """Return the options of a target's final evaluation."""
        return [
            *self.grid.scoring_words(),
            *self.grid.judging_words(self.path(JUDGE, 0) if self.grid.kind.judge else None),
        ]

    def network_steps(self, seed: int, size: Size) -> int:
        """Return the number of steps that cost the FLOPs of the bank."""
        task = PretrainRun(compose("pretrain", self.bank_words(OURS, seed))).task
        net = task.build(size)
        return max(1, round(self.flops(seed) / step_flops(net, lambda step: task.loss(net, task.batch(step)))))

    def rank_words(self, seed: int) -> list[str]:
        """Return the rank option of an initialiser that makes its own bank, equal to that of WeiT's bank."""
        rank = compose("pretrain", self.bank_words(OURS, seed)).rank
        return [f"init_options={{rank: {rank}}}"] if isinstance(rank, int) else []

    def flops(self, seed: int) -> float:
        """Return the FLOPs of one source, bank or network."""
        return bank_flops(*self.bank_words(OURS, seed))

    def _common(self, seed: int) -> list[str]:
        return [*self.grid.words(), f"seed={seed}", f"threads={self.threads}"]

    def _ships(self, path: Path, seed: int) -> bool:
        """Return True if the shipped bank equals the one that would be made."""
        if not path.is_file():
            return False
        wanted = plain_config(compose("pretrain", self.bank_words(OURS, seed)))
        # Options that are newer than the bank have defaults that repeat the earlier behaviour.
        made = {**plain_config(compose("pretrain", self.grid.words()[:1])), **read_card(path).get("config", {})}
        return all(made[key] == value for key, value in wanted.items() if key not in NOT_MADE)


def run_of(features: str) -> Path:
    """Return the folder of a run that judges; a text that is no path, such as ``inception``, stays as it is."""
    path = expand_home(features)
    return path.absolute() if path.exists() else path


@cache
def bank_flops(*words: str) -> float:
    """Return the FLOPs of a pre-training with these options."""
    return PretrainRun(compose("pretrain", list(words))).flops()


def kinds(method: Method) -> Iterable[str]:
    """Return the kinds of source that a method can start from."""
    if method.constraint:
        return (method.constraint,)
    return NETWORKS if method.starts_from_networks else ()


def sampled(cfg: PretrainingOptions, kind: str) -> Size:
    """Return the largest or smallest size that pre-training samples."""
    return Size.parse(cfg.size) if kind == "largest" else Size(min(cfg.widths), min(cfg.depths))
