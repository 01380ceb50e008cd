"""Compose a network of your own: train templates with one size, then only the scalers of another size.

python examples/own_network.py
"""

import torch
from torch import Tensor, nn

from weit_rl import Plan, TemplateBank, WeiT
from weit_rl.training.loop import OptimizerRecipe, fit


class ResidualMLP(nn.Module):
    """A network whose blocks lie in a list, so that they share their templates."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def loss_of(net: nn.Module, step: int) -> Tensor:
    """Return the error of a wave's regression. The batch depends on the step alone, so a run can be repeated."""
    x = 4 * torch.rand(128, 2, generator=torch.Generator().manual_seed(step)) - 2
    return ((net(x) - torch.sin(2 * x[:, :1]) * torch.cos(x[:, 1:])) ** 2).mean()


torch.manual_seed(0)
plan = Plan.infer(ResidualMLP(64, 2))
bank = TemplateBank.from_plan(plan, rank=16)

small = WeiT(ResidualMLP(64, 2), bank, plan)
fit(small, lambda step: loss_of(small, step), OptimizerRecipe(steps=250, lr=3e-3))
print(f"64 x 2, everything trained:     loss {loss_of(small, 10_000):.4f}")

large = WeiT(ResidualMLP(96, 4), bank, plan)  # another size of the same family shares the bank
scalers = [{"params": list(large.scalers.parameters())}]
print(f"96 x 4, nothing trained:        loss {loss_of(large, 10_000):.4f}")
fit(large, lambda step: loss_of(large, step), OptimizerRecipe(steps=250, lr=1e-2), scalers)
plain = large.materialize()  # an ordinary ResidualMLP: save it, export it, train it on
scaled, free, all_ = (sum(p.numel() for p in part.parameters()) for part in (large.scalers, large.free, plain))
print(f"96 x 4, scalers trained:        loss {loss_of(large, 10_000):.4f}")
print(f"{scaled} scalers trained, {free} free parameters kept, of {all_} weights")
print(f"{type(plain).__name__}, materialized:     loss {loss_of(plain, 10_000):.4f}")
