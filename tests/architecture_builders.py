"""Builders of public architectures at a width and a depth, and what they are called with."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A family of architectures.

    Attributes:
        library: that has it.
        build: ``(library, width, depth)`` to a network.
        inputs: what it is called with.
        sizes: width and depth of the small network, and of the big one; a number that is the same is not varied.
        note: for the table.
    """

    library: str
    build: Callable
    inputs: Callable
    sizes: tuple = ((64, 2), (128, 3))
    note: str = ""

    def net(self, width, depth):
        torch.manual_seed(0)
        return self.build(import_module(self.library), width, depth).eval()


def images(edge=32):
    return (torch.randn(2, 3, edge, edge, generator=torch.Generator().manual_seed(0)),)


def sequences():
    return (torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)),)


def words():
    return (torch.randint(0, 90, (2, 7), generator=torch.Generator().manual_seed(0)),)


def text(name, config, **options):
    """Build a text model of transformers; most configurations name width and depth alike."""

    def build(library, width, depth):
        shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": 4, "vocab_size": 96}
        shape |= {"intermediate_size": 3 * width, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        return getattr(library, name)(getattr(library, config)(**shape, **options))

    return build


def vision(name, config, **options):
    """Build an image model of transformers."""
    return lambda library, width, depth: getattr(library, name)(
        getattr(library, config)(
            hidden_size=width, num_hidden_layers=depth, num_attention_heads=4, intermediate_size=3 * width,
            image_size=32, patch_size=8, **options,
        )
    )  # fmt: skip


def mlp(torch, width, depth):
    hidden = [module for _ in range(depth) for module in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), *hidden, nn.Linear(width, 3))


def stacked(torch, width, depth):
    blocks = [nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True) for _ in range(depth)]
    return nn.Sequential(nn.Linear(8, width), *blocks, nn.Linear(width, 3))


def parametrised(torch, width, depth):
    norms = nn.utils.parametrizations
    blocks = [nn.Sequential(norms.weight_norm(nn.Linear(width, width)), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(norms.spectral_norm(nn.Linear(8, width)), nn.ReLU(), *blocks, nn.Linear(width, 3))


def convnext(models, width, depth):
    blocks = models.convnext.CNBlockConfig
    return models.ConvNeXt([blocks(width, 2 * width, depth), blocks(2 * width, None, depth)], num_classes=10)


def regnet(models, width, depth):
    stages = {"widths": [width, 2 * width], "depths": [depth, depth], "group_widths": [8, 8], "strides": [2, 2]}
    settings = models.regnet.BlockParams(bottleneck_multipliers=[1.0, 1.0], se_ratio=0.25, **stages)
    return models.RegNet(settings, num_classes=10)


def vgg(models, width, depth):
    return nn.Sequential(
        models.vgg.make_layers([width, *[width] * depth, "M", 2 * width, *[2 * width] * depth, "M"]),
        nn.Flatten(), nn.Linear(2 * width * 64, 10),
    )  # fmt: skip


def t5(library, width, depth):
    shape = {"d_model": width, "d_kv": width // 4, "d_ff": 3 * width, "num_layers": depth, "num_heads": 4}
    return library.T5ForConditionalGeneration(library.T5Config(**shape, vocab_size=96, decoder_start_token_id=0))


def whisper(library, width, depth):
    parts = {f"{part}_{what}": n for part in ("encoder", "decoder")
             for what, n in (("layers", depth), ("attention_heads", 4), ("ffn_dim", 3 * width))}  # fmt: skip
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0)
    places = {"max_source_positions": 20, "max_target_positions": 20, "num_mel_bins": 8, "vocab_size": 96}
    return library.WhisperModel(library.WhisperConfig(d_model=width, **parts, **tokens, **places))


def wav2vec(library, width, depth):
    convolutions = {"conv_dim": (32, 32), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2}
    places = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "apply_spec_augment": False}
    return text("Wav2Vec2Model", "Wav2Vec2Config", **convolutions, **places)(library, width, depth)
