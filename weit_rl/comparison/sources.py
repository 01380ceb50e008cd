"""What targets are made from: banks, and plain networks trained for as many FLOPs as a bank costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weit_rl.common.home import expanded
from weit_rl.common.sizes import Size
from weit_rl.comparison.grid import Grid, words_of
from weit_rl.comparison.methods import METHODS, Method
from weit_rl.comparison.runs import finish
from weit_rl.models.shipped_banks import own_bank
from weit_rl.options.command import compose
from weit_rl.options.image_training_options import PretrainingOptions
from weit_rl.options.option_table import plain_config
from weit_rl.storage.tensor_file import read_card
from weit_rl.training.flops import step_flops
from weit_rl.workflows.pretrain_run import PLACES, PretrainRun

JUDGE = "judge"  # a network by whose features results are judged; the same one for all seeds
OF_DATA = ("image_size", "channels", "data_root", "download", "skip_corrupt", "flip", "threads", "device", "workers")
OURS = "kronecker"  # the bank whose FLOPs all sources get
NETWORKS = ("largest", "smallest")  # of the sampled sizes: one to cut, one to grow
RANKS = {"svd": 128, "tucker": 32}  # of whole weights; others take pre-training's default
NOT_MADE = (*PLACES, "score_sizes", "episodes")  # options that do not change a bank's weights


@dataclass(frozen=True)
class Sources:
    """The sources of a comparison.

    Attributes:
        grid: what is compared.
        folder: where they are made.
        threads: CPU threads of one.
        bank: further options of WeiT's bank.
    """

    grid: Grid
    folder: Path
    threads: int
    bank: tuple[str, ...] = ()

    def needed(self) -> list[str]:
        """The kinds that the methods ask for, and the judge if one is to be trained."""
        methods = [METHODS.get(name) for name in self.grid.methods]
        judge = [JUDGE] if self.grid.kind.judge and not self.grid.features else []
        return list(dict.fromkeys([*judge, *(kind for method in methods for kind in kinds(method))]))

    def path(self, kind: str, seed: int) -> Path:
        """Where a source lies: the file of a bank, the folder of a network's run."""
        if kind == JUDGE:
            return run_of(self.grid.features) if self.grid.features else self.folder / JUDGE
        place = self.folder / f"seed{seed}" / kind
        if kind in NETWORKS:
            return place
        shipped = own_bank(self.grid.kind.name(compose("pretrain", self.grid.words())), self.grid.model)
        ships = kind == OURS and self._ships(shipped, seed)
        return shipped if ships else place / "bank.safetensors"

    def make(self, kind: str, seed: int) -> None:
        """Train a source, unless it is there already."""
        path = self.path(kind, seed)
        if kind == JUDGE:
            finish("train", path, self.judge_words())
        elif kind in NETWORKS:
            finish("train", path, self.network_words(kind, seed))
        elif not path.exists():
            finish("pretrain", path.parent, self.bank_words(kind, seed))

    def bank_words(self, kind: str, seed: int) -> list[str]:
        """Options of the pre-training of a bank; another constraint's steps are those that WeiT's FLOPs pay for."""
        words = [*self._common(seed), f"constraint={kind}", "score_sizes=[]", *words_of(self.grid.bank_options)]
        words += [f"rank={RANKS[kind]}"] if kind in RANKS else []
        words += self.bank if kind == OURS else ()
        steps = self.grid.pretrain_steps
        if kind != OURS:
            steps = max(1, round(steps * self.flops(seed) / bank_flops(*words, f"steps={steps}")))
        return [*words, f"steps={steps}"]

    def network_words(self, kind: str, seed: int) -> list[str]:
        """Options of the training of a network, regularised as the bank is."""
        cfg = compose("pretrain", self.bank_words(OURS, seed))
        size, steps = sampled(cfg, kind), self.network_steps(seed, sampled(cfg, kind))
        words = [f"size={size}", "init=scratch", f"train_steps={steps}", f"dropout={cfg.dropout}"]
        return [*self._common(seed), *words, *self.grid.judged()]

    def judge_words(self) -> list[str]:
        """Options of the training of the network that judges."""
        given = {"data": self.grid.data, "threads": self.threads, "batch_size": self.grid.batch_size}
        given |= {name: value for name, value in self.grid.options.items() if name in OF_DATA}
        return [*self.grid.kind.judge, *(f"{name}={value}" for name, value in given.items())]

    def judged(self) -> list[str]:
        """Options by which a target is judged at the end."""
        return [*self.grid.judged(), *self.grid.drawn(self.path(JUDGE, 0) if self.grid.kind.judge else None)]

    def network_steps(self, seed: int, size: Size) -> int:
        """As many steps as the FLOPs of the bank pay for."""
        task = PretrainRun(compose("pretrain", self.bank_words(OURS, seed))).task
        net = task.build(size)
        return max(1, round(self.flops(seed) / step_flops(net, lambda step: task.loss(net, task.batch(step)))))

    def rank_words(self, seed: int) -> list[str]:
        """The option of an initialiser that makes a bank of its own: templates as many as WeiT's has."""
        rank = compose("pretrain", self.bank_words(OURS, seed)).rank
        return [f"init_options={{rank: {rank}}}"] if isinstance(rank, int) else []

    def flops(self, seed: int) -> float:
        """What one source costs, a bank or a network alike."""
        return bank_flops(*self.bank_words(OURS, seed))

    def _common(self, seed: int) -> list[str]:
        return [*self.grid.words(), f"seed={seed}", f"threads={self.threads}"]

    def _ships(self, path: Path, seed: int) -> bool:
        """Whether the bank that ships is the one that would be made."""
        if not path.is_file():
            return False
        wanted = plain_config(compose("pretrain", self.bank_words(OURS, seed)))
        # an option that came after it was made: its default is what was done before
        made = {**plain_config(compose("pretrain", self.grid.words()[:1])), **read_card(path).get("config", {})}
        return all(made[key] == value for key, value in wanted.items() if key not in NOT_MADE)


def run_of(features: str) -> Path:
    """The folder of a run that judges; what is none stays as it is, such as ``inception``."""
    path = expanded(features)
    return path.absolute() if path.exists() else path


@cache
def bank_flops(*words: str) -> float:
    """What a pre-training with these options costs."""
    return PretrainRun(compose("pretrain", list(words))).flops()


def kinds(method: Method) -> Iterable[str]:
    """The kinds of source a method starts from; of several it takes the one that suits the target."""
    if method.constraint:
        return (method.constraint,)
    return NETWORKS if method.starts_from_networks else ()


def sampled(cfg: PretrainingOptions, kind: str) -> Size:
    """The largest or smallest size that pre-training samples."""
    return Size.parse(cfg.size) if kind == "largest" else Size(min(cfg.widths), min(cfg.depths))
