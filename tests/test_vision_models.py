"""Models of images: exactly timm's, whole in their plans, and of every size from one bank."""

import copy
import json

import numpy as np
import pytest
import torch
from conftest import IMAGES, small_inputs, small_net
from safetensors.torch import save_file

from weit_rl.bank import TemplateBank
from weit_rl.errors import UserError
from weit_rl.masks import Masks
from weit_rl.models import MODELS, images, models_of
from weit_rl.models.convnext import depths, dims
from weit_rl.models.timm_checkpoint import load_timm
from weit_rl.plan import FIXED, Plan, Rule, stack, unstack
from weit_rl.resize import resize
from weit_rl.sizes import Size
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.flops import step_flops
from weit_rl.training.pretraining import MaskedLoss
from weit_rl.weit import WeiT

pytest.importorskip("timm", reason="models of images are timm's: pip install 'weit_rl[vision]'")
from timm.models.convnext import ConvNeXt, convnextv2_atto, convnextv2_nano, convnextv2_tiny
from timm.models.vision_transformer import VisionTransformer, vit_tiny_patch16_224

VISION = models_of("classification")
models = pytest.mark.parametrize("model", VISION)


def timms(model, width=16, depth=2, conv_mlp=False):
    """timm's own network of the size of ``small_net``."""
    torch.manual_seed(0)
    common = {"in_chans": 3, "num_classes": 2}
    if model == "vit":
        return VisionTransformer(8, 4, embed_dim=width, depth=depth, num_heads=width // 8, **common)
    channels = [width // 8, width // 4, width // 2, width]
    common |= {"use_grn": True, "ls_init_value": None, "conv_mlp": conv_mlp}
    return ConvNeXt(dims=channels, depths=[1, 1, depth, 1], patch_size=1, **common)


def randomised(net):
    """Biases, norms and GRN away from 0 and 1, or a forgotten one would not show."""
    torch.manual_seed(7)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return net


def normalised(net, pixels):
    return (pixels.double() / 255 - net.image_mean) / net.image_std


@models
def test_it_is_timms_network_to_the_last_bit(model):
    ours, plain, (pixels,) = small_net(model).double(), timms(model).double(), small_inputs(model)
    assert type(ours) is type(plain)
    own, other = dict(ours.named_parameters()), dict(plain.named_parameters())
    assert list(own) == list(other) and all(torch.equal(own[name], other[name]) for name in own)
    ours.image_mean.uniform_()
    assert torch.equal(ours(pixels), plain(normalised(ours, pixels)))


@models
def test_weights_go_to_timm_and_come_back(model):
    trained, ours = randomised(timms(model)), small_net(model)
    ours.image_mean.fill_(0.3)
    ours.load_state_dict(trained.state_dict())
    assert torch.equal(ours.image_mean, torch.full((3, 1, 1), 0.3))
    copied = copy.deepcopy(ours)
    del ours
    copied.load_state_dict(trained.state_dict())  # a copy's hook is its own
    timms(model).load_state_dict(dict(copied.named_parameters()))
    with pytest.raises(RuntimeError, match="Missing key"):
        copied.load_state_dict({})


@models
def test_bytes_and_floats_are_the_same_images(model):
    net, (pixels,) = small_net(model), small_inputs(model)
    torch.testing.assert_close(net(pixels), net(pixels.float() / 255))
    assert net.half().image_mean.dtype == torch.float16


@models
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 8, 9)])
def test_other_images_are_refused(model, shape):
    with pytest.raises(UserError, match=f"images of {'x'.join(map(str, shape))}: this network takes 3x8x8"):
        small_net(model)(torch.zeros(2, *shape))


@models
def test_a_composed_network_materialises_to_timms(model):
    plan = MODELS.get(model).plan(8)
    net = WeiT(randomised(small_net(model)), TemplateBank.from_plan(plan, 4), plan)
    plain, inputs = timms(model), small_inputs(model)
    plain.load_state_dict(dict(net.materialize().named_parameters()))
    wanted = plain.double()(normalised(net.net.double(), *inputs))
    torch.testing.assert_close(net.double()(*inputs), wanted)


@pytest.mark.parametrize("model", VISION)
@pytest.mark.parametrize("ratio", [2, 3])
def test_widening_keeps_the_function(model, ratio):
    """With GRN too: its mean over channels stays where all are repeated equally often."""
    plan, source = MODELS.get(model).plan(8), randomised(small_net(model).double())
    target = small_net(model, 16 * ratio, seed=3).double()
    old, new = plan.layout(source), plan.layout(target)
    wide = unstack(resize(stack(dict(source.named_parameters()), old), old, new), new)
    target.load_state_dict(target.state_dict() | wide)
    inputs = small_inputs(model)
    torch.testing.assert_close(target(*inputs), source(*inputs), rtol=1e-5, atol=1e-5)
    assert source(*inputs).std() > 0.1


