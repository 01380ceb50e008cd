"""Skeletons: networks without weights of their own, and their runs with weights from elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.core.placeholder import Placeholder, WeightSource
from weit_rl.core.plan import Layout
from weit_rl.core.slot_tensors import unstack


def skeleton(net: nn.Module, weights: WeightSource | None = None) -> nn.Module:
    """Copy a network with a placeholder for each parameter; the copy has buffers, but no parameters.

    Args:
        net: its modules, buffers and ties are copied.
        weights: composes the placeholders' weights outside of runs (default None: there are none).
    """
    parameters = dict(net.named_parameters())
    shell = copy.deepcopy(net, {id(p): p for p in parameters.values()})  # copies the modules, but not the weights
    made = {id(p): Placeholder(name, p, weights) for name, p in parameters.items()}
    for module in shell.modules():
        for leaf, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            del module._parameters[leaf]
            setattr(module, leaf, made[id(parameter)])
    return shell


def fill_skeleton(shell: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Copy a skeleton into a plain network whose parameters have these values, by name."""
    modules = {"": shell}
    places = {name: _placeholder_of(_module(modules, name), name) for name in tensors}
    parameters = {
        id(place): nn.Parameter(tensors[name].detach().clone(), requires_grad=place.requires_grad)
        for name, place in places.items()
    }
    net = copy.deepcopy(shell, dict(parameters))  # the copy has parameters in the places of placeholders
    modules = {"": net}
    for name, place in places.items():
        setattr(_module(modules, name), _leaf(name), parameters[id(place)])
    return net


@contextmanager
def hold_weights(shell: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Put tensors into the places of a skeleton's parameters and buffers inside the context.

    Raises:
        UserError: naming a parameter that was replaced in the skeleton.
    """
    held: list[tuple[nn.Module, str, Any]] = []
    modules = {"": shell}
    try:
        for name, tensor in tensors.items():
            module, leaf = _module(modules, name), _leaf(name)
            place: dict[str, Any] = module._buffers if leaf in module._buffers else module._parameters
            if place.get(leaf) is not tensor:  # it is the tensor already if a module has several names
                held.append((module, leaf, place[leaf] if _is_held(place, leaf) else _placeholder_of(module, name)))
                module.__dict__.pop(leaf, None)
                place[leaf] = tensor
        yield shell
    finally:
        for module, leaf, own in reversed(held):
            _restore(module, leaf, own)


def _is_held(place: Mapping[str, Any], leaf: str) -> bool:
    """Return True for a buffer, or for the weight of an enclosing run; a parameter was put there by the user."""
    return leaf in place and not isinstance(place[leaf], nn.Parameter)


def _restore(module: nn.Module, leaf: str, own: Any) -> None:
    """Put back the buffer, weight or placeholder that a run has replaced."""
    if not isinstance(own, Placeholder):  # a buffer, or the weight of an enclosing run
        (module._buffers if leaf in module._buffers else module._parameters)[leaf] = own
        return
    module._parameters.pop(leaf, None)
    module.__dict__[leaf] = own
    if isinstance(module, nn.RNNBase):
        setattr(module, leaf, own)  # an RNN also keeps a list of its weights


def _placeholder_of(module: nn.Module, name: str) -> Placeholder:
    """Return the placeholder of that name; UserError if it was replaced."""
    found = module.__dict__.get(_leaf(name))
    if not isinstance(found, Placeholder):
        raise _replaced_error(name)
    return found


def _replaced_error(name: str) -> UserError:
    return UserError(
        f"{name}: was replaced in the network inside the WeiT; "
        "replace it before WeiT(net, ...) or in what materialize() returns"
    )


def _module(found: dict[str, nn.Module], name: str) -> nn.Module:
    """Return the module that has a parameter or buffer; ``found`` caches modules, since ``get_submodule`` is slow."""
    path = name.rpartition(".")[0]
    if path not in found:
        module = _module(found, path)._modules.get(_leaf(path))
        if module is None:
            raise _replaced_error(name)
        found[path] = module
    return found[path]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def bind_weights(net: nn.Module, layout: Layout, weights: Mapping[str, Tensor]) -> Any:
    """Return a function that runs ``net`` (a skeleton of any size) with the given stacked weights."""
    named = unstack(weights, layout)

    def run(*args: Any, **kwargs: Any) -> Any:
        with hold_weights(net, named):
            return net(*args, **kwargs)

    return run
