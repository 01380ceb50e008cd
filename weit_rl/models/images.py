"""Networks of images: timm's modules, with a normaliser beside the weights.

A network is exactly what timm builds, with the same parameter names. So timm's checkpoints load here, and ours load in
timm. Two buffers are added, and a hook that normalises images as they come from the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError

BUFFERS = ("image_mean", "image_std")


def timm_models(module: str) -> Any:
    """Import ``timm.models.<module>``; raise UserError if timm is missing."""
    try:
        return import_module(f"timm.models.{module}")
    except ImportError as error:
        raise UserError(f"models of images need timm ({error}): pip install 'weit_rl[vision]'") from error


def with_normaliser(net: nn.Module, channels: int, image_size: int) -> nn.Module:
    """Add buffers ``image_mean`` and ``image_std`` to a network, by which its input is normalised.

    The network then takes images ``(B, channels, image_size, image_size)``, bytes or floats in [0, 1], and raises
    UserError for other shapes. The buffers are ``(channels, 1, 1)`` in units of [0, 1], as timm lists them for its
    checkpoints; they start at 0.5. Loading a state dict without them, such as timm's, leaves them unchanged.

    Args:
        net: a classifier; changed in place.
        channels: of an image.
        image_size: edge of an image in pixels.
    """
    net.image_shape = (channels, image_size, image_size)  # type: ignore[assignment]
    for name in BUFFERS:
        net.register_buffer(name, torch.full((channels, 1, 1), 0.5))
    net.register_forward_pre_hook(_normalise)
    net.register_load_state_dict_pre_hook(_keep_normaliser)
    return net


def without_normaliser(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Split a state dict into the weights, which timm can load, and the normaliser's values by buffer name."""
    numbers = {name: state[name].flatten().tolist() for name in BUFFERS if name in state}
    return {name: tensor for name, tensor in state.items() if name not in BUFFERS}, numbers


def buffers_of(numbers: Mapping[str, list[float]]) -> dict[str, Tensor]:
    """Make the buffers of a normaliser from its values, as :func:`without_normaliser` returns them."""
    return {name: torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for name, values in numbers.items()}


def _normalise(net: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    images, *rest = args
    if images.shape[1:] != net.image_shape:
        have, takes = ("x".join(map(str, shape)) for shape in (images.shape[1:], net.image_shape))
        raise UserError(f"images of {have}: this network takes {takes}; load them with that image_size and channels")
    units = 255 if images.dtype == torch.uint8 else 1
    return ((images.to(net.image_mean.dtype) / units - net.image_mean) / net.image_std, *rest)


def _keep_normaliser(net: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in BUFFERS:
        state.setdefault(prefix + name, net.get_buffer(name))
