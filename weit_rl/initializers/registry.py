"""The registry of initialisers, and the arguments that each of them gets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.registry import Registry, unknown_name_error
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.plan import Plan
from weit_rl.training.loop import OptimizerRecipe


@dataclass(frozen=True)
class TrainedSource:
    """A trained network that a network of another size is made from.

    Attributes:
        net: the plain network, with its trained weights.
        bank: the template bank that it was composed from; None (default) for a network without a bank.
        new_task: whether a task of the run is none of those that the network has codes for (default False).
    """

    net: nn.Module
    bank: TemplateBank | None = None
    new_task: bool = False


@dataclass
class Context:
    """Everything that an initialiser may use besides source and target.

    Attributes:
        plan: the plan of source and target.
        loss: ``loss(net, step)``, the task's loss on the batch of a step.
        fit: the training loop, ``fit(module, loss_of_step, recipe, groups)``.
        recipe: number of steps and rates of the initialiser's own stage.
        head_dim: channels of an attention head, the same in source and target (default 32).
        seed: of everything that the initialiser draws (default 0).
        domains: ``loss(net, step)`` of each domain of the data, for methods that weigh them; None for a single domain.
        build: builds an untrained network of a size, for methods that go through other sizes; None if that is
            impossible.
        run: runs a network on a sample of the data, always the same, for methods that use activations.
        spent: the cost, filled in by the initialiser (``steps``).
        near_lr: the model's learning rate of scalers that start near their best values (default 3e-3).
        remark: called with a line for the user about a choice of the initialiser (default: does nothing).
    """

    plan: Plan
    loss: Callable[[Any, int], Tensor]
    fit: Callable[..., nn.Module]
    recipe: OptimizerRecipe
    head_dim: int = 32
    seed: int = 0
    domains: Sequence[Callable[[Any, int], Tensor]] | None = None
    build: Callable[[Size], nn.Module] | None = None
    run: Callable[[nn.Module], Any] | None = None
    spent: dict[str, float] = field(default_factory=lambda: {"steps": 0})
    near_lr: float = 3e-3
    remark: Callable[[str], None] = lambda line: None


Make = Callable[[TrainedSource | None, nn.Module, Context], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Initializer:
    """A registered way to make a network of a size.

    Attributes:
        make: ``(source, target, context) -> state_dict`` of the target.
        train_lr: peak learning rate of the plain network's training afterwards (chosen on the tuning sizes).
        stage_steps: default number of steps of its own stage; 0 (default) if it trains nothing.
        fixed_stage: whether the stage must have its full length (default False: it may be shorter, or 0).
        needs_source: whether it starts from a trained network (default True).
        check: ``(source, target, plan)``, called before anything is written. It raises NotDefined for a direction that
            the method is not defined for, and UserError for anything else that does not fit, such as a missing bank.
    """

    make: Make
    train_lr: float
    stage_steps: int = 0
    fixed_stage: bool = False
    needs_source: bool = True
    check: Callable[[TrainedSource | None, nn.Module, Plan], None] = lambda source, target, plan: None


def with_options(name: str, initializer: Initializer, options: Mapping[str, Any]) -> Make:
    """Bind options to ``initializer.make``; they are its parameters after source, target and context.

    Raises:
        UserError: for an option that it does not have.
    """
    known = list(inspect.signature(initializer.make).parameters)[3:]
    for option in options:
        if not known:
            raise UserError(f"init_options={dict(options)}: init={name} has none")
        if option not in known:
            raise unknown_name_error(f"option of init={name}", option, known)
    return partial(initializer.make, **options)


INITIALIZERS: Registry[Initializer] = Registry("init", "weit_rl.initializers", "weit_rl.initializers")
