"""Pre-train a template bank under the constraint, and say on its card what it was made of and how good it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.output import say
from weit_rl.common.seeds import VALIDATION_SEED
from weit_rl.common.sizes import Size
from weit_rl.common.version import VERSION
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_bodies import joined
from weit_rl.core.composed_network import WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.rank_selection import STEPS as RANK_STEPS
from weit_rl.core.rank_selection import dense, ranks_of
from weit_rl.core.resize import resize
from weit_rl.core.size_sampler import Masks
from weit_rl.options.image_training_options import PretrainingOptions
from weit_rl.options.option_table import plain_config
from weit_rl.tasks import Task, kind_of
from weit_rl.training.flops import step_flops
from weit_rl.training.loop import Recipe
from weit_rl.training.pretraining import InTurn, MaskedLoss, Shared
from weit_rl.training.progress import table
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.data_remarks import remark
from weit_rl.workflows.run_launch import launch
from weit_rl.workflows.run_setup import bank_of
from weit_rl.workflows.stage_monitor import Monitor

LICENCE = "Apache-2.0"
PROBES = 50  # steps whose FLOPs are averaged: they depend on the sizes drawn
PLACES = ("run_dir", "resume", "device", "threads", "trainer", "workers")  # where a bank is made, not what it is


def pretrain(cfg: PretrainingOptions) -> dict[str, Any]:
    """Run or resume; returns the bank's card."""
    return launch("pretrain", cfg, PretrainRun, PretrainRun.result)


