"""LiGO: what its maps contain, what they tie together, where they start, and that training them helps."""

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.shared_axes import axes_of
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.fitting.growth_maps import Growth
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.initializers.ligo import ligo
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)


def random_net(**options):
    """Draw all parameters anew: a forgotten bias or norm would not show if it were 0 or 1."""
    net = small_net(**options).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return net


def grow(source, **size):
    target = small_net(**size, seed=5).double()
    return Growth(source, target, PLAN), target


def outputs(growth, source, target):
    target.load_state_dict(state_dict_of(target, growth(), source, PLAN))
    return target(*inputs())


def inputs():
    return [x.double() if x.is_floating_point() else x for x in small_inputs()]


@torch.no_grad()
def set_map(growth, name, old, indices):
    """Let the new entries along an axis copy these old ones."""
    growth.combinations[name].copy_(torch.eye(old)[indices])


def context(steps, loss=None, plan=PLAN):
    return Context(plan, loss, lambda *stage: fit(*stage), OptimizerRecipe(steps, None), head_dim=8)


@pytest.mark.parametrize(("width", "depth"), [(32, 2), (48, 2), (16, 2)])
def test_it_starts_as_the_source_at_integer_ratios(width, depth):
    source = random_net()
    growth, target = grow(source, width=width, depth=depth)
    torch.testing.assert_close(outputs(growth, source, target), source(*inputs()), rtol=1e-5, atol=1e-5)


def test_it_contains_stacking():
    source = random_net(depth=2)
    growth, _ = grow(source, depth=5)
    with torch.no_grad():
        for mix in growth.mixes.values():
            mix.copy_(torch.eye(2)[torch.arange(5) % 2])
    trained = stack_weights(source, PLAN)
    for key, weight in growth().items():
        wanted = trained[key][torch.arange(5) % 2] if growth.new[key].stacked else trained[key]
        torch.testing.assert_close(weight, wanted)


def test_it_contains_copying_of_any_neurons_and_heads():
    """Check Net2Net: neurons and heads copied unevenly, others in every block, the stream in another order."""
    source, generator = random_net(width=16), torch.Generator().manual_seed(3)
    growth, target = grow(source, width=32)
    neurons = torch.randint(64, (2, 1, 64), generator=generator)
    heads = torch.randint(2, (2, 1, 2), generator=generator)
    channels = (8 * heads.unsqueeze(-1) + torch.arange(8)).flatten(2).expand(-1, 3, -1)
    set_map(growth, "blocks.hidden", 64, neurons)
    set_map(growth, "blocks.heads", 16, channels)
    set_map(growth, "stream", 16, torch.randperm(16, generator=generator))
    torch.testing.assert_close(outputs(growth, source, target), source(*inputs()), rtol=1e-5, atol=1e-5)
    assert len(neurons[0].unique()) < 60 and not torch.equal(neurons[0], neurons[1])


def test_rows_of_the_depth_mix_sum_to_one_and_one_block_leads():
    growth, _ = grow(random_net(depth=2), depth=5)
    for mix in growth.mixes.values():
        torch.testing.assert_close(mix.sum(-1), torch.ones_like(mix[..., 0]))
        assert torch.equal(mix.argmax(-1), (torch.arange(5) % 2).expand(len(mix), -1))
        assert 0 < (mix - mix.round()).abs().max() < 0.1
    assert growth.mixes["blocks.*.qkv.weight"].shape == (3, 5, 2)  # q, k and v each have their own


def test_only_new_entries_are_combinations():
    """Check that without combinations the old block of a weight is the depth-mixed source, and the rest zero."""
    source = random_net()
    growth, _ = grow(source, width=40, depth=3)
    for combinations in growth.combinations.values():
        torch.nn.init.zeros_(combinations)
    weights = {key: weight.detach() for key, weight in growth().items()}
    for key, x in stack_weights(source, PLAN).items():
        if growth.new[key].stacked:
            x = mixed(growth.mixes[key].detach(), x)
        torch.testing.assert_close(weights[key][tuple(slice(n) for n in x.shape)], x)
        torch.testing.assert_close(weights[key].abs().sum(), x.abs().sum())


