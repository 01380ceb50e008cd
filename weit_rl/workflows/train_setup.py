"""Read and check the config of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.growing import Segment, segments
from weit_rl.initializers import INITIALIZERS, Initializer, TrainedSource, with_options
from weit_rl.initializers.registry import Make
from weit_rl.options.choices import size_of
from weit_rl.options.image_training_options import TrainingOptions
from weit_rl.tasks import Task, task_entry_of
from weit_rl.training.loop import OptimizerRecipe
from weit_rl.workflows.run_setup import (
    bank_network,
    bank_of,
    bank_path,
    bank_size,
    head_dim_of,
    inherited_options,
    same_heads,
)
from weit_rl.workflows.source_network import card_at, has_new_task, network_at

BYTES_PER_PARAMETER = 100  # of a run's files: weights, optimiser state, and the copies that atomic writing keeps
OTHER_BYTES = 20_000_000  # metrics, pictures


@dataclass(frozen=True)
class TrainSetup:
    """The parts of a training run, read from its config by :func:`read_setup`.

    Attributes:
        cfg: the composed config of ``weit_rl.train``.
        initializer: the initialiser's registry entry.
        make: the initialiser's function with its options.
        task: the task, with the bank's tiles in its plan.
        bank: the bank as it was loaded, or None.
        segments: the sizes of the training stage and their steps.
        scaler_steps: steps of the initialiser's own stage.
        ema: decay of the average of the weights, 0 for none.
    """

    cfg: TrainingOptions
    initializer: Initializer
    make: Make
    task: Task
    bank: TemplateBank | None
    segments: list[Segment]
    scaler_steps: int
    ema: float

    @property
    def size(self) -> Size:
        """The size that the run begins with."""
        return self.segments[0].size

    @property
    def train_steps(self) -> int:
        """Steps of the training stage."""
        return int(self.cfg.train_steps)

    @property
    def offline_steps(self) -> int:
        """Steps of the initialiser's stage and of the training stage together."""
        return self.scaler_steps + self.train_steps

    @property
    def stages(self) -> dict[str, int]:
        """The global step at which each stage begins."""
        return {"scaler": 0, **{segment.name: self.scaler_steps for segment in self.segments}}

    @cached_property
    def source(self) -> TrainedSource | None:
        """The source of the initialiser: a bank with its network, a trained network, or None.

        Raises:
            UserError: if the bank or the source is of another family, or has other attention heads.
        """
        if self.bank:
            same_heads("bank", bank_size(self.bank), self.size)
            bank = bank_of(self.bank, self.task).to(self.task.config.device)
            return TrainedSource(bank_network(bank, self.task), bank, bool(bank.card["new_tasks"]))
        if not self.initializer.needs_source:
            return None
        path = str(self.cfg.source)
        return TrainedSource(network_at(path, self.task, self.size), new_task=has_new_task(path, self.task))

    def network(self, size: Size | None = None) -> nn.Module:
        """Build a fresh network of a size (default: the size that the run begins with)."""
        return self.task.build(size or self.size, self.cfg.seed)

    def free_bytes(self) -> int:
        """Estimate the disk space that the run's files need."""
        largest = max(sum(p.numel() for p in self.task.build(s.size).parameters()) for s in self.segments)
        return OTHER_BYTES + BYTES_PER_PARAMETER * largest

    def recipe(self, stage: str) -> OptimizerRecipe:
        """Choose the steps and learning rates of the stage ``"scaler"`` or ``"train"``."""
        cfg = self.cfg
        steps = {"scaler": self.scaler_steps, "train": self.train_steps}[stage]
        usual = min(self.initializer.train_lr, self.task.model.max_lr)
        lr = {"scaler": cfg.scaler_lr, "train": cfg.train_lr or usual}[stage]
        return OptimizerRecipe(steps, lr, cfg.weight_decay, cfg.warmup, cfg.grad_clip)


def read_setup(cfg: TrainingOptions) -> TrainSetup:
    """Read and check the config of a training run.

    Args:
        cfg: the composed config of ``weit_rl.train``.

    Raises:
        UserError: for an unknown name, or an option, a bank, a source or data that do not fit.
    """
    initializer = INITIALIZERS.get(cfg.init)
    make = with_options(cfg.init, initializer, cfg.init_options)
    scaler_steps = stage_steps(initializer, cfg.scaler_steps)
    task: Task = task_entry_of(cfg).make(cfg)  # before the bank: a model that cannot see this task needs none
    bank = TemplateBank.load(bank_path(cfg)) if initializer.needs_source and not cfg.source else None
    card = bank.card if bank else card_at(str(cfg.source)) if initializer.needs_source else {}
    if more := inherited_options(card, task.model, cfg.model_options):
        task = task_entry_of(cfg).make(replace(cfg, model_options={**cfg.model_options, **more}))
    sizes = _segments(cfg, card)
    if bank:
        task.plan = task.plan.with_tiles(bank.tiles)
    return TrainSetup(cfg, initializer, make, task, bank, sizes, scaler_steps, _average_decay(cfg))


def _segments(cfg: TrainingOptions, card: Mapping[str, Any]) -> list[Segment]:
    """Read the sizes of the training stage; attention heads are those of the source, if ``card`` has any."""
    if cfg.grow:
        return segments(cfg.grow, cfg.train_steps, head_dim_of(card))
    return [Segment(0, cfg.train_steps, size_of(cfg.size, head_dim_of(card)))]


def stage_steps(initializer: Initializer, asked: int | None) -> int:
    """Choose the steps of the initialiser's own stage.

    Args:
        initializer: the initialiser; one without a stage has 0 steps whatever is asked.
        asked: the steps that the config asks for, or None for the initialiser's default.
    """
    if initializer.stage_steps == 0 or asked is None:
        return initializer.stage_steps
    return asked


def _average_decay(cfg: TrainingOptions) -> float:
    """Read the decay of the average of the weights, 0 for none; UserError for a network that grows."""
    decay = float(cfg.get("ema", 0.0))  # control has no such option
    if decay and cfg.grow:
        raise UserError(f"ema={decay}: an average is of one size; leave out grow or ema")
    return decay
