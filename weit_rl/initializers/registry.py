"""The registry of initialisers, and what each is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.plan import Plan
from weit_rl.training.loop import Recipe


@dataclass(frozen=True)
class Source:
    """Something trained that a network of another size is made from.

    Attributes:
        net: the plain network, with its trained weights.
        bank: the template bank it was composed from, or None for a network that never was.
    """

    net: nn.Module
    bank: TemplateBank | None = None


@dataclass
class Context:
    """What an initialiser may use besides source and target.

    Attributes:
        plan: of source and target.
        loss: ``loss(net, step)``, the task's loss on the batch of a step.
        fit: the shared loop, ``fit(module, loss_of_step, recipe, groups)``.
        recipe: steps and rates of the initialiser's own stage.
        head_dim: channels of an attention head, the same in source and target.
        seed: of everything it draws.
        domains: ``loss(net, step)`` of each domain of the data, for methods that weigh them; None for a single one.
        build: makes a fresh network of a size, for methods that go through other sizes; None if there is no way.
        run: runs a network on a sample of the data, always the same, for methods that look at activations.
        spent: what it used, filled in by the initialiser (``steps``).
        near_lr: the model's rate of scalers that begin near their best.
    """

    plan: Plan
    loss: Callable[[Any, int], Tensor]
    fit: Callable[..., nn.Module]
    recipe: Recipe
    head_dim: int = 32
    seed: int = 0
    domains: Sequence[Callable[[Any, int], Tensor]] | None = None
    build: Callable[[Size], nn.Module] | None = None
    run: Callable[[nn.Module], Any] | None = None
    spent: dict[str, float] = field(default_factory=lambda: {"steps": 0})
    near_lr: float = 3e-3


Make = Callable[[Source | None, nn.Module, Context], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Initializer:
    """A way to make a network of a size.

    Attributes:
        make: ``(source, target, context) -> state_dict`` of the target.
        train_lr: peak learning rate of the plain network's training afterwards (chosen on the tuning sizes).
        stage_steps: steps of its own stage where nobody says otherwise; 0 for one that trains nothing.
        fixed_stage: whether its stage makes sense at its full length only; any other one may be shorter, or 0.
        needs_source: whether it starts from something trained.
        check: ``(source, target, plan)``, raises NotDefined for a direction it is not defined for, UserError for what
            else does not fit (a source without a bank); called before anything is written.
    """

    make: Make
    train_lr: float
    stage_steps: int = 0
    fixed_stage: bool = False
    needs_source: bool = True
    check: Callable[[Source | None, nn.Module, Plan], None] = lambda source, target, plan: None


def with_options(name: str, initializer: Initializer, options: Mapping[str, Any]) -> Make:
    """``initializer.make`` with options of its own, those behind source, target and context.

    Raises:
        UserError: for an option it does not have.
    """
    known = list(inspect.signature(initializer.make).parameters)[3:]
    for option in options:
        if not known:
            raise UserError(f"init_options={dict(options)}: init={name} has none")
        if option not in known:
            raise unknown(f"option of init={name}", option, known)
    return partial(initializer.make, **options)


INITIALIZERS: Registry[Initializer] = Registry("init", "weit_rl.initializers", "weit_rl.initializers")