def mixed(mix, x):
    """Mix the depth by its definition: part s of block i is ``sum_j mix[s, i, j] x[j, s]``."""
    rows = [[sum(w * x[j, s] for j, w in enumerate(row)) for s, row in enumerate(rows)] for rows in mix.transpose(0, 1)]
    return torch.stack([torch.stack(row) for row in rows])


def changed(growth, name, part=None):
    """Return the slots that another map changes, and how much of each fused part (layers, split)."""
    before = growth()
    with torch.no_grad():
        growth.combinations[name][:, part if part is not None else slice(None)] += 0.1
    return {key: w != before[key] for key, w in growth().items() if not torch.equal(w, before[key])}


def test_what_reads_an_axis_goes_through_the_map_of_what_writes_it():
    growth, _ = grow(random_net(), width=32)
    for part in range(3):
        slots = changed(growth, "blocks.heads", part)
        assert set(slots) == {"blocks.*.qkv.weight", "blocks.*.qkv.bias"} | (
            {"blocks.*.out.weight"} if part == 2 else set()
        )
        assert slots["blocks.*.qkv.weight"].flatten(2).any(-1).tolist() == [[s == part for s in range(3)]] * 2
    assert set(changed(growth, "blocks.hidden")) == {f"blocks.*.{n}" for n in ("fc1.weight", "fc1.bias", "fc2.weight")}
    stream = {key for key, axes in axes_of(growth.new).items() if any(axis and axis.name == "stream" for axis in axes)}
    assert set(changed(growth, "stream")) == stream and "head.weight" in stream and "norm_in.bias" in stream


def test_blocks_have_maps_of_their_own_and_the_stream_one():
    growth, _ = grow(random_net(depth=2), width=24, depth=3)
    shapes = {name: tuple(c.shape) for name, c in growth.combinations.items()}
    assert shapes == {"stream": (1, 1, 8, 16), "blocks.heads": (3, 3, 8, 16), "blocks.hidden": (3, 1, 32, 64)}


def test_gradients_reach_every_map_and_nothing_else():
    source = random_net()
    growth, target = grow(source, width=24, depth=3)
    torch.func.functional_call(target, state_dict_of(target, growth(), source, PLAN), tuple(inputs())).sum().backward()
    for name, parameter in growth.named_parameters():
        assert parameter.grad.flatten(0, 1).flatten(1).any(1).all(), name
    assert all(p.grad is None for net in (source, target) for p in net.parameters())


def test_copies_have_unequal_shares():
    """Check the shares, since equal ones would stay equal for ever, above all after a stage of 0 steps."""
    growth, _ = grow(random_net(), width=32)
    for name in ("qkv", "out", "fc1", "fc2"):
        first, second = growth()[f"blocks.*.{name}.weight"].chunk(2, dim=-1)
        assert not torch.isclose(first, second).flatten(0, 2).all(0).any()


def test_its_steps_lower_the_loss_and_are_counted(task):
    source, target, grown, trained = (task.build(Size(*size, 8)) for size in ((16, 2), (24, 3), (24, 3), (24, 3)))
    loss, first = lambda net, step: task.loss(net, task.batch(step)), []
    fit(source, lambda step: loss(source, step), OptimizerRecipe(60, 3e-3))
    source.observation_mean.add_(0.5)  # a normaliser that the target does not have
    for net, steps in ((grown, 0), (trained, 40)):
        its = context(steps, lambda net, step: first.append(loss(net, step)) or first[-1], task.plan)
        net.load_state_dict(ligo(TrainedSource(source), target, its))
        assert its.spent["steps"] == steps and torch.equal(net.observation_mean, source.observation_mean)
    torch.testing.assert_close(first[0], loss(grown, 0))  # the stage begins where no steps end
    assert task.validation_loss(trained) < task.validation_loss(grown)


def test_equal_sizes_are_the_source():
    source, target = random_net(), small_net(seed=4).double()
    state = ligo(TrainedSource(source), target, context(0))
    assert all(torch.allclose(state[name], tensor) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize(("size", "way"), [({"width": 8}, "narrower"), ({"depth": 1}, "shallower")])
def test_smaller_targets_are_refused(size, way):
    with pytest.raises(UserError, match=f"init=ligo: .*{way}"):
        INITIALIZERS.get("ligo").check(TrainedSource(small_net()), small_net(**size), PLAN)
    INITIALIZERS.get("ligo").check(TrainedSource(small_net()), small_net(width=24, depth=3), PLAN)
