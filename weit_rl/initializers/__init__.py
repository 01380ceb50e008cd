"""Ways to make a network of a new size, one file each: ``(source, target, context) -> state_dict``.

A new one is a file and a line ``INITIALIZERS.add(name, Initializer(function, train_lr))``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from weit_rl.bank import TemplateBank
from weit_rl.plan import Plan
from weit_rl.registry import Registry
from weit_rl.training.loop import Recipe


@dataclass
class Context:
    """What an initialiser may use besides source and target.

    Attributes:
        plan: of source and target.
        source_net: a plain network of the source's size (its shapes), or None without a source.
        loss: ``loss(net, step)``, the task's loss on the batch of a step.
        fit: the shared loop, ``fit(module, loss_of_step, recipe, groups)``.
        recipe: steps and rates of the initialiser's own stage.
        seed: of everything it draws.
        spent: what it used, filled in by the initialiser (``steps``).
    """

    plan: Plan
    source_net: nn.Module | None
    loss: Callable[[Any, int], Tensor]
    fit: Callable[..., nn.Module]
    recipe: Recipe
    seed: int = 0
    spent: dict[str, float] = field(default_factory=lambda: {"steps": 0})


@dataclass(frozen=True)
class Initializer:
    """A way to make a network of a size.

    Attributes:
        make: ``(source, target, context) -> state_dict`` of the target.
        train_lr: peak learning rate of the plain network's training afterwards (chosen on the tuning sizes).
        needs_source: whether it starts from something pre-trained; one that does not has no stage of its own.
    """

    make: Callable[[TemplateBank | None, nn.Module, Context], Mapping[str, Tensor]]
    train_lr: float
    needs_source: bool = True


INITIALIZERS: Registry[Initializer] = Registry("init")

from weit_rl.initializers import scratch, weit  # noqa: E402,F401  (each adds itself)
