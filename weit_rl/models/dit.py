"""Diffusion transformer (Peebles and Xie 2023, arXiv 2212.09748), class-conditional, as diffusers builds it.

Three things are not as diffusers has them. Modulation and output start at zero, as the paper's. No block drops labels,
for each would draw by itself; whoever trains drops them once, by the label ``classes``, whose embedding stands for
none. And positions, a table of sines that diffusers makes anew for every width, are a parameter that starts as that
table: cut and repeated like the rest of the stream, or another width would know nothing of places. diffusers' class
reads such a checkpoint, and needs the table copied into its buffer ``pos_embed.pos_embed``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, HEADS, LAYER, STREAM, Plan, Rule
from weit_rl.models.registry import MODELS, Model

BLOCK = rf"transformer_blocks\.{LAYER}\."
EMBEDDING = BLOCK + r"norm1\.emb\."
CONDITION = "condition"  # the axis of time step and label, embedded


def build(
    size: Size,
    image_size: int,
    channels: int,
    classes: int,
    patch_size: int | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """diffusers' ``DiTTransformer2DModel``, called with images, time steps and labels; DiT-B is ``Size(768, 12, 64)``.

    Its call takes images ``(B, channels, image_size, image_size)`` in about [-1, 1], time steps ``(B,)`` int64 and
    labels ``(B,)`` int64 up to and with ``classes``, and gives the noise in the images, of their shape.

    Args:
        size: width and depth.
        image_size: edge of an image in pixels.
        channels: of an image.
        classes: labels besides that for none.
        patch_size: edge of a patch in pixels, which divides ``image_size`` (default: 2, from 16 pixels on 4).
        dropout: share of what each branch adds to the stream that is left out in training (default 0).

    Raises:
        UserError: if patches do not tile the image, or diffusers is not installed.
    """
    patch = patch_size or (4 if image_size >= 16 else 2)
    if image_size % patch:
        raise UserError(f"patch_size={patch}: does not divide images of {image_size} pixels; choose one that does")
    net = _diffusers().DiTTransformer2DModel(
        num_attention_heads=size.width // size.head_dim,
        attention_head_dim=size.head_dim,
        in_channels=channels,
        num_layers=size.depth,
        dropout=dropout,
        sample_size=image_size,
        patch_size=patch,
        num_embeds_ada_norm=classes,
    )
    _initialise(net)
    net.register_forward_hook(_tensor)
    return net


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise UserError(f"model=dit needs diffusers ({error}): pip install 'weit_rl[vision]'") from error
    return diffusers


def _tensor(net: nn.Module, args: Any, output: Any) -> Tensor:
    """The tensor out of diffusers' wrapping."""
    return output if isinstance(output, Tensor) else output[0]


@torch.no_grad()
def _initialise(net: Any) -> None:
    """As the paper's own code: Xavier, small embeddings, nothing at first from modulation and output."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.xavier_uniform_(module.weight.flatten(1))
            nn.init.zeros_(module.bias)
    for block in net.transformer_blocks:
        embedder = block.norm1.emb
        embedder.class_embedder.dropout_prob = 0.0
        small = embedder.timestep_embedder
        for weight in (embedder.class_embedder.embedding_table.weight, small.linear_1.weight, small.linear_2.weight):
            nn.init.normal_(weight, std=0.02)
    for linear in (*(block.norm1.linear for block in net.transformer_blocks), net.proj_out_1, net.proj_out_2):
        nn.init.zeros_(linear.weight)
    positions = net.pos_embed.pos_embed
    del net.pos_embed.pos_embed
    net.pos_embed.pos_embed = nn.Parameter(positions)


def plan(tile: int) -> Plan:
    """The plan of the family: adaLN is a role of its own, and so are the two layers that embed time in every block."""
    square = (tile, tile)
    return Plan(
        (
            Rule(BLOCK + r"attn1\.to_[qkv]\.weight", "qkv", square, 1, (HEADS, STREAM), 1),
            Rule(BLOCK + r"attn1\.to_[qkv]\.bias", "qkv", None, 1, (HEADS,)),
            Rule(BLOCK + r"attn1\.to_out\.0\.weight", "out", square, 1, (STREAM, HEADS), 1),
            Rule(BLOCK + r"ff\.net\.0\.proj\.weight", "fc1", square, 1, ("hidden", STREAM), 1),
            Rule(BLOCK + r"ff\.net\.0\.proj\.bias", "fc1", None, 1, ("hidden",)),
            Rule(BLOCK + r"ff\.net\.2\.weight", "fc2", square, 1, (STREAM, "hidden"), 1),
            Rule(BLOCK + r"(attn1\.to_out\.0|ff\.net\.2)\.bias", "bias", None, 1, (STREAM,)),
            Rule(BLOCK + r"norm1\.linear\.weight", "adaln", square, 6, (STREAM, CONDITION), 1),
            Rule(BLOCK + r"norm1\.linear\.bias", "adaln", None, 6, (STREAM,)),
            Rule(EMBEDDING + r"timestep_embedder\.linear_1\.weight", "time1", square, 1, ("time", FIXED)),
            Rule(EMBEDDING + r"timestep_embedder\.linear_1\.bias", "time", None, 1, ("time",)),
            Rule(EMBEDDING + r"timestep_embedder\.linear_2\.weight", "time2", square, 1, (CONDITION, "time"), 1),
            Rule(EMBEDDING + r"timestep_embedder\.linear_2\.bias", "time", None, 1, (CONDITION,)),
            Rule(EMBEDDING + r"class_embedder\.embedding_table\.weight", "label", None, 1, (FIXED, CONDITION)),
            Rule(r"pos_embed\.proj\.weight", "embed", None, 1, (STREAM, FIXED, FIXED, FIXED)),
            Rule(r"pos_embed\.proj\.bias", "embed", None, 1, (STREAM,)),
            Rule(r"pos_embed\.pos_embed", "token", None, 1, (FIXED, FIXED, STREAM)),
            Rule(r"proj_out_1\.weight", "adaln_out", square, 2, (STREAM, CONDITION), 1),
            Rule(r"proj_out_1\.bias", "adaln_out", None, 2, (STREAM,)),
            Rule(r"proj_out_2\.weight", "head", None, 1, (FIXED, STREAM), 1),
            Rule(r"proj_out_2\.bias", "head", None, 1, (FIXED,)),
        )
    )


PIXELS, CLASSES = ("pos_embed", "proj_out_2"), ("transformer_blocks.*.norm1.emb.class_embedder",)
MODELS.add("dit", Model(build, plan, (*PIXELS, *CLASSES), PIXELS, sees="images", task="diffusion"))
