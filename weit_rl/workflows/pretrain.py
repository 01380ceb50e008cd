"""Pre-train a template bank under the constraint, and say on its card what it was made of and how good it is."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import OmegaConf

import weit_rl
from weit_rl.agents.evaluation import VALIDATION_SEED
from weit_rl.bank import TemplateBank
from weit_rl.masks import Masks
from weit_rl.sizes import Size
from weit_rl.start import network_of_size
from weit_rl.tasks.control import Control
from weit_rl.training.loop import Recipe
from weit_rl.training.pretraining import MaskedLoss
from weit_rl.training.progress import table
from weit_rl.training.run_folder import RunFolder
from weit_rl.weit import WeiT
from weit_rl.workflows.launch import launch
from weit_rl.workflows.monitor import Monitor
from weit_rl.workflows.setup import control_task

LICENCE = "Apache-2.0"
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
        self.score_sizes = {name: Size.parse(name) for name in cfg.score_sizes}
        self.masks = Masks(cfg.widths, cfg.depths, self.full, cfg.seed, cfg.masks)
        self.task: Control = control_task(cfg, cfg.tile)
        self.plain = self.task.build(self.full, cfg.seed)
        self.bank = TemplateBank.from_plan(self.task.plan, cfg.rank, cfg.constraint, cfg.seed).to(
            self.task.config.device
        )
        self.net = WeiT(self.plain, self.bank, self.task.plan, cfg.seed)

    def __call__(self, run: RunFolder) -> dict[str, Any]:
        """Fit, score, save."""
        cfg, net = self.cfg, self.net
        groups = [
            {"params": list(self.bank.parameters())},
            {"params": [*net.scalers.parameters(), *net.free.parameters()], "weight_decay": 0.0},
        ]
        recipe = Recipe(cfg.steps, cfg.lr, cfg.weight_decay, cfg.warmup, cfg.grad_clip)
        Monitor(run).stage("pretrain", 0, net, MaskedLoss(net, self.task, self.masks), recipe, groups)
        buffers = {f"buffer.{name}": b.detach().cpu() for name, b in net.net.named_buffers()}
        own = {f"own.{key}": p.detach().cpu() for key, p in net.own().items()}
        self.bank.source = own | buffers
        self.bank.card |= self.card()
        self.bank.card["scores"] = self.scores()
        self.bank.save(run.path / self.result)
        run.plot_learning_curve({"pretrain": 0}, self.task.behaviour()["return_mean"])
        print(f"bank: {run.path / self.result}")
        return self.bank.card

    def card(self) -> dict[str, Any]:
        """What the bank was made of."""
        plain: Any = OmegaConf.to_container(self.cfg)
        config = {key: value for key, value in plain.items() if key not in PLACES}
        return {
            "weit_rl": weit_rl.__version__,
            "made_with": {"torch": str(torch.__version__), "threads": torch.get_num_threads()},
            "licence": LICENCE,
            "size": [self.full.width, self.full.depth, self.full.head_dim],
            "sizes_sampled": sorted({str(size) for size in (*self.masks.sizes, self.full)}),
            "numbers": {
                "templates": sum(t.numel() for t in self.bank.templates.values()),
                "scalers": sum(s.numel() for s in self.net.scalers.values()),
                "free": sum(f.numel() for f in self.net.free.values()),
            },
            "config": config,
            "data": self.task.behaviour(),
        }

    def scores(self) -> dict[str, dict[str, float]]:
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
