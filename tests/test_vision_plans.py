"""Plans of the models of images: whole, and of every size from one bank."""

import pytest
import torch
from conftest import IMAGES, small_inputs, small_net
from shared_vision import VISION, models, normalised, randomised, timms
from timm.models.vision_transformer import VisionTransformer

from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.core.resize import resize
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.core.slot_tensors import stack, unstack
from weit_rl.models import MODELS
from weit_rl.training.flops import step_flops
from weit_rl.training.pretraining import MaskedLoss


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
    """Check GRN too: its mean over channels stays if all are repeated equally often."""
    plan, source = MODELS.get(model).plan(8), randomised(small_net(model).double())
    target = small_net(model, 16 * ratio, seed=3).double()
    old, new = plan.layout(source), plan.layout(target)
    wide = unstack(resize(stack(dict(source.named_parameters()), old), old, new), new)
    target.load_state_dict(target.state_dict() | wide)
    inputs = small_inputs(model)
    torch.testing.assert_close(target(*inputs), source(*inputs), rtol=1e-5, atol=1e-5)
    assert source(*inputs).std() > 0.1


def test_the_composed_parameters_of_vit():
    layout = MODELS.get("vit").plan(8).layout(small_net("vit"))
    composed = {key: slot.rule.role for key, slot in layout.items() if slot.rule.tile}
    names = {"attn.qkv": "qkv", "attn.proj": "out", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}
    assert composed == {f"blocks.*.{name}.weight": role for name, role in names.items()}
    assert layout["blocks.*.attn.qkv.weight"].full_shape == (2, 3, 16, 16)
    assert layout["pos_embed"].rule.axes == layout["cls_token"].rule.axes == (FIXED, FIXED, "stream")


def test_each_stage_of_convnext_has_its_own_composed_parameters():
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


class Task:
    """A stand-in for a task, with what a masked step needs."""

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
    loss = MaskedLoss(net, task, SizeSampler([16, 32], [1, 2], full))
    assert step_flops(net, loss) > 0
    loss(0).backward()
    assert all(p.grad is not None and p.grad.any() for p in bank.parameters())
    grown = {key: p.grad for key, p in net.free.items()}
    assert any(grad is not None and grad.any() for grad in grown.values())


def test_activation_checkpointing_gives_the_same_gradients():
    plain, plan, grads = small_net("vit"), MODELS.get("vit").plan(8), []
    for saves in (False, True):
        plain.set_grad_checkpointing(saves)
        net = WeiT(plain, TemplateBank.from_plan(plan, 2), plan).eval()
        net(*small_inputs("vit")).square().sum().backward()
        grads.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*grads)


def test_a_rule_of_ones_own_goes_before_the_plans():
    """Check that one rule of the user's composes the patch embedding."""
    own = Rule(r"patch_embed\.proj\.weight", "patch", (8, 3, 4, 4), 1, ("stream", FIXED, FIXED, FIXED))
    layout = Plan((own, *MODELS.get("vit").plan(8).rules)).layout(small_net("vit"))
    assert layout["patch_embed.proj.weight"].grid == (2, 1, 1, 1)
