"""A network without weights of its own, and runs of it with weights from elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.core.placeholder import Placeholder, Weights
from weit_rl.core.plan import Layout, unstack


def skeleton(net: nn.Module, weights: Weights | None = None) -> nn.Module:
    """Copy a network with a placeholder for each parameter; it has buffers, but nothing to train, move or save.

    Args:
        net: whose modules, buffers and ties the copy has.
        weights: where the placeholders find their weights outside of runs, if anywhere.
    """
    parameters = dict(net.named_parameters())
    shell = copy.deepcopy(net, {id(p): p for p in parameters.values()})  # weights are left out, not copied
    made = {id(p): Placeholder(name, p, weights) for name, p in parameters.items()}
    for module in shell.modules():
        for leaf, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            del module._parameters[leaf]
            setattr(module, leaf, made[id(parameter)])
    return shell


def filled(shell: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Copy a skeleton into a plain network of its own, with parameters of these values by name."""
    modules = {"": shell}
    places = {name: _own(_module(modules, name), name) for name in tensors}
    parameters = {
        id(place): nn.Parameter(tensors[name].detach().clone(), requires_grad=place.requires_grad)
        for name, place in places.items()
    }
    net = copy.deepcopy(shell, dict(parameters))  # in the copy parameters stand for placeholders
    modules = {"": net}
    for name, place in places.items():
        setattr(_module(modules, name), _leaf(name), parameters[id(place)])
    return net


@contextmanager
def holding(shell: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Put tensors into the places of a skeleton's parameters and buffers for a run.

    Raises:
        UserError: naming a parameter that somebody put into the skeleton.
    """
    held: list[tuple[nn.Module, str, Any]] = []
    modules = {"": shell}
    try:
        for name, tensor in tensors.items():
            module, leaf = _module(modules, name), _leaf(name)
            place: dict[str, Any] = module._buffers if leaf in module._buffers else module._parameters
            if place.get(leaf) is not tensor:  # else a module that has several names
                held.append((module, leaf, place[leaf] if _is_held(place, leaf) else _own(module, name)))
                module.__dict__.pop(leaf, None)
                place[leaf] = tensor
        yield shell
    finally:
        for module, leaf, own in reversed(held):
            _give_back(module, leaf, own)


def _is_held(place: Mapping[str, Any], leaf: str) -> bool:
    """Whether there is a buffer, or the weight of a run around this one; a parameter comes from somebody else."""
    return leaf in place and not isinstance(place[leaf], nn.Parameter)


def _give_back(module: nn.Module, leaf: str, own: Any) -> None:
    if not isinstance(own, Placeholder):  # a buffer, or the weight of a run around this one
        (module._buffers if leaf in module._buffers else module._parameters)[leaf] = own
        return
    module._parameters.pop(leaf, None)
    module.__dict__[leaf] = own
    if isinstance(module, nn.RNNBase):
        setattr(module, leaf, own)  # it has a list of its weights, too


def _own(module: nn.Module, name: str) -> Placeholder:
    found = module.__dict__.get(_leaf(name))
    if not isinstance(found, Placeholder):
        raise _replaced(name)
    return found


def _replaced(name: str) -> UserError:
    return UserError(
        f"{name}: was replaced in the network inside the WeiT; "
        "replace it before WeiT(net, ...) or in what materialize() returns"
    )


def _module(found: dict[str, nn.Module], name: str) -> nn.Module:
    """The module that has a parameter or buffer, by way of those found before (``get_submodule`` takes longer)."""
    path = name.rpartition(".")[0]
    if path not in found:
        module = _module(found, path)._modules.get(_leaf(path))
        if module is None:
            raise _replaced(name)
        found[path] = module
    return found[path]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def run_as(net: nn.Module, layout: Layout, weights: Mapping[str, Tensor]) -> Any:
    """A callable: ``net`` (a skeleton of any size) run with the given stacked weights."""
    named = unstack(weights, layout)

    def run(*args: Any, **kwargs: Any) -> Any:
        with holding(net, named):
            return net(*args, **kwargs)

    return run
