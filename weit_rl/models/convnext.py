"""ConvNeXt V2 (Woo et al. 2023, arXiv 2301.00808), as timm builds it.

``width`` is the width of the last stage; every other stage has half the channels of the next one. ``depth`` is the
number of blocks in the third stage; the others have a third of it, at least one block and at most three. So timm's own
sizes are

    atto 320x6, femto 384x6, pico 512x6, nano 640x8, tiny 768x9, base 1024x27, large 1536x27, huge 2816x27

and Size(128, 3) has 16, 32, 64 and 128 channels in 1, 1, 3 and 1 blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, LAYER, STREAM, Plan, Rule
from weit_rl.models.convnext_policy import GRN
from weit_rl.models.images import timm_models, with_normaliser
from weit_rl.models.registry import MODELS, Model

KERNEL = 7
DIVISORS = (8, 4, 2, 1)  # of the width, by stage
DEEP = 2  # the stage whose blocks the depth counts
TILES = (4, 2, 1, 1)  # by stage, divisor of the tile's edge; so a width of whole tiles has whole tiles in every stage
STREAMS = (f"{STREAM}0", f"{STREAM}1", f"{STREAM}2", STREAM)  # one per stage; the last is as wide as the network
SPACE = (FIXED, FIXED)


def build(
    size: Size,
    image_size: int,
    channels: int,
    classes: int,
    patch_size: int | None = None,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Build timm's ``ConvNeXt`` with global response normalisation and without layer scale, as its ``convnextv2_*``.

    Args:
        size: width, a multiple of 8, and depth, as the module describes them.
        image_size: edge of an image in pixels.
        channels: of an image.
        classes: number of outputs.
        patch_size: stride of the stem in pixels (default: 4 for images of 128 pixels or more, 2 from 64, else 1). Three
            more stages halve the map; after a stem of 2, all four do.
        dropout: share of the last features that is dropped in training (default 0).
        drop_path: probability of skipping the last block in training; it falls linearly to 0 for the first (default 0).

    Raises:
        UserError: if the image is too small for its strides, the width is not a multiple of 8, or timm is missing.
    """
    patch = patch_size or (4 if image_size >= 128 else 2 if image_size >= 64 else 1)
    least = 8 * patch * (2 if patch == 2 else 1)
    if image_size < least:
        raise UserError(f"patch_size={patch}: needs images of {least} pixels or more, these have {image_size}")
    if size.width % DIVISORS[0]:
        raise UserError(f"size.width={size.width}: convnext needs a multiple of {DIVISORS[0]}")
    net = timm_models("convnext").ConvNeXt(
        in_chans=channels,
        num_classes=classes,
        depths=depths(size),
        dims=dims(size),
        patch_size=patch,
        use_grn=True,
        ls_init_value=None,
        drop_rate=dropout,
        drop_path_rate=drop_path,
    )
    _prepare_for_pruning(net)
    return with_normaliser(net, channels, image_size)


def dims(size: Size) -> tuple[int, ...]:
    """Return the channels of each stage."""
    return tuple(size.width // divisor for divisor in DIVISORS)


def depths(size: Size) -> tuple[int, ...]:
    """Return the number of blocks of each stage."""
    others = min(max(size.depth // 3, 1), 3)
    return tuple(size.depth if stage == DEEP else others for stage in range(len(DIVISORS)))


def _prepare_for_pruning(net: nn.Module) -> None:
    """Tell pruning how to mask the modules that compute statistics over channels."""
    for module in net.modules():
        kind = type(module).__name__
        if kind == "LayerNorm2d":
            module.channel_dim = 1  # type: ignore[assignment]
        if kind == "GlobalResponseNorm":
            module.masked = MethodType(_masked, module)  # type: ignore[assignment]


def _masked(grn: Any) -> GRN:
    own = GRN(len(grn.weight))
    own.weight, own.bias = grn.weight, grn.bias
    return own.masked()


def plan(tile: int) -> Plan:
    """Make the plan of the family; the blocks of a stage share its templates, which hold whole kernels.

    The tile's edge is ``tile`` in the last two stages, half of it in the second, a quarter in the first.
    """
    rules = (rule for stage in range(len(STREAMS)) for rule in _stage_rules(stage, tile))
    return Plan(
        (
            *rules,
            Rule(r"stem\.0\.weight", "embed", None, 1, (STREAMS[0], FIXED, *SPACE)),
            Rule(r"stem\.0\.bias", "embed", None, 1, (STREAMS[0],)),
            Rule(r"stem\.1\.(weight|bias)", "norm", None, 1, (STREAMS[0],)),
            Rule(r"head\.norm\.(weight|bias)", "norm", None, 1, (STREAM,)),
            Rule(r"head\.fc\.weight", "head", None, 1, (FIXED, STREAM), 1),
            Rule(r"head\.fc\.bias", "head", None, 1, (FIXED,)),
        )
    )


def _stage_rules(stage: int, tile: int) -> Iterator[Rule]:
    before = max(stage - 1, 0)
    stream, hidden, came = STREAMS[stage], f"hidden{stage}", STREAMS[before]
    edge, old = (max(tile // TILES[s], 1) for s in (stage, before))
    down, block = rf"stages\.{stage}\.downsample\.", rf"stages\.{stage}\.blocks\.{LAYER}\."
    fc1, fc2, depthwise = (f"{role}.{stage}" for role in ("fc1", "fc2", "depthwise"))
    yield Rule(block + r"conv_dw\.weight", depthwise, (edge, 1, KERNEL, KERNEL), 1, (stream, FIXED, *SPACE))
    yield Rule(block + r"mlp\.fc1\.weight", fc1, (edge, edge), 1, (hidden, stream), 1)
    yield Rule(block + r"mlp\.fc2\.weight", fc2, (edge, edge), 1, (stream, hidden), 1)
    yield Rule(block + r"mlp\.(fc1|grn)\.(weight|bias)", "hidden", None, 1, (hidden,))
    yield Rule(block + r"(conv_dw|mlp\.fc2)\.bias", "bias", None, 1, (stream,))
    yield Rule(block + r"(norm\.weight|norm\.bias|gamma)", "norm", None, 1, (stream,))
    yield Rule(down + r"0\.(weight|bias)", "norm", None, 1, (came,))
    # the first stage has one after a stem of 2 only; it is small enough to be free
    tile_down = (edge, old, 2, 2) if stage else None
    yield Rule(down + r"1\.weight", f"down.{stage}", tile_down, 1, (stream, came, *SPACE), 1)
    yield Rule(down + r"1\.bias", "bias", None, 1, (stream,))


BOUND = ("stem.0", "head.fc")
MODELS.add("convnext", Model(build, plan, BOUND, ("stem.0",), "images", task="classification", near_lr=1e-3))
