"""Structured masks: which sub-network a step trains, and that its loss is that of the network cut by hand."""

from collections import Counter

import pytest
import torch

from weit_rl.bank import TemplateBank
from weit_rl.constraints import CONSTRAINTS
from weit_rl.errors import UserError
from weit_rl.masks import Masks
from weit_rl.sizes import Size
from weit_rl.training.pretraining import MaskedLoss
from weit_rl.weit import WeiT

FULL = Size(64, 3)


def test_draws_depend_on_seed_and_step_alone():
    def draws(seed):
        return [str(Masks([32, 64], [1, 2, 3], FULL, seed).draw(step)) for step in range(40)]

    masks = Masks([32, 64], [1, 2, 3], FULL, seed=1)
    assert [str(masks.draw(step)) for step in reversed(range(40))][::-1] == draws(1)
    assert draws(1) != draws(2)


def test_draws_are_uniform_over_the_grid():
    masks, steps = Masks([32, 64], [1, 3], FULL), 8000
    counts = Counter(str(masks.draw(step)) for step in range(steps))
    assert set(counts) == {"32x1", "32x3", "64x1", "None"}  # None: the full network itself
    sigma = (steps * 0.25 * 0.75) ** 0.5
    assert all(abs(count - steps / 4) < 4 * sigma for count in counts.values())


@pytest.mark.parametrize(
    ("widths", "depths", "says"),
    [([], [1], "at least one of each"), ([32], [], "at least one of each"), ([96], [1], "96x1 is larger than"),
     ([32], [4], "32x4 is larger than"), ([48], [1], "multiple of head_dim"), ([32], [0], "size.depth=0")],
)  # fmt: skip
def test_grids_that_cannot_be_sampled_are_refused(widths, depths, says):
    with pytest.raises(UserError, match=says):
        Masks(widths, depths, FULL)


def cut(name, big, small):
    """The prefix of a parameter; a fused one is cut part by part."""
    parts = 3 if "qkv" in name else 2 if "modulate" in name else 1
    big = big.reshape(parts, -1, *big.shape[1:])
    for axis, length in enumerate((small.shape[0] // parts, *small.shape[1:]), start=1):
        big = big.narrow(axis, 0, length)
    return big.reshape(small.shape)


def cut_by_hand(net, task, size, layers):
    """A plain network of ``size`` out of the plain ``net``, from its ``layers``."""
    small = task.build(size)
    for name, parameter in small.named_parameters():
        for new, old in enumerate(layers):
            if name.startswith(f"blocks.{new}."):
                parameter.data = cut(name, net.get_parameter(name.replace(f".{new}.", f".{old}.", 1)), parameter)
                break
        else:
            parameter.data = cut(name, net.get_parameter(name), parameter)
    return small


@pytest.mark.parametrize("constraint", CONSTRAINTS.names())
@pytest.mark.parametrize(("size", "layers"), [(Size(32, 2), [0, 2]), (Size(64, 2), [0, 2]), (Size(32, 3), [0, 1, 2])])
def test_the_loss_is_that_of_the_full_network_and_of_the_one_cut_by_hand(task, constraint, size, layers):
    net = WeiT(task.build(FULL), TemplateBank.from_plan(task.plan, 4, constraint), task.plan)
    plain, batch = net.materialize(), task.batch(7)
    small = cut_by_hand(plain, task, size, layers)
    expected = task.loss(plain, batch) + task.loss(small, batch)
    loss = MaskedLoss(net, task, Masks([size.width], [size.depth], FULL))
    torch.testing.assert_close(loss(7), expected)


def test_without_masks_and_when_the_full_size_is_drawn_it_is_the_full_loss(task):
    net = WeiT(task.build(FULL), TemplateBank.from_plan(task.plan, 4), task.plan)
    expected = task.loss(net.materialize(), task.batch(3))
    for masks in (None, Masks([64], [3], FULL)):
        torch.testing.assert_close(MaskedLoss(net, task, masks)(3), expected)


def test_gradients_reach_templates_scalers_and_free_parameters(task):
    bank = TemplateBank.from_plan(task.plan, 4)
    net = WeiT(task.build(FULL), bank, task.plan)
    MaskedLoss(net, task, Masks([32], [2], FULL))(0).backward()
    for name, parameter in net.named_parameters():
        if not name.startswith("net."):  # placeholders
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_sub_network_alone_reaches_only_what_it_is_cut_from(task):
    net = WeiT(task.build(FULL), TemplateBank.from_plan(task.plan, 4), task.plan)
    loss = MaskedLoss(net, task, Masks([32], [2], FULL))
    (loss(0) - MaskedLoss(net, task, None)(0)).backward()
    grad = net.scalers["blocks.*.fc1.weight"].grad  # (layers, split, N, 16 x 4 tiles of the 256 x 64 weight)
    used = torch.zeros_like(grad, dtype=torch.bool)
    used[[0, 2], :, :, :8, :2] = True
    assert grad.shape[-2:] == (16, 4) and (grad[used] != 0).all() and grad[~used].abs().max() < 1e-6
