"""WeiT: a network whose weights are composed from a bank's templates and its own scalers (arXiv 2604.14769)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import ismethod
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.seeds import seeded_generator
from weit_rl.core.bank import TemplateBank
from weit_rl.core.constraints import Constraint
from weit_rl.core.factors import Factors
from weit_rl.core.parameter_map import Parameters
from weit_rl.core.placeholder import is_parameter_view
from weit_rl.core.plan import Plan, Slot
from weit_rl.core.run_lock import RunLock
from weit_rl.core.skeleton import fill_skeleton, hold_weights, skeleton
from weit_rl.core.slot_tensors import stack
from weit_rl.core.unready_networks import refuse_meta


class WeiT(nn.Module):
    """A network used exactly as ``net``, with weights composed from templates and scalers.

    Its parameters are the bank's templates, the scalers and the free parameters. Gradients reach all of them through
    the composition. Attributes and methods of ``net`` are available; a method runs with composed weights. Activation
    checkpointing works, inside ``net`` and around it. Threads that call one WeiT wait for each other; the network that
    ``materialize`` returns can run in all threads at once.

    If the parameters of a slot have ``requires_grad=False``, its scalers or its free parameter are frozen. The
    templates are shared with other slots, so a composed weight is constant only if the templates are frozen too.

    Args:
        net: a plain network; it gives the free parameters and the spread of the composed weights. It is copied.
        bank: the templates, shared with every other network made from the same bank.
        plan: a rule for each parameter of ``net``.
        seed: draws the scalers (default 0).

    Attributes:
        net: the network inside. If its layers are called directly, they compose their own weights.
        scalers: by slot, ``(layers, split, N, *grid)``.
        free: by slot, the parameters that are not composed, ``(layers, split, *shape)``.

    Raises:
        UserError: naming the parameter that the plan does not fit, or the role or tile that the bank lacks.
    """

    def __init__(self, net: nn.Module, bank: TemplateBank, plan: Plan, seed: int = 0):
        super().__init__()
        refuse_meta(net, bank)
        self.plan, self.layout = plan, plan.layout(net)
        parameters, self.bank = dict(net.named_parameters()), bank
        frozen = {key for key, slot in self.layout.items() if _is_frozen(slot, parameters)}
        full = stack({name: p.detach() for name, p in parameters.items()}, self.layout)
        free = {key: full[key].clone() for key, slot in self.layout.items() if slot.rule.tile is None}
        self.free = Parameters(free, frozen)
        self.scalers = Parameters(dict(self._fresh_scalers(full, seeded_generator("scalers", seed))), frozen)
        self._factors = Factors(bank, self.layout, self.scalers, self.free)
        self.net, self._lock = skeleton(net, self._factors), RunLock()

    def _fresh_scalers(self, full: Mapping[str, Tensor], generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        for key, slot in self.layout.items():
            if slot.rule.tile is not None:
                templates = self.bank.template(slot.rule.role, slot.rule.tile).detach()
                yield key, self.constraint.own(slot, templates, full[key], generator)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("bank", "scalers", "free") and "_factors" in self.__dict__:
            setattr(self._factors, name, value)

    @property
    def constraint(self) -> Constraint:
        """Return the constraint of the bank, which makes weights from templates and scalers."""
        return self.bank.constraint

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network's own forward with composed weights."""
        with self._lock, hold_weights(self.net, self.compose()) as net:
            return net(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "net" not in self.__dict__.get("_modules", {}):
                raise
        value = getattr(self.net, name)
        return partial(self._call, value) if ismethod(value) else value

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the network with composed weights.

        Raises:
            UserError: if the method writes into composed weights, where the values would be lost.
        """
        weights = self.compose()
        made = [weight for weight in weights.values() if not is_parameter_view(weight)]
        before = [weight._version for weight in made]
        with self._lock, hold_weights(self.net, weights):
            result = method(*args, **kwargs)
        if before != [weight._version for weight in made]:
            raise UserError(
                f"{method.__name__}: writes into weights, which are composed here; "
                "call it before WeiT(net, ...) or on what materialize() returns"
            )
        return result

    def weights(self) -> dict[str, Tensor]:
        """Compose the full weights of every slot, stacked ``(layers, split, *part)``, with gradients."""
        return self._factors.stacked()

    def compose(self) -> dict[str, Tensor]:
        """Compose every parameter of the network by its own name, with gradients; a tied one has all its names."""
        return self._factors.by_name()

    def own(self) -> dict[str, Tensor]:
        """Return the network's own factors by slot: scalers and free parameters."""
        return {**self.scalers, **self.free}

    @torch.no_grad()
    def load_own(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy factors by slot into this network (the inverse of :meth:`own`)."""
        for key, parameter in self.own().items():
            parameter.copy_(tensors[key])

    def __prepare_scriptable__(self) -> nn.Module:
        """Return the network that ``torch.jit.script`` compiles; it cannot compile composition."""
        return self.materialize()

    @torch.no_grad()
    def materialize(self) -> nn.Module:
        """Return a plain network with the composed weights, independent of bank and scalers.

        Raises:
            UserError: if the network is running, in this thread or another.
        """
        self._refuse_running()
        return fill_skeleton(self.net, self.compose())

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_running()
        return self.__dict__.copy()

    def _refuse_running(self) -> None:
        if self._lock.depth:
            raise UserError("WeiT: is running, with composed weights inside; copy, save or materialize it afterwards")


def _is_frozen(slot: Slot, parameters: Mapping[str, Tensor]) -> bool:
    """Return True if a slot's parameters are frozen.

    Raises:
        UserError: if only some of its layers are.
    """
    trained = [name for name in slot.names if parameters[name].requires_grad]
    frozen = [name for name in slot.names if not parameters[name].requires_grad]
    if trained and frozen:
        raise UserError(
            f"parameter {frozen[0]}: is frozen, {trained[0]} is not, but the plan has them in one slot; "
            "freeze all its layers or none, or put a Rule without LAYER for the frozen ones first"
        )
    return not trained
