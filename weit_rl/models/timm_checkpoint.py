"""Checkpoints of timm's ViT, DeiT and ConvNeXt V2 on this disk, as networks whose size the shapes of the weights tell.

Reading one runs no code: safetensors, or torch's own files with nothing but weights in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.errors import UserError
from weit_rl.models import MODELS
from weit_rl.models.images import BUFFERS
from weit_rl.models.room import shapes_of
from weit_rl.sizes import Size

IMAGE_SIZE = 224  # of ConvNeXt where nothing says so: its weights do not tell
NESTED = ("model", "state_dict")  # what the weights lie under in some files


def load_timm(path: str | Path, head_dim: int = 64, allow_pickle: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a timm checkpoint, as ``load_network`` gives one of ours.

    Args:
        path: ``*.safetensors``, or a ``*.pth`` or ``*.pt`` that holds weights alone. A ``config.json`` beside it, as
            the hub has it, tells the normaliser and the image size; without one the normaliser is 0.5.
        head_dim: channels of an attention head, which the weights do not tell (default 64, as in all DeiTs).
        allow_pickle: whether a ``*.pth`` or ``*.pt`` is read, which are pickles: torch reads nothing but tensors out of
            them, and versions of torch have had holes there; only for files you trust (default False).

    Returns:
        The network in evaluation mode, and its card: model, size and build options.

    Raises:
        UserError: if there is no such file, or it holds no weights of these families and variants.
    """
    path = Path(path).expanduser()
    weights, told = _weights(path, allow_pickle), _config(path.with_name("config.json"))
    try:
        card = _convnext_card(weights, told) if "stem.0.weight" in weights else _vit_card(weights, head_dim)
        model, size = MODELS.get(card["model"]), Size(*card["size"])
        _check_shapes(shapes_of(lambda: model.build(size, **card["options"])), weights)
        net = model.build(size, **card["options"])
        for name, values in zip(BUFFERS, (told.get("mean"), told.get("std")), strict=True):
            if values:
                net.get_buffer(name).copy_(torch.tensor(values).view(-1, 1, 1))
        net.load_state_dict(dict(weights))
    except Exception as error:  # weights of any names and shapes
        reason = f"has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise UserError(f"{path}: {reason}; only timm's ViT, DeiT and ConvNeXt V2 with a head are known") from error
    return net.eval(), card


def _weights(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if path.suffix != ".safetensors" and not allow_pickle:
        raise UserError(f"{path}: is a pickle; give timm's .safetensors, or allow_pickle=True for a file you trust")
    try:
        if path.suffix == ".safetensors":
            weights: Any = load_file(path)
        else:
            weights = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever torch and safetensors raise for a file that is cut short, pickled, no tensors
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: cannot be read as weights ({reason}); give timm's .safetensors") from error
    weights = next((weights[key] for key in NESTED if key in weights), weights)
    return {name: _plain(name, tensor) for name, tensor in weights.items() if isinstance(tensor, Tensor)}


def _plain(name: str, tensor: Tensor) -> Tensor:
    """The linear layers of a block of ConvNeXt, which the smaller of timm's networks call 1 x 1 convolutions."""
    return tensor.flatten(1) if ".mlp.fc" in name and tensor.ndim == 4 else tensor


def _config(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return dict(told.get("pretrained_cfg", told))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # none, or another program's
        return {}


def _vit_card(weights: Mapping[str, Tensor], head_dim: int) -> dict[str, Any]:
    width, channels, patch, _ = weights["patch_embed.proj.weight"].shape
    patches = weights["pos_embed"].shape[1] - 1
    options = {"image_size": patch * isqrt(patches), "channels": channels, "classes": len(weights["head.weight"])}
    size = [width, _blocks(weights, "blocks."), head_dim]
    return {"model": "vit", "size": size, "options": options | {"patch_size": patch}}


def _convnext_card(weights: Mapping[str, Tensor], told: Mapping[str, Any]) -> dict[str, Any]:
    classes, width = weights["head.fc.weight"].shape
    _, channels, patch, _ = weights["stem.0.weight"].shape
    image_size = told.get("input_size", [channels, IMAGE_SIZE])[1]
    options = {"image_size": image_size, "channels": channels, "classes": classes, "patch_size": patch}
    return {"model": "convnext", "size": [width, _blocks(weights, "stages.2.blocks."), 8], "options": options}


def _blocks(weights: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).partition(".")[0]) for name in weights if name.startswith(prefix))


def _check_shapes(wanted: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> None:
    """ValueError, before memory is taken for a network, if its parameters are others."""
    own = {name: shape for name, shape in wanted.items() if name not in BUFFERS}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(f"another variant, {name} is {given.get(name)} there and {own.get(name)} in ours")
