"""Pre-train a template bank under the constraint, and say on its card what it was made of and how good it is."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import OmegaConf

import weit_rl
from weit_rl.agents.evaluation import VALIDATION_SEED
from weit_rl.bank import TemplateBank
from weit_rl.constraints import CONSTRAINTS
from weit_rl.errors import UserError
from weit_rl.masks import Masks
from weit_rl.rank import STEPS as RANK_STEPS
from weit_rl.rank import dense, ranks_of
from weit_rl.resize import resize
from weit_rl.sizes import Size
from weit_rl.start import network_of_size
from weit_rl.tasks.control import Control
from weit_rl.training.flops import step_flops
from weit_rl.training.loop import Recipe
from weit_rl.training.pretraining import MaskedLoss
from weit_rl.training.progress import table
from weit_rl.training.run_folder import RunFolder
from weit_rl.weit import WeiT
from weit_rl.workflows.launch import launch
from weit_rl.workflows.monitor import Monitor
from weit_rl.workflows.setup import control_task

LICENCE = "Apache-2.0"
PROBES = 50  # steps whose FLOPs are averaged: they depend on the sizes drawn
PLACES = ("run_dir", "resume", "device", "threads")  # where a bank is made, not what it is


def pretrain(cfg: Any) -> dict[str, Any]:
    """Run or resume; returns the bank's card."""
    return launch("pretrain", cfg, PretrainRun)


class PretrainRun:
    """One pre-training; the constructor reads and checks everything, calling it does the work.

    Args:
        cfg: the composed config of ``weit_rl.pretrain``.
    """

    result = "bank.safetensors"

    def __init__(self, cfg: Any):
        self.cfg, self.full = cfg, Size.parse(cfg.size)
        self.stages, self.free_bytes = {"pretrain": 0}, 200_000_000
        if cfg.rank == "auto":
            self.stages = {"rank": 0, "pretrain": min(RANK_STEPS, cfg.steps)}
        self.score_sizes = {name: Size.parse(name) for name in cfg.score_sizes}
        self.masks = Masks(cfg.widths, cfg.depths, self.full, cfg.seed, cfg.masks)
        self.task: Control = control_task(cfg, cfg.tile)
        self.plain = self.task.build(self.full, cfg.seed)
        if CONSTRAINTS.get(cfg.constraint).whole:
            self.task.plan = self.task.plan.whole(self.plain)
        self.fresh(1 if cfg.rank == "auto" else cfg.rank)
        self.check()

    def fresh(self, rank: int | dict[str, int]) -> None:
        """Make the fresh bank and its network."""
        cfg, plan = self.cfg, self.task.plan
        self.bank = TemplateBank.from_plan(plan, rank, cfg.constraint, cfg.seed).to(self.task.config.device)
        self.net = WeiT(self.plain, self.bank, plan, cfg.seed)

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
        monitor = Monitor(run)
        if self.cfg.rank == "auto":
            self.fresh(self.choose(monitor))
        cfg, net = self.cfg, self.net
        groups = [
            {"params": list(self.bank.parameters())},
            {"params": [*net.scalers.parameters(), *net.free.parameters()], "weight_decay": 0.0},
        ]
        stage = (net, MaskedLoss(net, self.task, self.masks), self.recipe(cfg.steps), groups)
        monitor.stage("pretrain", self.stages["pretrain"], *stage, probes=PROBES)
        buffers = {f"buffer.{name}": b.detach().cpu() for name, b in net.net.named_buffers()}
        own = {f"own.{key}": p.detach().cpu() for key, p in net.own().items()}
        self.bank.source = own | buffers
        self.bank.card |= {**self.card(), "flops": monitor.flops}
        self.bank.card["scores"] = self.scores()
        self.bank.save(run.path / self.result)
        run.plot_learning_curve(self.stages, self.task.behaviour()["return_mean"])
        print(f"bank: {run.path / self.result}")
        return self.bank.card

    def flops(self) -> float:
        """What pre-training costs, without doing it (a choice of rank not counted)."""
        loss = MaskedLoss(self.net, self.task, self.masks)
        return self.cfg.steps * step_flops(self.net, loss, min(PROBES, self.cfg.steps))

    def choose(self, monitor: Monitor) -> dict[str, int]:
        """Templates of every role, from a short stage without any; a resumed run reads its end and chooses the same."""
        net = dense(self.plain, self.task.plan)
        before = {key: weight.detach().clone() for key, weight in net.weights().items()}
        loss = MaskedLoss(net, self.task, self.masks)
        monitor.stage("rank", 0, net, loss, self.recipe(self.stages["pretrain"]))
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
        plain: Any = OmegaConf.to_container(self.cfg)
        config = {key: value for key, value in plain.items() if key not in PLACES}
        return {
            "weit_rl": weit_rl.__version__,
            "made_with": {"torch": str(torch.__version__), "threads": torch.get_num_threads()},
            "licence": LICENCE,
            "model": self.cfg.model,
            "size": [self.full.width, self.full.depth, self.full.head_dim],
            "sizes_sampled": sorted({str(size) for size in (*self.masks.sizes, self.full)}),
            **self.chosen(),
            "numbers": {
                "templates": sum(t.numel() for t in self.bank.templates.values()),
                "scalers": sum(s.numel() for s in self.net.scalers.values()),
                "free": sum(f.numel() for f in self.net.free.values()),
            },
            "config": config,
            "data": self.task.behaviour(),
        }

    def scores(self) -> dict[str, dict[str, Any]]:
        """Returns without any further training, on validation seeds, at the sizes the config names."""
        scores, rows = {}, []
        for name, size in self.score_sizes.items():
            target = self.task.build(size, self.cfg.seed)
            net = network_of_size(self.bank, self.plain, target, self.task.plan, self.cfg.seed)
            scores[name] = self.task.evaluate(net.materialize(), self.cfg.episodes, VALIDATION_SEED)
            rows.append({"size": name, "return, 0 steps": scores[name]["return_mean"], "score": scores[name]["score"]})
        if rows:
            table(f"{self.cfg.env}: the bank's own networks", rows)
        return scores