def test_what_is_composed_in_vit():
    layout = MODELS.get("vit").plan(8).layout(small_net("vit"))
    composed = {key: slot.rule.role for key, slot in layout.items() if slot.rule.tile}
    names = {"attn.qkv": "qkv", "attn.proj": "out", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}
    assert composed == {f"blocks.*.{name}.weight": role for name, role in names.items()}
    assert layout["blocks.*.attn.qkv.weight"].full_shape == (2, 3, 16, 16)
    assert layout["pos_embed"].rule.axes == layout["cls_token"].rule.axes == (FIXED, FIXED, "stream")


def test_what_is_composed_in_convnext_and_its_pools_are_a_stages_own():
    layout = MODELS.get("convnext").plan(8).layout(small_net("convnext", 32, 6))
    roles = {slot.rule.role: slot for slot in layout.values() if slot.rule.tile}
    stages = [f"{role}.{stage}" for stage in range(4) for role in ("depthwise", "fc1", "fc2", "down")]
    assert set(roles) == set(stages) - {"down.0"}
    assert [roles[f"fc1.{stage}"].rule.tile for stage in range(4)] == [(2, 2), (4, 4), (8, 8), (8, 8)]
    assert [len(roles[f"fc1.{stage}"].names) for stage in range(4)] == [2, 2, 6, 2]
    assert roles["depthwise.1"].rule.tile == (4, 1, 7, 7) and roles["down.2"].rule.tile == (8, 4, 2, 2)
    free = {key for key, slot in layout.items() if slot.rule.tile is None}
    assert all(any(word in key for word in ("norm", "bias", "stem", "grn", "head", "downsample.0")) for key in free)


@pytest.mark.parametrize(
    ("make", "size"),
    [(convnextv2_atto, (320, 6)), (convnextv2_nano, (640, 8)), (convnextv2_tiny, (768, 9))],
)
def test_one_table_gives_every_rung_of_convnext(make, size):
    with torch.device("meta"):
        plain, ours = make(), MODELS.get("convnext").build(Size(*size), 224, 3, 1000)
    # the smaller of timm's call the linear layers of a block 1 x 1 convolutions
    one, other = ({name: p.squeeze().shape for name, p in net.named_parameters()} for net in (plain, ours))
    assert one == other


def test_the_table_of_convnext_grows_with_the_depth():
    assert depths(Size(1024, 27)) == (3, 3, 27, 3) and dims(Size(1024, 27)) == (128, 256, 512, 1024)
    assert [depths(Size(64, depth)) for depth in (1, 2, 3, 6)] == [
        (1, 1, 1, 1),
        (1, 1, 2, 1),
        (1, 1, 3, 1),
        (2, 2, 6, 2),
    ]


def test_deit_tiny_is_a_size():
    with torch.device("meta"):
        plain, ours = vit_tiny_patch16_224(), MODELS.get("vit").build(Size(192, 12, 64), 224, 3, 1000)
    assert {n: p.shape for n, p in plain.named_parameters()} == {n: p.shape for n, p in ours.named_parameters()}
    assert ours.blocks[0].attn.num_heads == plain.blocks[0].attn.num_heads == 3


