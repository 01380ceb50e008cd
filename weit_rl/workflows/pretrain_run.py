"""Pre-train a template bank, and write on its card how it was made and how good it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weit_rl.common.errors import UserError
from weit_rl.common.output import print_line
from weit_rl.common.seeds import VALIDATION_SEED
from weit_rl.common.sizes import Size
from weit_rl.common.version import VERSION
from weit_rl.core.bank import TemplateBank
from weit_rl.core.bank_bodies import join_bodies
from weit_rl.core.composed_network import WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.rank_selection import STEPS as RANK_STEPS
from weit_rl.core.rank_selection import dense_supernet, ranks_of
from weit_rl.core.resize import resize
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.options.image_training_options import PretrainingOptions
from weit_rl.options.option_table import plain_config
from weit_rl.tasks import Task, task_entry_of
from weit_rl.training.flops import step_flops
from weit_rl.training.loop import OptimizerRecipe
from weit_rl.training.pretraining import AlternatingLoss, MaskedLoss, SharedNetworks
from weit_rl.training.progress import print_table
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.data_remarks import print_remarks
from weit_rl.workflows.run_launch import launch
from weit_rl.workflows.run_setup import bank_of
from weit_rl.workflows.stage_monitor import Monitor, Stage

LICENCE = "Apache-2.0"
PROBES = 50  # steps whose FLOPs are averaged, since FLOPs depend on the sizes that a step draws
OPTIONS_NOT_IN_CARD = (
    "run_dir",
    "resume",
    "device",
    "threads",
    "trainer",
    "workers",
)  # options that do not change the bank


def pretrain(cfg: PretrainingOptions) -> dict[str, Any]:
    """Run or resume a pre-training; returns the bank's card."""
    return launch("pretrain", cfg, PretrainRun, PretrainRun.result)


