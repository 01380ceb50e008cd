"""Networks from local checkpoints of timm's ViT, DeiT and ConvNeXt V2; the shapes of the weights give the size.

Reading one runs no code from the file: it is safetensors, or a file of torch that holds only weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.home import expand_home
from weit_rl.common.sizes import Size
from weit_rl.models.convnext import DIVISORS
from weit_rl.models.images import BUFFERS
from weit_rl.models.memory_check import parameter_shapes
from weit_rl.models.registry import MODELS
from weit_rl.models.timm_weights import EMBEDDINGS, FILES, read_weights

IMAGE_SIZE = 224  # default of ConvNeXt, whose weights do not show it
HEAD_DIM = 64  # default of ViT, as in all DeiTs
NOT_IN_WEIGHTS = ("global_pool", "act_layer", "norm_layer")  # arguments of timm that change a network, not its weights
USUAL_POOL = {"vit": "token", "convnext": "avg"}


def timm_file(path: Path) -> Path | None:
    """Find the weights of timm at a path, which is a file or a folder as the hub has it.

    Returns:
        The file, or None for a checkpoint of this library. A damaged file or a .zip, such as a Stable-Baselines3
        agent, counts as a checkpoint of this library, whose reader says what is wrong.
    """
    if path.is_dir():
        return next((path / name for name in FILES if (path / name).is_file()), None)
    if not path.is_file() or path.suffix == ".zip":
        return None
    return path if path.suffix != ".safetensors" or _is_foreign(path) else None


def _is_foreign(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return "card" not in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_timm(
    path: str | Path, head_dim: int | None = None, allow_pickle: bool = False
) -> tuple[nn.Module, dict[str, Any]]:
    """Load the network of a timm checkpoint, as ``load_network`` does for this library's checkpoints.

    Args:
        path: ``*.safetensors``, or a ``*.pth`` or ``*.pt`` that holds only weights. A ``config.json`` beside it, as the
            hub has it, gives the normaliser, the image size and the architecture. Without one the normaliser is 0.5.
        head_dim: channels of an attention head, which the weights do not show (default: those of the architecture that
            ``config.json`` names, else 64, as in all DeiTs).
        allow_pickle: whether a ``*.pth`` or ``*.pt`` is read (default False). Both are pickles. torch reads only
            tensors from them, but versions of torch had security holes there, so allow it for files you trust only.

    Returns:
        The network in evaluation mode, and its card: model, size and build options.

    Raises:
        UserError: if there is no such file, or it has no weights of these families and variants.
    """
    path = expand_home(path)
    weights, config = read_weights(path, allow_pickle), _config(path.with_name("config.json"))
    card = _card(path, weights, config, head_dim)
    width, _, heads = card["size"]
    if width % heads:
        raise UserError(
            f"{path}: is {width} channels wide, which heads of {heads} do not divide; give size=WIDTHxDEPTHxHEAD"
        )
    try:
        model, size = MODELS.get(card["model"]), Size(*card["size"])
        _check_shapes(parameter_shapes(lambda: model.build(size, **card["options"])), weights)
        net = model.build(size, **card["options"])
        for name, values in zip(BUFFERS, (config.get("mean"), config.get("std")), strict=True):
            if values:
                net.get_buffer(name).copy_(torch.tensor(values).view(-1, 1, 1))
        net.load_state_dict(dict(weights))
    except Exception as error:  # weights of any shapes
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: {reason}; only timm's ViT, DeiT and ConvNeXt V2 with a head are known") from error
    return net.eval(), card


def timm_card(path: Path) -> dict[str, Any]:
    """Return the card only; see :func:`load_timm`."""
    return _card(path, read_weights(path, False), _config(path.with_name("config.json")), None)


def load_into(net: nn.Module, own: Any, path: str | Path) -> Any:
    """Load the weights of a network into another one of its family and size, for other images and classes.

    Positions are interpolated as in timm. The head stays untrained if the number of classes differs.

    Args:
        net: the trained network.
        own: the network for the new images and classes; it is changed.
        path: of the checkpoint, for error messages.

    Returns:
        ``own``.

    Raises:
        UserError: if the networks differ in patches or channels.
    """
    from timm.layers import resample_abs_pos_embed

    state, wanted = net.state_dict(), own.state_dict()
    for name in EMBEDDINGS:
        if name in wanted and state[name].shape != wanted[name].shape:
            (have, asked) = (f"patch_size={w.shape[-1]} and channels={w.shape[1]}" for w in (state[name], wanted[name]))
            raise UserError(f"source={path}: was made with {have}, this run asks for {asked}; give the same options")
    if "pos_embed" in wanted and state["pos_embed"].shape != wanted["pos_embed"].shape:
        state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], list(own.patch_embed.grid_size))
    fits = {name: tensor for name, tensor in state.items() if tensor.shape == wanted[name].shape}
    own.load_state_dict({**wanted, **fits})
    return own


def _config(path: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a checkpoint with all entries on one level; empty if there is none."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return {**config, **config.get("pretrained_cfg", {})}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # missing, or of another program
        return {}


def _card(path: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], head_dim: int | None) -> dict[str, Any]:
    try:
        card = _convnext_card(weights, config) if "stem.0.weight" in weights else _vit_card(weights)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"{path}: has no {error}; only timm's ViT, DeiT and ConvNeXt V2 with a head are known"
        ) from error
    _check_variant(path, card["model"], config)
    if card["model"] == "vit":
        card["size"].append(_agreed_head_dim(path, _head_dim(config, card["size"][0]), head_dim))
    return card


def _check_variant(path: Path, model: str, config: Mapping[str, Any]) -> None:
    """Raise UserError for a variant of timm's that has the same weights but computes something else."""
    arguments = config.get("model_args")
    given = {**config, **(arguments if isinstance(arguments, dict) else {})}
    for name in NOT_IN_WEIGHTS:
        if given.get(name) not in (None, USUAL_POOL[model] if name == "global_pool" else None):
            raise UserError(f"{path}: its config has {name}={given[name]}, another variant than ours; use a usual one")


