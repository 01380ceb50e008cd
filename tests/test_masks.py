"""Structured masks: the sub-network a step trains has the loss of the network cut by hand."""

from collections import Counter

import pytest
import torch

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.size_sampler import SAMPLING_RULES, SizeSampler
from weit_rl.training.pretraining import MaskedLoss

FULL = Size(64, 3)


@pytest.mark.parametrize("rule", SAMPLING_RULES.names())
def test_draws_depend_on_seed_and_step_alone(rule):
    def draws(seed):
        return [list(map(str, SizeSampler([32, 64], [1, 2, 3], FULL, seed, rule).draw(step))) for step in range(40)]

    masks = SizeSampler([32, 64], [1, 2, 3], FULL, 1, rule)
    assert [list(map(str, masks.draw(step))) for step in reversed(range(40))][::-1] == draws(1)
    assert (draws(1) == draws(2)) == (rule == "none")


@pytest.mark.parametrize(
    ("rule", "always", "share"), [("drawn", 0, 2 / 4), ("one", 0, 1 / 4), ("full", 1, 1 / 4), ("none", 1, 0)]
)
def test_every_size_of_the_grid_is_drawn_equally_often(rule, always, share):
    masks, steps = SizeSampler([32, 64], [1, 3], FULL, rule=rule), 4000
    draws = [masks.draw(step) for step in range(steps)]
    assert all(len(set(sizes)) == len(sizes) for sizes in draws)
    counts = Counter(str(size) for sizes in draws for size in sizes)
    if always:
        assert counts.pop(str(FULL)) == steps
    sigma = (steps * share * (1 - share)) ** 0.5
    assert len(counts) == (0 if rule == "none" else 4 - always)
    assert all(abs(count - steps * share) < 4 * sigma for count in counts.values())


def test_a_grid_of_one_size_is_trained_alone():
    assert SizeSampler([32], [2], FULL).draw(0) == [Size(32, 2)]


@pytest.mark.parametrize(
    ("widths", "depths", "says"),
    [([], [1], "at least one of each"), ([32], [], "at least one of each"), ([96], [1], "96x1 is larger than"),
     ([32], [4], "32x4 is larger than"), ([48], [1], "multiple of head_dim"), ([32], [0], "size.depth=0")],
)  # fmt: skip
def test_grids_that_cannot_be_sampled_are_refused(widths, depths, says):
    with pytest.raises(UserError, match=says):
        SizeSampler(widths, depths, FULL)


def cut(name, big, small):
    """Return the prefix of a parameter; a fused one is cut part by part."""
    parts = 3 if "qkv" in name else 2 if "modulate" in name else 1
    big = big.reshape(parts, -1, *big.shape[1:])
    for axis, length in enumerate((small.shape[0] // parts, *small.shape[1:]), start=1):
        big = big.narrow(axis, 0, length)
    return big.reshape(small.shape)


def cut_by_hand(net, task, size, layers):
    """Cut a plain network of ``size`` out of the plain ``net``, from its ``layers``."""
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
def test_the_loss_is_that_of_the_networks_cut_by_hand(task, constraint, size, layers):
    net = WeiT(task.build(FULL), TemplateBank.from_plan(task.plan, 4, constraint), task.plan)
    plain, batch = net.materialize(), task.batch(7)
    small = cut_by_hand(plain, task, size, layers)
    loss = MaskedLoss(net, task, SizeSampler([size.width], [size.depth], FULL))
    torch.testing.assert_close(loss(7), task.loss(small, batch))
    both = MaskedLoss(net, task, SizeSampler([size.width], [size.depth], FULL, rule="full"))
    torch.testing.assert_close(both(7), task.loss(plain, batch) + task.loss(small, batch))


def test_without_masks_and_when_the_full_size_is_drawn_it_is_the_full_loss(task):
    net = WeiT(task.build(FULL), TemplateBank.from_plan(task.plan, 4), task.plan)
    expected = task.loss(net.materialize(), task.batch(3))
    for masks in (
        SizeSampler([32], [1], FULL, rule="none"),
        SizeSampler([64], [3], FULL, rule="full"),
        SizeSampler([64], [3], FULL),
    ):
        torch.testing.assert_close(MaskedLoss(net, task, masks)(3), expected)


def test_gradients_reach_templates_scalers_and_free_parameters(task):
    bank = TemplateBank.from_plan(task.plan, 4)
    net = WeiT(task.build(FULL), bank, task.plan)
    MaskedLoss(net, task, SizeSampler([32, 64], [2], FULL))(0).backward()
    for name, parameter in net.named_parameters():
        if not name.startswith("net."):  # placeholders
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_sub_network_alone_reaches_only_what_it_is_cut_from(task):
    net = WeiT(task.build(FULL), TemplateBank.from_plan(task.plan, 4), task.plan)
    MaskedLoss(net, task, SizeSampler([32], [2], FULL))(0).backward()
    grad = net.scalers["blocks.*.fc1.weight"].grad  # (layers, split, N, 16 x 4 tiles of the 256 x 64 weight)
    used = torch.zeros_like(grad, dtype=torch.bool)
    used[[0, 2], :, :, :8, :2] = True
    assert grad.shape[-2:] == (16, 4) and (grad[used] != 0).all() and not grad[~used].any()


def test_a_size_that_is_named_twice_is_one():
    masks = SizeSampler([16, 16, 32], [1, 1], Size(32, 1, 16))
    assert len(masks.sizes) == 2 and all(len(set(masks.draw(step))) == 2 for step in range(9))
