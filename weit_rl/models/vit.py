"""Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929; DeiT, arXiv 2012.12877), as timm builds it."""

from __future__ import annotations

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, HEADS, LAYER, STREAM, Plan, Rule
from weit_rl.models.images import timm_models, with_normaliser
from weit_rl.models.registry import MODELS, Model

BLOCK = rf"blocks\.{LAYER}\."


def build(
    size: Size,
    image_size: int,
    channels: int,
    classes: int,
    patch_size: int | None = None,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Build timm's ``VisionTransformer``, which classifies by its class token; DeiT-Ti is ``Size(192, 12, 64)``.

    Args:
        size: width of the embedding, and depth, the number of blocks.
        image_size: edge of an image in pixels.
        channels: of an image.
        classes: number of outputs.
        patch_size: edge of a patch in pixels, which divides ``image_size`` (default: 16 for images of 128 pixels or
            more, else 4).
        dropout: share of each branch's output that is dropped in training (default 0).
        drop_path: probability of skipping the last block in training; it falls linearly to 0 for the first (default 0).

    Raises:
        UserError: if patches do not tile the image, or timm is missing.
    """
    patch = patch_size or (16 if image_size >= 128 else 4)
    if image_size % patch:
        raise UserError(f"patch_size={patch}: does not divide images of {image_size} pixels; choose one that does")
    net = timm_models("vision_transformer").VisionTransformer(
        img_size=image_size,
        patch_size=patch,
        in_chans=channels,
        num_classes=classes,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.width // size.head_dim,
        proj_drop_rate=dropout,
        drop_path_rate=drop_path,
    )
    return with_normaliser(net, channels, image_size)


def plan(tile: int) -> Plan:
    """Make the plan of the family: block weights are composed from ``tile x tile`` templates, the rest is free.

    It also covers the parameters of timm's variants: layer scale, register and distillation tokens, and a norm before
    the blocks or after the pooling.
    """
    square = (tile, tile)
    return Plan(
        (
            Rule(BLOCK + r"attn\.qkv\.weight", "qkv", square, 3, (HEADS, STREAM), 1),
            Rule(BLOCK + r"attn\.qkv\.bias", "qkv", None, 3, (HEADS,)),
            Rule(BLOCK + r"attn\.proj\.weight", "out", square, 1, (STREAM, HEADS), 1),
            Rule(BLOCK + r"mlp\.fc1\.weight", "fc1", square, 1, ("hidden", STREAM), 1),
            Rule(BLOCK + r"mlp\.fc1\.bias", "fc1", None, 1, ("hidden",)),
            Rule(BLOCK + r"mlp\.fc2\.weight", "fc2", square, 1, (STREAM, "hidden"), 1),
            Rule(BLOCK + r"(attn\.proj|mlp\.fc2)\.bias", "bias", None, 1, (STREAM,)),
            Rule(BLOCK + r"(norm|ls)[12]\.(weight|bias|gamma)", "norm", None, 1, (STREAM,)),
            Rule(r"(norm|norm_pre|fc_norm)\.(weight|bias)", "norm", None, 1, (STREAM,)),
            Rule(r"patch_embed\.proj\.weight", "embed", None, 1, (STREAM, FIXED, FIXED, FIXED)),
            Rule(r"patch_embed\.proj\.bias", "embed", None, 1, (STREAM,)),
            Rule(r"(cls|reg|dist)_token|pos_embed", "token", None, 1, (FIXED, FIXED, STREAM)),
            Rule(r"head(_dist)?\.weight", "head", None, 1, (FIXED, STREAM), 1),
            Rule(r"head(_dist)?\.bias", "head", None, 1, (FIXED,)),
        )
    )


PATCHES = ("patch_embed", "pos_embed")
MODELS.add("vit", Model(build, plan, (*PATCHES, "head"), PATCHES, "images", task="classification", near_lr=1e-3))
