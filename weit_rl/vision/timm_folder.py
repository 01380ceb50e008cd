"""Write classifiers as folders for ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

``model.safetensors`` holds only tensors that timm names. ``config.json`` has the sizes, the classes, and the mean and
deviation of the images where timm expects them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.models.images import BUFFERS, without_normaliser
from weit_rl.storage.atomic_write import write_atomically


class _Family(NamedTuple):
    """The timm configuration of a model family.

    Attributes:
        architecture: a timm architecture, whose sizes ``arguments`` replace.
        arguments: ``arguments(net, size)`` for the architecture.
        pool: pooling of the features to one vector.
        ends: names of the first convolution and the classifier.
    """

    architecture: str
    arguments: Callable[[Any, Size], dict[str, Any]]
    pool: str
    ends: tuple[str, str]


def _of_vit(net: Any, size: Size) -> dict[str, Any]:
    blocks = {"embed_dim": size.width, "depth": size.depth, "num_heads": size.width // size.head_dim}
    return {"img_size": net.image_shape[1], "patch_size": net.patch_embed.patch_size[0], **blocks}


def _of_convnext(net: Any, size: Size) -> dict[str, Any]:
    from weit_rl.models.convnext import depths, dims

    return {"dims": list(dims(size)), "depths": list(depths(size)), "patch_size": net.stem[0].stride[0]}


FAMILIES = {
    "vit": _Family("vit_tiny_patch16_224", _of_vit, "token", ("patch_embed.proj", "head")),
    "convnext": _Family("convnextv2_tiny", _of_convnext, "avg", ("stem.0", "head.fc")),
}


def write_timm(folder: Path, net: Any, card: Mapping[str, Any]) -> None:
    """Write a classifier into a folder.

    Args:
        folder: an existing, empty folder.
        net: the plain network.
        card: card of its checkpoint.

    Raises:
        UserError: for a model that timm does not have.
    """
    from safetensors.torch import save

    if card["model"] not in FAMILIES:
        raise UserError(f"model={card['model']}: is not one of timm; only {', '.join(FAMILIES)} are written for it")
    weights, numbers = without_normaliser(net.state_dict())
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / "model.safetensors", save(own, metadata={"format": "pt"}))
    write_atomically(folder / "config.json", (json.dumps(_config(net, card, numbers), indent=2) + "\n").encode())


def _config(net: Any, card: Mapping[str, Any], numbers: Mapping[str, list[float]]) -> dict[str, Any]:
    family, size, shape = FAMILIES[card["model"]], Size(*card["size"]), list(net.image_shape)
    mean, std = (numbers[name] for name in BUFFERS)
    arguments = {"in_chans": shape[0], **family.arguments(net, size)}
    seen = {"input_size": shape, "interpolation": "bicubic", "crop_pct": 1.0}
    seen["fixed_input_size"] = "img_size" in arguments
    first, classifier = family.ends
    pretrained = {"mean": mean, "std": std, **seen, "first_conv": first, "classifier": classifier}
    return {
        "architecture": family.architecture,
        "num_classes": len(card["classes"]),
        "num_features": size.width,
        "global_pool": family.pool,
        "label_names": list(card["classes"]),
        "model_args": arguments,
        "pretrained_cfg": {"num_classes": len(card["classes"]), **pretrained},
    }
