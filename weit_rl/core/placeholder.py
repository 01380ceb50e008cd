"""Placeholders that stand in a network for composed parameters, and compose them when they are used."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map_only

from weit_rl.common.errors import UserError


class WeightSource(Protocol):
    """An object from which a placeholder gets its weight."""

    def one(self, name: str) -> Tensor:
        """Compose the parameter of that name, with gradients."""
        ...


class Placeholder:
    """An object in the place of a composed parameter, except during runs, which put the composed weight there.

    It composes its own weight whenever torch computes with it. So two uses are correct, only slower: activation
    checkpointing, which runs layers again in the backward pass, and direct calls of the inner network or its layers.

    Args:
        name: of the parameter in the network.
        like: the parameter; only its shape and ``requires_grad`` are kept.
        weights: composes the weight; None (default) for a network that has weights only while :func:`bind_weights`
            runs it.
    """

    def __init__(self, name: str, like: Tensor, weights: WeightSource | None = None):
        self.name, self.shape, self.ndim = name, like.shape, like.ndim
        self.requires_grad, self._weights = like.requires_grad, weights

    def tensor(self) -> Tensor:
        """Compose the weight.

        Raises:
            UserError: if the placeholder has no source of weights.
        """
        if self._weights is None:
            raise UserError(
                f"parameter {self.name}: its weights exist only while the network runs; "
                "switch off activation checkpointing, which runs it again in the backward pass"
            )
        with saved_tensors_hooks(_unchanged, _unchanged):  # hides what composing saves from a checkpoint's hooks
            return self._weights.one(self.name)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace placeholders by their weights in any torch function."""
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
        if not is_parameter_view(self.tensor()):
            raise UserError(
                f"parameter {self.name}: is composed, so a value written into it would be lost; "
                "write before WeiT(net, ...) or into what materialize() returns"
            )


def is_parameter_view(weight: Tensor) -> bool:
    """Return True if a weight is a view of a parameter, so that values written into it are kept."""
    return isinstance(weight._base, nn.Parameter)


def _writes(name: str) -> bool:
    """Return True for the name of a function or attribute that writes into its tensor."""
    return name in ("data", "__set__", "__setitem__") or (name.endswith("_") and not name.endswith("__"))


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _operator(name: str) -> Any:
    return lambda self, *others: getattr(torch.Tensor, name)(self.tensor(), *others)


_BINARY = ["add", "sub", "mul", "truediv", "matmul", "pow"]
for _name in [*_BINARY, *(f"r{name}" for name in _BINARY), "neg", "getitem", "iter"]:
    setattr(Placeholder, f"__{_name}__", _operator(f"__{_name}__"))
