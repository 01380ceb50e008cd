"""Class-conditional diffusion transformer (Peebles and Xie 2023, arXiv 2212.09748), as diffusers builds it.

Three things differ from diffusers:

- Modulation and output start at zero, as in the paper.
- No block drops labels, since every block would draw by itself. The training drops them once, by the label ``classes``,
  whose embedding means no label.
- Positions are a parameter, which starts as diffusers' table of sines. diffusers computes that table for every width
  anew. A parameter is cut and repeated like the rest of the stream, so that another width keeps the positions.

diffusers' class can load such a checkpoint if the table is copied into its buffer ``pos_embed.pos_embed``.
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
CONDITION = "condition"  # the axis of the embedded time step and label


def build(
    size: Size,
    image_size: int,
    channels: int,
    classes: int,
    patch_size: int | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """Build diffusers' ``DiTTransformer2DModel``; DiT-B is ``Size(768, 12, 64)``.

    It is called with images ``(B, channels, image_size, image_size)`` of values in about [-1, 1], time steps ``(B,)``
    int64 and labels ``(B,)`` int64 from 0 to ``classes``. It predicts the noise in the images, of their shape.

    Args:
        size: width and depth.
        image_size: edge of an image in pixels.
        channels: of an image.
        classes: number of labels; the label ``classes`` means none.
        patch_size: edge of a patch in pixels, which divides ``image_size`` (default: 4 for images of 16 pixels or more,
            else 2).
        dropout: share of each branch's output that is dropped in training (default 0).

    Raises:
        UserError: if patches do not tile the image, or diffusers is missing.
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
    """Unwrap the tensor that diffusers returns in a tuple or an output object."""
    return output if isinstance(output, Tensor) else output[0]


@torch.no_grad()
def _initialise(net: Any) -> None:
    """Initialise as the paper's code does: Xavier weights, small embeddings, modulation and output at zero."""
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
    """Make the plan of the family; adaLN and the two layers that embed time in every block are roles of their own."""
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