class PretrainRun:
    """A pre-training run: its constructor reads and checks the config and builds, calling it trains.

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
        self.masks = SizeSampler(cfg.widths, cfg.depths, self.full, cfg.seed, cfg.masks)
        self.tasks: list[Task] = [task_entry_of(cfg).make(part, cfg.tile) for part in task_entry_of(cfg).parts(cfg)]
        self.task = self.tasks[0]
        self.plains = [task.build(self.full, cfg.seed) for task in self.tasks]
        if CONSTRAINTS.get(cfg.constraint).whole:
            for task, plain in zip(self.tasks, self.plains, strict=True):
                task.plan = task.plan.whole(plain)
        self.fresh(1 if cfg.rank == "auto" else int(cfg.rank))
        self.check()

    def fresh(self, rank: int | dict[str, int]) -> None:
        """Make a fresh bank and its networks."""
        cfg, plan = self.cfg, self.task.plan
        self.bank = TemplateBank.from_plan(plan, rank, cfg.constraint, cfg.seed).to(self.task.config.device)
        self.nets = [WeiT(plain, self.bank, plan, cfg.seed) for plain in self.plains]
        self.net, self.shared = self.nets[0], SharedNetworks(self.nets, self.task.model.bound)

    @torch.no_grad()
    def check(self) -> None:
        """Raise UserError for options that would otherwise fail only after training."""
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
        """Train the bank, score it and save it."""
        self.tasks = [run.devices.shard_task(task) for task in self.tasks]
        self.task = self.tasks[0]
        monitor = Monitor(run, self.tasks)
        print_remarks(run, self.tasks)
        if self.cfg.rank == "auto":
            self.fresh(self.choose(monitor))
        own = {"params": self.shared.own(), "weight_decay": 0.0}
        groups: list[dict[str, Any]] = [{"params": list(self.bank.parameters())}, own]
        loss, recipe, offset = self.loss(self.nets), self.recipe(self.cfg.steps), self.stages["pretrain"]
        monitor.fit(Stage("pretrain", self.shared, loss, recipe, offset, groups, probes=PROBES))
        if not run.devices.leads:
            return {}
        self.bank.source = join_bodies([source_tensors(net) for net in self.nets], self.task.model.bound)
        self.bank.card |= {**self.card(), "flops": monitor.flops}
        self.bank.card["scores"] = self.scores()
        reference = self.task.reference()
        run.plot_learning_curve(self.stages, reference[self.task.measure] if reference else None)
        self.bank.save(run.path / self.result)  # last: a run with this file is finished
        print_line(f"bank: {run.path / self.result}")
        return self.bank.card | {"run_dir": str(run.path)}

    def flops(self) -> float:
        """Count the FLOPs of pre-training without doing it; a choice of rank is not counted."""
        return self.cfg.steps * step_flops(self.shared, self.loss(self.nets), min(PROBES, self.cfg.steps))

    def loss(self, nets: list[WeiT]) -> AlternatingLoss:
        """Make the loss of the steps."""
        return AlternatingLoss([MaskedLoss(net, task, self.masks) for net, task in zip(nets, self.tasks, strict=True)])

    def choose(self, monitor: Monitor) -> dict[str, int]:
        """Choose the numbers of templates after a short stage without templates; a resumed run repeats the choice."""
        nets = [dense_supernet(plain, self.task.plan) for plain in self.plains]
        shared, net = SharedNetworks(nets, self.task.model.bound), nets[0]
        before = {key: weight.detach().clone() for key, weight in net.weights().items()}
        monitor.fit(Stage("rank", shared, self.loss(nets), self.recipe(self.stages["pretrain"])))
        return ranks_of(before, net.weights(), net.layout)

    def chosen(self) -> dict[str, Any]:
        """Return the chosen numbers of templates and the steps of their stage; empty without ``rank=auto``."""
        if self.cfg.rank != "auto":
            return {}
        ranks = {role: len(shared) for role, shared in self.bank.templates.items()}
        return {"ranks": ranks, "rank_steps": self.stages["pretrain"]}

    def recipe(self, steps: int) -> OptimizerRecipe:
        """Make the recipe of a stage with ``steps`` steps."""
        cfg = self.cfg
        return OptimizerRecipe(steps, cfg.lr, cfg.weight_decay, cfg.warmup, cfg.grad_clip)

    def card(self) -> dict[str, Any]:
        """Describe how the bank was made."""
        plain = plain_config(self.cfg)
        config = {key: value for key, value in plain.items() if key not in OPTIONS_NOT_IN_CARD}
        return {
            "weit_rl": VERSION,
            "made_with": {"torch": str(torch.__version__), "threads": torch.get_num_threads()},
            "licence": LICENCE,
            "model": self.cfg.model,
            "names": [getattr(task, "body", task.name) for task in self.tasks],
            **({"tasks": families} if (families := self.families()) else {}),
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

    def families(self) -> dict[str, list[str]]:
        """Return the tasks of every family by its name."""
        return {getattr(task, "body", ""): list(names) for task in self.tasks if (names := getattr(task, "tasks", ()))}

    def of_each(self, value: Callable[[Task], Any]) -> Any:
        """Compute a value per task; a single task gives the value itself, several a mapping by name."""
        values = {task.name: value(task) for task in self.tasks}
        return values if len(self.tasks) > 1 else values[self.task.name]

    def scores(self) -> Any:
        """Evaluate the bank's networks at the config's sizes, on the validation split, without further training."""
        return self.of_each(self.scores_of)

    def scores_of(self, task: Task) -> dict[str, dict[str, Any]]:
        """Evaluate the networks of one task."""
        bank, scores, rows = bank_of(self.bank, task), {}, []
        for name, size in self.score_sizes.items():
            target = task.build(size, self.cfg.seed)
            net = network_of_size(bank, task.build(self.full), target, self.task.plan, self.cfg.seed)
            episodes = self.cfg.get("episodes", 1)
            scores[name] = task.evaluate(net.materialize(), episodes, VALIDATION_SEED, "held_out")
            rows.append(task.row(name, scores[name]))
        if rows:
            print_table(f"{task.name}: the bank's own networks, without further training", rows)
        return scores


def source_tensors(net: WeiT) -> dict[str, Tensor]:
    """Collect the tensors of a network that a bank keeps: its own factors by slot, and its buffers."""
    buffers = {f"buffer.{name}": buffer.detach().cpu() for name, buffer in net.net.named_buffers()}
    return {f"own.{key}": p.detach().cpu() for key, p in net.own().items()} | buffers