class PretrainRun:
    """One pre-training; the constructor reads and checks everything, calling it does the work.

    Args:
        cfg: the composed config of ``weit_rl.pretrain``.
    """

    result = "bank.safetensors"

    def __init__(self, cfg: PretrainingOptions):
        self.cfg, self.full = cfg, Size.parse(cfg.size)
        self.stages, self.free_bytes = {"pretrain": 0}, 200_000_000
        if cfg.rank == "auto":
            self.stages = {"rank": 0, "pretrain": min(RANK_STEPS, cfg.steps)}
        self.score_sizes = {name: Size.parse(name) for name in cfg.score_sizes}
        self.masks = Masks(cfg.widths, cfg.depths, self.full, cfg.seed, cfg.masks)
        self.tasks: list[Any] = [kind_of(cfg).make(part, cfg.tile) for part in kind_of(cfg).parts(cfg)]
        self.task = self.tasks[0]
        self.plains = [task.build(self.full, cfg.seed) for task in self.tasks]
        if CONSTRAINTS.get(cfg.constraint).whole:
            for task, plain in zip(self.tasks, self.plains, strict=True):
                task.plan = task.plan.whole(plain)
        self.fresh(1 if cfg.rank == "auto" else int(cfg.rank))
        self.check()

    def fresh(self, rank: int | dict[str, int]) -> None:
        """Make the fresh bank and its networks."""
        cfg, plan = self.cfg, self.task.plan
        self.bank = TemplateBank.from_plan(plan, rank, cfg.constraint, cfg.seed).to(self.task.config.device)
        self.nets = [WeiT(plain, self.bank, plan, cfg.seed) for plain in self.plains]
        self.net, self.shared = self.nets[0], Shared(self.nets, self.task.model.bound)

    @torch.no_grad()
    def check(self) -> None:
        """UserError for what would only fail once everything is trained."""
        if self.cfg.rank == "auto" and self.cfg.constraint != "kronecker":
            raise UserError(
                f"rank=auto: chooses templates of constraint=kronecker, not {self.cfg.constraint}; give rank"
            )
        for name, size in self.score_sizes.items():
            layout = self.task.plan.layout(self.task.build(size))
            try:
                resize(self.net.own(), self.net.layout, layout, self.bank.constraint.factored)
            except UserError as error:
                raise UserError(f"score_sizes: {name} cannot be made of {self.full}: {error}") from error

    def __call__(self, run: RunFolder) -> dict[str, Any]:
        """Fit, score, save."""
        monitor = Monitor(run, self.tasks)
        remark(run, self.tasks)
        if self.cfg.rank == "auto":
            self.fresh(self.choose(monitor))
        groups = [{"params": list(self.bank.parameters())}, {"params": self.shared.own(), "weight_decay": 0.0}]
        stage = (self.shared, self.loss(self.nets), self.recipe(self.cfg.steps), groups)
        monitor.stage("pretrain", self.stages["pretrain"], *stage, probes=PROBES)
        if not run.devices.leads:
            return {}
        self.bank.source = joined([source_tensors(net) for net in self.nets], self.task.model.bound)
        self.bank.card |= {**self.card(), "flops": monitor.flops}
        self.bank.card["scores"] = self.scores()
        reference = self.task.reference()
        run.plot_learning_curve(self.stages, reference and reference[self.task.measure])
        self.bank.save(run.path / self.result)  # last: it tells a finished run
        say(f"bank: {run.path / self.result}")
        return self.bank.card | {"run_dir": str(run.path)}

    def flops(self) -> float:
        """What pre-training costs, without doing it (a choice of rank not counted)."""
        return self.cfg.steps * step_flops(self.shared, self.loss(self.nets), min(PROBES, self.cfg.steps))

    def loss(self, nets: list[WeiT]) -> InTurn:
        """The loss of a step."""
        return InTurn([MaskedLoss(net, task, self.masks) for net, task in zip(nets, self.tasks, strict=True)])

    def choose(self, monitor: Monitor) -> dict[str, int]:
        """Templates of every role, from a short stage without any; a resumed run reads its end and chooses the same."""
        nets = [dense(plain, self.task.plan) for plain in self.plains]
        shared, net = Shared(nets, self.task.model.bound), nets[0]
        before = {key: weight.detach().clone() for key, weight in net.weights().items()}
        monitor.stage("rank", 0, shared, self.loss(nets), self.recipe(self.stages["pretrain"]))
        return ranks_of(before, net.weights(), net.layout)

    def chosen(self) -> dict[str, Any]:
        """What the stage before pre-training chose, and its price."""
        if self.cfg.rank != "auto":
            return {}
        ranks = {role: len(shared) for role, shared in self.bank.templates.items()}
        return {"ranks": ranks, "rank_steps": self.stages["pretrain"]}

    def recipe(self, steps: int) -> Recipe:
        """The rates of every stage."""
        cfg = self.cfg
        return Recipe(steps, cfg.lr, cfg.weight_decay, cfg.warmup, cfg.grad_clip)

    def card(self) -> dict[str, Any]:
        """What the bank was made of."""
        plain = plain_config(self.cfg)
        config = {key: value for key, value in plain.items() if key not in PLACES}
        return {
            "weit_rl": VERSION,
            "made_with": {"torch": str(torch.__version__), "threads": torch.get_num_threads()},
            "licence": LICENCE,
            "model": self.cfg.model,
            "names": [task.name for task in self.tasks],
            "size": [self.full.width, self.full.depth, self.full.head_dim],
            "sizes_sampled": sorted({str(size) for size in (*self.masks.sizes, self.full)}),
            **self.chosen(),
            "numbers": {
                "templates": sum(t.numel() for t in self.bank.templates.values()),
                "scalers": sum(s.numel() for s in self.net.scalers.values()),
                "free": sum(f.numel() for f in self.shared.own()) - sum(s.numel() for s in self.net.scalers.values()),
            },
            "config": config,
            "data": self.of_each(lambda task: task.reference()),
        }

    def of_each(self, value: Callable[[Task], Any]) -> Any:
        """The value for a single body, or a mapping of the names of several."""
        values = {task.name: value(task) for task in self.tasks}
        return values if len(self.tasks) > 1 else values[self.task.name]

    def scores(self) -> Any:
        """Metrics without any further training, of the validation split, at the sizes the config names."""
        return self.of_each(self.scores_of)

    def scores_of(self, task: Task) -> dict[str, dict[str, Any]]:
        """Those of one body."""
        bank, scores, rows = bank_of(self.bank, task), {}, []
        for name, size in self.score_sizes.items():
            target = task.build(size, self.cfg.seed)
            net = network_of_size(bank, task.build(self.full), target, self.task.plan, self.cfg.seed)
            episodes = self.cfg.get("episodes", 1)
            scores[name] = task.evaluate(net.materialize(), episodes, VALIDATION_SEED, "held_out")
            rows.append(task.row(name, scores[name]))
        if rows:
            table(f"{task.name}: the bank's own networks, without a further step", rows)
        return scores


def source_tensors(net: WeiT) -> dict[str, Tensor]:
    """What a bank keeps of a network: its own factors by slot, and its buffers."""
    buffers = {f"buffer.{name}": buffer.detach().cpu() for name, buffer in net.net.named_buffers()}
    return {f"own.{key}": p.detach().cpu() for key, p in net.own().items()} | buffers
