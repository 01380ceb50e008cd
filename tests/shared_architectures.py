"""Public architectures in small: how each is built at a width and a depth, and what it is called with.

``python tests/shared_architectures.py`` writes the table of docs/architectures.md again.
"""

import math
import re
from pathlib import Path

import torch
from architecture_builders import (
    Architecture,
    convnext,
    images,
    mlp,
    parametrised,
    regnet,
    sequences,
    stacked,
    t5,
    text,
    vgg,
    vision,
    wav2vec,
    whisper,
    words,
)
from torch import nn

from weit_rl import Plan, Rule, TemplateBank, UserError, WeiT
from weit_rl.core.resize import resize

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
HEAD = ("Network", "Library", "Plan.infer", "Composed", "Roles", "One bank over", "Trained scalers over", "Note")
TORCH = {
    "`nn.Sequential` of `nn.Linear`": Architecture(
        "torch", mlp, sequences, note="each layer has roles of its own: make a block of layers a module"
    ),
    "`nn.Sequential` with `nn.TransformerEncoderLayer`": Architecture("torch", stacked, sequences, ((64, 1), (128, 3))),
    "`nn.Transformer`": Architecture(
        "torch", lambda torch, w, d: nn.Transformer(w, 2, d, d, 2 * w, 0.0), lambda w=64: (torch.randn(3, 2, w),) * 2
    ),
    "`nn.LSTM`": Architecture(
        "torch", lambda torch, w, d: nn.LSTM(8, w, d), sequences, note="each layer has roles of its own"
    ),
    "`nn.LSTM`, bidirectional": Architecture(
        "torch", lambda torch, w, d: nn.LSTM(8, w, d, bidirectional=True), sequences,
        note="its two directions lie side by side in the next layer's input",
    ),
    "`weight_norm` and `spectral_norm`": Architecture(
        "torch", parametrised, sequences, note="of `torch.nn.utils.parametrizations`"
    ),
}  # fmt: skip
TORCHVISION = {
    "ResNet-18, ResNet-34": Architecture(
        "torchvision.models", lambda m, w, d: (m.resnet18, m.resnet34)[d](num_classes=10), images, ((64, 0), (64, 1))
    ),
    "EfficientNet-B0, -B1": Architecture(
        "torchvision.models", lambda m, w, d: (m.efficientnet_b0, m.efficientnet_b1)[d](num_classes=10), images,
        ((32, 0), (32, 1)), note="two stages of B0 have one block, which none of B1's second ones can start from",
    ),
    "MobileNetV2": Architecture(
        "torchvision.models", lambda m, w, d: m.MobileNetV2(10, width_mult=w / 10), images, ((10, 17), (14, 17)),
        note="channels below one tile are taken to be fixed",
    ),
    "DenseNet": Architecture(
        "torchvision.models", lambda m, w, d: m.DenseNet(w, (d, d), 2 * w, num_classes=10), images, ((32, 2), (64, 3)),
        note="no two of its blocks have one shape",
    ),
    "VGG": Architecture(
        "torchvision.models", vgg, images, note="a flat list: each layer has roles of its own"
    ),
    "ConvNeXt": Architecture("torchvision.models", convnext, images),
    "ViT": Architecture(
        "torchvision.models", lambda m, w, d: m.VisionTransformer(32, 8, d, 2, w, 2 * w, num_classes=10), images
    ),
    "Swin": Architecture(
        "torchvision.models", lambda m, w, d: m.SwinTransformer([2, 2], w, [d, d], [2, 4], [4, 4], num_classes=10),
        images,
    ),
    "RegNetY": Architecture(
        "torchvision.models", regnet, images, note="convolutions in groups; squeeze layers below one tile"
    ),
}  # fmt: skip
TIMM = {
    "ViT, DeiT": Architecture(
        "timm.models.vision_transformer", lambda m, w, d: m.VisionTransformer(
            32, 8, embed_dim=w, depth=d, num_heads=2, num_classes=10, reg_tokens=2, init_values=0.1
        ), images,
    ),
    "ConvNeXt V2": Architecture(
        "timm.models.convnext", lambda m, w, d: m.ConvNeXt(
            depths=(1, 1, d, 1), dims=(w // 2, w, 2 * w, 4 * w), use_grn=True, ls_init_value=None, num_classes=10
        ), images,
    ),
    "Mixer": Architecture(
        "timm.models.mlp_mixer", lambda m, w, d: m.MlpMixer(10, 32, patch_size=4, num_blocks=d, embed_dim=w), images,
    ),
    "Swin": Architecture(
        "timm.models.swin_transformer", lambda m, w, d: m.SwinTransformer(
            32, 2, embed_dim=w, depths=(d, d), num_heads=(2, 4), window_size=4, num_classes=10
        ), images,
    ),
}  # fmt: skip
TRANSFORMERS = {
    "BERT": Architecture("transformers", text("BertModel", "BertConfig"), words),
    "BERT, masked words": Architecture("transformers", text("BertForMaskedLM", "BertConfig"), words, note="tied"),
    "RoBERTa": Architecture("transformers", text("RobertaModel", "RobertaConfig"), words),
    "DistilBERT": Architecture(
        "transformers", lambda m, w, d: m.DistilBertModel(
            m.DistilBertConfig(dim=w, n_layers=d, n_heads=4, hidden_dim=4 * w, vocab_size=96)
        ), words,
    ),
    "ALBERT": Architecture(
        "transformers", text("AlbertModel", "AlbertConfig", embedding_size=32), words, note="one block at any depth"
    ),
    "GPT-2, language model": Architecture(
        "transformers", lambda m, w, d: m.GPT2LMHeadModel(m.GPT2Config(
            n_embd=w, n_layer=d, n_head=4, n_positions=16, vocab_size=96, bos_token_id=0, eos_token_id=0
        )), words, note="tied; query, key and value lie side by side along the second axis",
    ),
    "GPT-NeoX": Architecture(
        "transformers", text("GPTNeoXForCausalLM", "GPTNeoXConfig"), words,
        note="query, key and value lie side by side, head by head",
    ),
    "OPT": Architecture(
        "transformers", lambda m, w, d: m.OPTForCausalLM(m.OPTConfig(
            hidden_size=w, num_hidden_layers=d, num_attention_heads=4, ffn_dim=3 * w, vocab_size=96,
            word_embed_proj_dim=w, max_position_embeddings=32,
        )), words, note="tied",
    ),
    "Llama": Architecture(
        "transformers", text("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2), words
    ),
    "Qwen2": Architecture(
        "transformers", text("Qwen2ForCausalLM", "Qwen2Config", num_key_value_heads=2, tie_word_embeddings=True),
        words, note="tied",
    ),
    "T5": Architecture("transformers", t5, lambda: (*words(), None, *words()), note="tied"),
    "Whisper": Architecture("transformers", whisper, lambda: (torch.randn(2, 8, 40), None, *words())),
    "ViT": Architecture("transformers", vision("ViTModel", "ViTConfig"), images),
    "CLIP, images": Architecture("transformers", vision("CLIPVisionModel", "CLIPVisionConfig"), images),
    "Swin": Architecture(
        "transformers", lambda m, w, d: m.SwinModel(m.SwinConfig(
            embed_dim=w, depths=[d, d], num_heads=[2, 4], window_size=4, image_size=32, patch_size=2
        )), images,
    ),
    "Phi-3": Architecture("transformers", text("Phi3ForCausalLM", "Phi3Config"), words, note="fused gates"),
    "Mixtral": Architecture(
        "transformers", text("MixtralModel", "MixtralConfig", num_key_value_heads=2, num_local_experts=4), words,
        note="experts in one tensor",
    ),
    "Wav2Vec2": Architecture(
        "transformers", wav2vec, lambda: (torch.randn(2, 400),), note="a convolution in groups"
    ),
    "Mamba": Architecture(
        "transformers", lambda m, w, d: m.MambaModel(m.MambaConfig(hidden_size=w, num_hidden_layers=d, vocab_size=96)),
        words, note="parameters of its own",
    ),
}  # fmt: skip
LIBRARIES = {"torch": TORCH, "torchvision": TORCHVISION, "timm": TIMM, "transformers": TRANSFORMERS}
ALL = [(library, name) for library, rows in LIBRARIES.items() for name in rows]


def inferred(net):
    """Return the plan, and whether it needed rules; these are copied from the refusal."""
    try:
        return Plan.infer(net), False
    except UserError as refusal:
        rules = re.search(r"Plan\.infer\(net, rules=(\(Rule\(.*\),\))\)$", str(refusal))
        assert rules, refusal
        return Plan.infer(net, rules=eval(rules[1], {"Rule": Rule})), True


def ways(family):
    """Return the sizes that differ from the small one in width or depth alone, by name."""
    (width, depth), (wide, deep) = family.sizes
    found = {"width": (wide, depth), "depth": (width, deep)}
    return {way: size for way, size in found.items() if size != (width, depth)}


def shares(plan, other):
    """Return True if a bank of one plan has all that another plan needs."""
    return all(plan.tiles().get(role, ((),))[0] == tile for role, (tile, _) in other.tiles().items())


def goes_over(small, layout):
    """Return True if trained scalers can be resized to a layout."""
    try:
        return bool(resize(small.own(), small.layout, layout, True))
    except UserError:
        return False


def row(library, name):
    """Write the line of the table for an architecture."""
    family = LIBRARIES[library][name]
    net = family.net(*family.sizes[0])
    plan, refused = inferred(net)
    small = WeiT(net, TemplateBank.from_plan(plan, 2), plan)
    composed = sum(math.prod(slot.full_shape) for slot in small.layout.values() if slot.rule.tile)
    others = {way: family.net(*size) for way, size in ways(family).items()}
    plans = {way: inferred(other)[0] for way, other in others.items()}
    shared = [way for way in plans if shares(plan, plans[way])]
    over = [way for way in shared if goes_over(small, plans[way].layout(others[way]))]
    share = f"{composed / sum(p.numel() for p in net.parameters()):.0%}"
    taken = "rules to copy" if refused else "as it is"
    cells = (name, library, taken, share, str(len(plan.tiles())), _listed(shared), _listed(over), family.note)
    return f"| {' | '.join(cells)} |"


def _listed(names):
    return " and ".join(names) or "none"


def table():
    """Write all lines of the table."""
    rule = f"|{'---|' * len(HEAD)}"
    return [f"| {' | '.join(HEAD)} |", rule, *(row(library, name) for library, name in ALL)]


if __name__ == "__main__":
    before = [line for line in PAGE.read_text().splitlines() if not line.startswith("|")]
    place = before.index("<!-- the table -->") + 1
    PAGE.write_text("\n".join([*before[:place], *table(), *before[place:]]) + "\n")