@pytest.mark.parametrize(
    "variant",
    [
        {"global_pool": "avg"},
        {"reg_tokens": 2, "init_values": 1e-5, "class_token": False, "global_pool": "avg"},
        {"pre_norm": True, "qkv_bias": False},
    ],
)
def test_the_plan_covers_timms_variants(variant):
    net = VisionTransformer(8, 2, embed_dim=16, depth=2, num_heads=2, num_classes=3, **variant)
    plan = MODELS.get("vit").plan(8)
    wide = VisionTransformer(8, 2, embed_dim=32, depth=2, num_heads=4, num_classes=3, **variant)
    old, new = plan.layout(randomised(net)), plan.layout(wide)
    wide.load_state_dict(unstack(resize(stack(dict(net.named_parameters()), old), old, new), new))
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(wide(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("image_size", "patch_size"), [(8, 1), (16, None), (32, 2), (64, None), (32, 4)])
def test_convnext_takes_small_images_and_its_plan_every_stem(image_size, patch_size):
    options = {"image_size": image_size, "channels": 1, "classes": 4, "patch_size": patch_size}
    net = MODELS.get("convnext").build(Size(16, 1, 8), **options)
    assert net(torch.zeros(2, 1, image_size, image_size)).shape == (2, 4)
    plan = MODELS.get("convnext").plan(8)
    assert set(TemplateBank.from_plan(plan, 2).roles()) == {
        s.rule.role for s in plan.layout(net).values() if s.rule.tile
    }


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("vit", {"patch_size": 3}, "patch_size=3: does not divide images of 8 pixels"),
        ("convnext", {"patch_size": 2}, "patch_size=2: needs images of 32 pixels or more, these have 8"),
        ("convnext", {"width": 12}, "size.width=12: convnext needs a multiple of 8"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(model, options, says):
    size = Size(options.pop("width", 16), 1, 4)
    with pytest.raises(UserError, match=says):
        MODELS.get(model).build(size, **IMAGES | options)


def test_without_timm_there_is_one_clear_line(monkeypatch):
    def missing(name):
        raise ImportError("No module named 'timm'")

    monkeypatch.setattr(images, "import_module", missing)
    with pytest.raises(UserError, match=r"need timm \(No module named 'timm'\): pip install 'weit_rl\[vision\]'"):
        MODELS.get("vit").build(Size(32, 1), **IMAGES)


@models
def test_a_checkpoint_is_all_it_takes_to_classify(model, tmp_path):
    net, (pixels,) = small_net(model, drop_path=0.1).eval(), small_inputs(model)
    net.image_mean.fill_(0.2)
    options = IMAGES | {"drop_path": 0.1}
    save_network(tmp_path / "n.safetensors", net, {"model": model, "size": [16, 2, 8], "options": options})
    assert torch.equal(load_network(tmp_path / "n.safetensors")[0](pixels), net(pixels))


class Task:
    """As much of a task as a masked step needs."""

    def __init__(self, model):
        self.model = model

    def build(self, size, seed=0):
        torch.manual_seed(seed)
        return MODELS.get(self.model).build(size, **IMAGES, drop_path=0.1)

    def batch(self, step):
        return small_inputs(self.model, seed=step)

    def loss(self, net, batch):
        return net(*batch).square().mean()


@models
def test_a_masked_step_trains_slices_and_leaves_no_template_out(model):
    plan, task, full = MODELS.get(model).plan(8), Task(model), Size(32, 3, 8)
    bank = TemplateBank.from_plan(plan, 4)
    net = WeiT(task.build(full), bank, plan)
    loss = MaskedLoss(net, task, Masks([16, 32], [1, 2], full))
    assert step_flops(net, loss) > 0
    loss(0).backward()
    assert all(p.grad is not None and p.grad.any() for p in bank.parameters())
    grown = {key: p.grad for key, p in net.free.items()}
    assert any(grad is not None and grad.any() for grad in grown.values())


def test_activation_checkpointing_is_refused():
    net, plan = small_net("vit"), MODELS.get("vit").plan(8)
    net.set_grad_checkpointing()
    with pytest.raises(UserError, match="switch its activation checkpointing off"):
        WeiT(net, TemplateBank.from_plan(plan, 2), plan)


@models
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_timms_checkpoints_are_adopted(model, kind, tmp_path):
    conv_mlp = model == "convnext" and kind == "pth"
    plain, path, (pixels,) = timms(model, conv_mlp=conv_mlp), tmp_path / f"model.{kind}", small_inputs(model)
    randomised(plain).eval()
    if kind == "safetensors":
        save_file(plain.state_dict(), path)
    else:
        torch.save({"model": plain.state_dict()}, path)
    told = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "input_size": [3, 8, 8]}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": told}))
    net, card = load_timm(path, head_dim=8, allow_pickle=kind == "pth")
    assert card["model"] == model and card["size"] == [16, 2, 8] and card["options"]["classes"] == 2
    x = torch.from_numpy(
        (pixels.numpy() / 255 - np.reshape(told["mean"], (3, 1, 1))) / np.reshape(told["std"], (3, 1, 1))
    )
    torch.testing.assert_close(net(pixels), plain(x.float()), rtol=1e-4, atol=1e-5)


def test_other_files_are_no_checkpoints(tmp_path):
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_timm(tmp_path / "none.safetensors")
    torch.save(small_net("vit"), tmp_path / "pickled.pth")
    with pytest.raises(UserError, match="is a pickle; give timm's"):
        load_timm(tmp_path / "pickled.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_timm(tmp_path / "pickled.pth", allow_pickle=True)
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"has no 'patch_embed\.proj\.weight'"):
        load_timm(tmp_path / "x.safetensors")
    other = VisionTransformer(8, 2, embed_dim=16, depth=1, num_heads=2, num_classes=3, init_values=1e-5)
    save_file(other.state_dict(), tmp_path / "ls.safetensors")
    with pytest.raises(UserError, match=r"another variant, blocks.0.ls1.gamma is \(16,\) there and None in ours"):
        load_timm(tmp_path / "ls.safetensors", head_dim=8)


def test_a_rule_of_ones_own_goes_before_the_plans():
    """Whoever wants the patch embedding composed says so in one rule."""
    own = Rule(r"patch_embed\.proj\.weight", "patch", (8, 3, 4, 4), 1, ("stream", FIXED, FIXED, FIXED))
    layout = Plan((own, *MODELS.get("vit").plan(8).rules)).layout(small_net("vit"))
    assert layout["patch_embed.proj.weight"].grid == (2, 1, 1, 1)
