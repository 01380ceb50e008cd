"""WeiT: a network whose weights are composed from a bank's templates and its own scalers (arXiv 2604.14769)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from weit_rl.bank import TemplateBank
from weit_rl.constraints import Constraint
from weit_rl.errors import UserError
from weit_rl.parameters import Parameters
from weit_rl.plan import Layout, Plan, Slot, stack, unstack
from weit_rl.seeds import seeded


class WeiT(nn.Module):
    """Use it exactly as ``net``; gradients reach templates, scalers and free parameters through the composition.

    Args:
        net: a plain network; its free parameters and the spread of its weights are where this one starts.
            It is copied, not changed. It must not use activation checkpointing, for which torch computes wrong
            gradients here; where a module says that it does, it is refused.
        bank: the templates, shared with every other network made from the same bank.
        plan: what each parameter of ``net`` is.
        seed: draws the scalers.

    Attributes:
        scalers: by slot, ``(layers, split, N, *grid)``.
        free: by slot, the parameters that are not composed, ``(layers, split, *shape)``.

    Raises:
        UserError: naming the parameter the plan does not fit, or the role or tile the bank lacks.
    """

    def __init__(self, net: nn.Module, bank: TemplateBank, plan: Plan, seed: int = 0):
        super().__init__()
        _refuse_checkpointing(net)
        self.plan, self.layout = plan, plan.layout(net)
        self.bank, self.net = bank, skeleton(net)
        full = stack({name: p.detach() for name, p in net.named_parameters()}, self.layout)
        self.free = Parameters({key: full[key].clone() for key, slot in self.layout.items() if slot.rule.tile is None})
        self.scalers = Parameters(dict(self._fresh_scalers(full, seeded("scalers", seed))))
        self._register_state_dict_hook(_drop_placeholders)
        self.register_load_state_dict_pre_hook(_add_placeholders)

    def _fresh_scalers(self, full: Mapping[str, Tensor], generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        for key, slot in self.layout.items():
            if slot.rule.tile is not None:
                templates = self.bank.template(slot.rule.role, slot.rule.tile).detach()
                yield key, self.constraint.own(slot, templates, full[key], generator)

    @property
    def constraint(self) -> Constraint:
        """How templates and scalers make a weight."""
        return self.bank.constraint

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own forward, with composed weights."""
        return functional_call(self.net, self.compose(), args, kwargs)

    def weights(self) -> dict[str, Tensor]:
        """Every slot's full weights, stacked ``(layers, split, *part)``, with gradients."""
        made = dict(zip(self.scalers, self.constraint.stacked(*self._factors()), strict=True))
        return {key: made[key] if key in made else self.free[key] for key in self.layout}

    def compose(self) -> dict[str, Tensor]:
        """Every parameter of the network by its own name, with gradients."""
        made = dict(zip(self.scalers, self.constraint.by_layer(*self._factors()), strict=True))
        named: dict[str, Tensor] = {}
        for key, slot in self.layout.items():
            layers = made[key] if key in made else self.free[key].reshape(-1, *slot.shape).unbind(0)
            named.update(zip(slot.names, layers, strict=True))
        return named

    def _factors(self) -> tuple[list[Tensor], list[Tensor], list[Slot]]:
        """Own factors, shared ones and slots of all that is composed, in the order of ``scalers``."""
        slots = [self.layout[key] for key in self.scalers]
        shared = [self.bank.template(slot.rule.role, slot.rule.tile or ()) for slot in slots]
        return list(self.scalers.values()), shared, slots

    def own(self) -> dict[str, Tensor]:
        """The network's own factors by slot: scalers and free parameters."""
        return {**self.scalers, **self.free}

    @torch.no_grad()
    def load_own(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy factors by slot into this network (the inverse of :meth:`own`)."""
        for key, parameter in self.own().items():
            parameter.copy_(tensors[key])

    @torch.no_grad()
    def materialize(self) -> nn.Module:
        """A plain network with the composed weights, independent of bank and scalers."""
        net = copy.deepcopy(self.net)
        for name, weight in self.compose().items():
            module, _, leaf = name.rpartition(".")
            setattr(net.get_submodule(module), leaf, nn.Parameter(weight.detach().clone()))
        return net


def _refuse_checkpointing(net: nn.Module) -> None:
    for name, module in net.named_modules():
        if getattr(module, "grad_checkpointing", False) or getattr(module, "gradient_checkpointing", False):
            raise UserError(
                f"module {name or 'net'}: switch its activation checkpointing off; WeiT cannot compose through it"
            )


def skeleton(net: nn.Module) -> nn.Module:
    """A copy of a network whose parameters are frozen placeholders of their shapes without memory behind them."""
    net = copy.deepcopy(net)
    for name, parameter in list(net.named_parameters(remove_duplicate=False)):
        module, _, leaf = name.rpartition(".")
        placeholder = parameter.detach().new_zeros(()).expand(parameter.shape)
        setattr(net.get_submodule(module), leaf, nn.Parameter(placeholder, requires_grad=False))
    return net


def run_as(net: nn.Module, layout: Layout, weights: Mapping[str, Tensor]) -> Any:
    """A callable: ``net`` (a skeleton of any size) run with the given stacked weights."""
    named = unstack(weights, layout)
    return lambda *args, **kwargs: functional_call(net, named, args, kwargs)


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Without dropout inside; afterwards the network is in the mode it was."""
    was = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(was)


def _drop_placeholders(module: nn.Module, state: dict[str, Tensor], prefix: str, local: Any) -> None:
    for name, _ in module.net.named_parameters():  # type: ignore[union-attr]
        state.pop(f"{prefix}net.{name}")


def _add_placeholders(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, placeholder in module.net.named_parameters():  # type: ignore[union-attr]
        state[f"{prefix}net.{name}"] = placeholder
