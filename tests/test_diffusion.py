"""The diffusion transformer and its task: what starts at zero, noise, label dropout, learning, sampling, every size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.data.images import Images
from weit_rl.data.images.parts import ImagesInMemory
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.models import MODELS
from weit_rl.tasks import diffusion
from weit_rl.tasks.diffusion import Diffusion, DiffusionConfig
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.loop import OptimizerRecipe, fit
from weit_rl.training.pretraining import MaskedLoss

diffusers = pytest.importorskip("diffusers", reason="needs the extra vision: pip install 'weit_rl[vision]'")

SMALL = Size(32, 1)
OPTIONS = {"image_size": 8, "channels": 3, "classes": 2}


def squares(count=64, seed=0):
    """Draw dark images with a bright half, left or right by the label."""
    rng = np.random.default_rng(seed)

    def part(n):
        labels = np.arange(n) % 2
        pixels = rng.integers(0, 40, (n, 1, 8, 8), dtype=np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[:, :, 4 * label : 4 * label + 4] += 200
        return ImagesInMemory(pixels, labels)

    return Images("squares", ("left", "right"), part(count), part(16), part(16), "none")


def task_of(**options):
    return Diffusion(squares(), DiffusionConfig(**{"batch_size": 16, **options}))


def fresh(width=16, depth=2):
    torch.manual_seed(0)
    return MODELS.get("dit").build(Size(width, depth, 8), **OPTIONS)


def test_the_fresh_output_is_zero_and_blocks_change_nothing():
    net, inputs = fresh(), small_inputs("dit")
    assert not net(*inputs).any()
    for block in net.transformer_blocks:
        assert not block.norm1.linear.weight.any() and not block.norm1.linear.bias.any()
        x = torch.randn(3, 16, 16)
        assert torch.equal(block(x, timestep=inputs[1], class_labels=inputs[2]), x)


def test_a_composed_network_starts_at_zero_with_nonzero_templates():
    plan, net = MODELS.get("dit").plan(8), fresh()
    bank = TemplateBank.from_plan(plan, 4)
    composed = WeiT(net, bank, plan)
    assert bank.templates["adaln"].any() and not composed.scalers["transformer_blocks.*.norm1.linear.weight"].any()
    assert not composed(*small_inputs("dit")).any()
    optimizer, (x, times, labels) = torch.optim.Adam(composed.parameters(), 1e-2), small_inputs("dit")
    for _ in range(4):  # the output wakes first, then the modulation, then what it lets through
        optimizer.zero_grad()
        F.mse_loss(composed(x, times, labels), x).backward()
        optimizer.step()
    assert all(template.grad.any() for template in bank.parameters())


def test_labels_are_dropped_by_no_block():
    net, inputs = small_net("dit").train(), small_inputs("dit", batch=64)
    assert torch.equal(net(*inputs), net(*inputs))
    x, times, labels = inputs
    assert not torch.allclose(net(x, times, labels), net(x, times, torch.full_like(labels, 2)))


def test_diffusers_own_class_reads_it_given_its_positions(tmp_path):
    ours, inputs = small_net("dit").eval(), small_inputs("dit")
    ours.save_pretrained(tmp_path)
    stock = diffusers.DiTTransformer2DModel.from_pretrained(tmp_path).eval()
    stock.pos_embed.pos_embed.copy_(ours.pos_embed.pos_embed.detach())
    x, times, labels = inputs
    torch.testing.assert_close(stock(x, times, labels).sample, ours(*inputs))


def test_roles_and_free_parameters():
    layout = MODELS.get("dit").plan(8).layout(fresh())
    roles = {slot.rule.role for slot in layout.values() if slot.rule.tile}
    assert roles == {"qkv", "out", "fc1", "fc2", "adaln", "adaln_out", "time1", "time2"}
    assert layout["transformer_blocks.*.norm1.linear.weight"].full_shape == (2, 6, 16, 16)


@pytest.mark.parametrize("options", [{}, {"flip": True}])
def test_a_step_always_has_the_same_batch(options):
    task, state = task_of(**options), torch.random.get_rng_state()
    batches = [task.batch(step) for step in range(5)]
    assert torch.equal(torch.random.get_rng_state(), state)
    again = task_of(**options).batch(3)
    assert all(torch.equal(again[name], batches[3][name]) for name in again)
    assert not torch.equal(batches[0]["noise"], batches[1]["noise"])


def test_images_are_noised_as_ddpm_does_and_labels_dropped_once():
    task = task_of(label_dropout=0.3, batch_size=64)
    batch, alphas = task.batch(0), task.scheduler.alphas_cumprod
    share = alphas[batch["timesteps"]].view(-1, 1, 1, 1)
    clean = (batch["images"] - (1 - share).sqrt() * batch["noise"]) / share.sqrt()
    known = {x.tobytes() for x in task.images.train.pixels}
    back = ((clean + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    near = batch["timesteps"] < 300
    assert near.sum() > 5 and all(x.numpy().tobytes() in known for x in back[near])
    assert float(alphas[-1]) < 1e-4 and 10 < int((batch["labels"] == 2).sum()) < 30


@pytest.mark.parametrize("timesteps", [2, 5, 20, 50, 300, 1000, 4000])
def test_the_last_step_leaves_no_image_however_many_there_are(timesteps):
    alphas = task_of(timesteps=timesteps, sampling_steps=1).scheduler.alphas_cumprod
    assert 0 < float(alphas[-1]) < 2e-3 and bool((alphas.diff() < 0).all())


def test_the_noise_of_1000_steps_is_that_of_ddpm():
    betas = task_of().scheduler.betas
    torch.testing.assert_close(betas, torch.linspace(1e-4, 0.02, 1000))


def test_it_learns_to_denoise():
    task = task_of(batch_size=32)
    net = task.build(SMALL)
    before = task.validation_loss(net)
    assert before == pytest.approx(1, abs=0.1)  # it says zero, and noise has variance 1
    fit(net, lambda step: task.loss(net, task.batch(step)), OptimizerRecipe(150, 1e-2, clip=1.0))
    after = task.evaluate(net)
    assert after["images"] == 16 and after["loss"] < 0.4 and task.validation_loss(net) < 0.4 * before
    assert task.sample(net, torch.arange(8) % 2, steps=3).float().std() > 40  # it has bright and dark, as its data


class Denoiser(torch.nn.Module):
    """Knows the one image of each label; without a label it says that there is no noise."""

    def __init__(self, images, alphas):
        super().__init__()
        self.images, self.alphas = images / 127.5 - 1, alphas

    def forward(self, x, times, labels):
        share, told = self.alphas[times].view(-1, 1, 1, 1), labels < len(self.images)
        noise = (x - share.sqrt() * self.images[labels.clamp_max(len(self.images) - 1)]) / (1 - share).sqrt()
        return noise * told.view(-1, 1, 1, 1)


def test_sampling_ends_at_the_image_that_was_asked_for():
    task, labels = task_of(), torch.tensor([1, 0, 1])
    images = torch.from_numpy(task.images.train.pixels[:2])
    net = Denoiser(images, task.scheduler.alphas_cumprod)
    drawn = task.sample(net, labels, steps=20, guidance=1)
    assert drawn.dtype == torch.uint8 and torch.equal(drawn, images[labels])
    assert torch.equal(task.sample(net, labels, steps=20, guidance=1, seed=0), drawn)
    other = task.sample(net, labels, steps=5, guidance=3)
    assert not torch.equal(other, task.sample(net, labels, steps=5, guidance=1))


def test_a_bank_is_pretrained_and_starts_another_size(tmp_path):
    task, full = task_of(batch_size=8, tile=16), Size(64, 2)
    bank = TemplateBank.from_plan(task.plan, 4)
    net = WeiT(task.build(full), bank, task.plan)
    fit(net, MaskedLoss(net, task, SizeSampler([32, 64], [1, 2], full)), OptimizerRecipe(3))
    bank.source = {f"own.{key}": value.detach() for key, value in net.own().items()}
    bank.card |= {"size": [64, 2, 32], "sizes_sampled": ["32x1", "64x2"]}
    source, size = TrainedSource(net.materialize(), bank), Size(96, 3)
    context = Context(task.plan, lambda net, step: task.loss(net, task.batch(step)), fit, OptimizerRecipe(2, None),
                      build=task.build, run=task.run)  # fmt: skip
    target = task.build(size)
    target.load_state_dict(INITIALIZERS.get("weit").make(source, target, context))
    save_network(tmp_path / "net.safetensors", target, task.card(size))
    again, card = load_network(tmp_path / "net.safetensors")
    assert card["classes"] == ["left", "right"] and task.evaluate(again) == task.evaluate(target)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "vit"}, "unknown model of diffusion 'vit'.*dit"),
        ({"label_dropout": 2.0}, "label_dropout=2.0: must be from 0 to 1"),
        ({"data_images": 65}, "data_images=65: squares has 64"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        task_of(**options)


def test_patches_must_tile_the_image():
    with pytest.raises(UserError, match="patch_size=3: does not divide images of 8 pixels"):
        MODELS.get("dit").build(SMALL, **OPTIONS, patch_size=3)
    with pytest.raises(UserError, match="unknown part of the images 'val'"):
        task_of().evaluate(torch.nn.Identity(), part="val")


def test_images_drawn_in_parts_equal_those_drawn_at_once(monkeypatch):
    task, net, labels = task_of(), fresh_of(task_of()), torch.arange(7) % 2
    whole = task.sample(net, labels, steps=3)
    monkeypatch.setattr(diffusion, "AT_ONCE", 3)
    assert torch.equal(task.sample(net, labels, steps=3), whole)


def test_a_few_held_out_images_are_of_all_classes(monkeypatch):
    images = squares()
    order = np.argsort(images.held_out.labels, kind="stable")  # as a folder of classes has them
    task = Diffusion(replace(images, held_out=images.held_out.subset(order)), DiffusionConfig(batch_size=16))
    monkeypatch.setattr(diffusion, "AT_ONCE", 4)
    seen, loss = [], task.loss
    task.loss = lambda net, batch: seen.append(batch["labels"]) or loss(net, batch)
    task.validation_loss(fresh_of(task), batches=1)
    assert len(seen) == 1 and set(seen[0].tolist()) == {0, 1}


def test_steps_that_would_divide_by_zero_and_guidance_that_was_not_learned_are_refused():
    task = task_of(timesteps=20, sampling_steps=5)
    for steps, says in ((20, "scheduler=dpmsolver\\+\\+ needs fewer"), (21, "the network was trained with 20")):
        with pytest.raises(UserError, match=says):
            task.sample(fresh_of(task), torch.tensor([0]), steps, scheduler="dpmsolver++")
    assert task.sample(fresh_of(task), torch.tensor([0]), 19, scheduler="dpmsolver++").float().std() > 0
    with pytest.raises(UserError, match="with label_dropout=0 nothing is learned without labels; give guidance=1"):
        task_of(label_dropout=0.0)
    task = task_of(label_dropout=0.0, guidance=1.0)
    with pytest.raises(UserError, match=r"guidance=2\.0: with label_dropout=0"):
        task.sample(fresh_of(task), torch.tensor([0]), 2, guidance=2.0)


def fresh_of(task):
    return task.build(SMALL, 0)
