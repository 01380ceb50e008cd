"""Share timm's own networks with the tests of images; a module that imports this is skipped if timm is missing."""

import pytest
import torch

from weit_rl.models import models_of

pytest.importorskip("timm", reason="models of images are timm's: pip install 'weit_rl[vision]'")
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer

VISION = models_of("classification")
TINY = {"threads": 1, "device": "cpu", "batch_size": 16}  # options of a quick run
models = pytest.mark.parametrize("model", VISION)


def timms(model, width=16, depth=2, conv_mlp=False):
    """Build timm's own network of the size of ``small_net``."""
    torch.manual_seed(0)
    common = {"in_chans": 3, "num_classes": 2}
    if model == "vit":
        return VisionTransformer(8, 4, embed_dim=width, depth=depth, num_heads=width // 8, **common)
    channels = [width // 8, width // 4, width // 2, width]
    common |= {"use_grn": True, "ls_init_value": None, "conv_mlp": conv_mlp}
    return ConvNeXt(dims=channels, depths=[1, 1, depth, 1], patch_size=1, **common)


def randomised(net):
    """Draw all parameters anew: a forgotten bias or norm would not show if it were 0 or 1."""
    torch.manual_seed(7)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return net


def normalised(net, pixels):
    return (pixels.double() / 255 - net.image_mean) / net.image_std