def _agreed_head_dim(path: Path, known: int | None, asked: int | None) -> int:
    """Return the channels of a head, from what is known of the checkpoint and what a run asks for."""
    if None not in (known, asked) and known != asked:
        raise UserError(
            f"{path}: has heads of {known} channels, this run asks for {asked}; give size=WIDTHxDEPTHx{known}"
        )
    return known or asked or HEAD_DIM


def _vit_card(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    width, channels, patch, _ = weights["patch_embed.proj.weight"].shape
    patches = weights["pos_embed"].shape[1] - 1
    options = {"image_size": patch * isqrt(patches), "channels": channels, "classes": len(weights["head.weight"])}
    size = [width, _blocks(weights, "blocks.")]
    return {"model": "vit", "size": size, "options": options | {"patch_size": patch}}


def _head_dim(config: Mapping[str, Any], width: int) -> int | None:
    """Return the channels of a head by the heads in ``config.json``, or by the architecture that it names."""
    import timm

    arguments = config.get("model_args")
    heads = arguments.get("num_heads") if isinstance(arguments, dict) else None
    if type(heads) is int and heads > 0 and width % heads == 0:
        return width // heads
    name = config.get("architecture")
    if not isinstance(name, str) or not timm.is_model(name):
        return None
    with torch.device("meta"):
        blocks: Any = getattr(timm.create_model(name), "blocks", None)
    return int(blocks[0].attn.head_dim) if blocks and hasattr(blocks[0], "attn") else None


def _convnext_card(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    classes, width = weights["head.fc.weight"].shape
    _, channels, patch, _ = weights["stem.0.weight"].shape
    image_size = config.get("input_size", [channels, IMAGE_SIZE])[1]
    options = {"image_size": image_size, "channels": channels, "classes": classes, "patch_size": patch}
    size = [width, _blocks(weights, "stages.2.blocks."), DIVISORS[0]]
    return {"model": "convnext", "size": size, "options": options}


def _blocks(weights: Mapping[str, Tensor], prefix: str) -> int:
    numbers = [int(name.removeprefix(prefix).partition(".")[0]) for name in weights if name.startswith(prefix)]
    if not numbers:
        raise KeyError(prefix)
    return 1 + max(numbers)


def _check_shapes(wanted: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError, before any memory is taken for a network, if its parameters differ from the weights."""
    own = {name: shape for name, shape in wanted.items() if name not in BUFFERS}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items() if name not in BUFFERS}
    wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(f"another variant, {name} is {given.get(name)} there and {own.get(name)} in ours")
