"""What stands in a network where a parameter was that is composed: never zeros."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map_only

from weit_rl.common.errors import UserError


class Weights(Protocol):
    """Where a placeholder finds its weight."""

    def one(self, name: str) -> Tensor:
        """The parameter of that name, composed now, with gradients."""
        ...


class Placeholder:
    """An object in the place of a parameter, outside the runs that put composed weights there.

    It composes its own weight whenever torch computes with it. So activation checkpointing, which runs layers again in
    the backward pass, and calls of the inner network or of its layers are right, only slower.

    Args:
        name: of the parameter in the network.
        like: the parameter; only its shape and whether it is trained are kept.
        weights: where it finds its weight; None for a network that has weights only while :func:`run_as` runs it.
    """

    def __init__(self, name: str, like: Tensor, weights: Weights | None = None):
        self.name, self.shape, self.ndim = name, like.shape, like.ndim
        self.requires_grad, self._weights = like.requires_grad, weights

    def tensor(self) -> Tensor:
        """The weight, composed now; UserError where there is none."""
        if self._weights is None:
            raise UserError(
                f"parameter {self.name}: its weights are gone when the network has run; "
                "switch off activation checkpointing, which runs it again in the backward pass"
            )
        with saved_tensors_hooks(_same, _same):  # what composing saves is no business of a checkpoint's hooks
            return self._weights.one(self.name)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls instead of any function of its own that a placeholder is given to."""
        if args and isinstance(args[0], cls) and _writes(func.__name__):
            args[0]._refuse_writing()
        args, kwargs = tree_map_only(cls, cls.tensor, (args, kwargs or {}))
        return func(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if _writes(name):
            self._refuse_writing()
        return getattr(self.tensor(), name)

    def __setitem__(self, place: Any, value: Any) -> None:
        self._refuse_writing()
        self.tensor()[place] = value

    def __len__(self) -> int:
        return int(self.shape[0])

    def __repr__(self) -> str:
        return f"Placeholder({self.name}, {tuple(self.shape)})"

    def _refuse_writing(self) -> None:
        if not is_stored(self.tensor()):
            raise UserError(
                f"parameter {self.name}: is composed, so that nothing can be written into it; "
                "write before WeiT(net, ...) or into what materialize() returns"
            )


def is_stored(weight: Tensor) -> bool:
    """Whether a weight is a part of a parameter, so that what is written into it stays."""
    return isinstance(weight._base, nn.Parameter)


def _writes(name: str) -> bool:
    return name in ("data", "__set__", "__setitem__") or (name.endswith("_") and not name.endswith("__"))


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _operator(name: str) -> Any:
    return lambda self, *others: getattr(torch.Tensor, name)(self.tensor(), *others)


_BINARY = ["add", "sub", "mul", "truediv", "matmul", "pow"]
for _name in [*_BINARY, *(f"r{name}" for name in _BINARY), "neg", "getitem", "iter"]:
    setattr(Placeholder, f"__{_name}__", _operator(f"__{_name}__"))
