"""Structured pruning: the masks, that masking is slicing, the exact shape, the way there, the domains."""

import itertools
import math
from functools import partial

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.plan import FIXED, Plan, Rule
from weit_rl.core.stacked_weights import stack_weights, state_dict_of
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.initializers.pruning import groups, pruning
from weit_rl.initializers.structured_pruning.domain_weights import domain_weights
from weit_rl.initializers.structured_pruning.hard_concrete import probability_kept, sample, typical
from weit_rl.initializers.structured_pruning.masked_network import MaskedNetwork
from weit_rl.initializers.structured_pruning.pruner import Pruner
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)
FULL = {"width": 32, "depth": 4}
SHAPES = [(16, 2), (24, 3), (8, 1), (32, 2), (24, 4), (32, 4)]


def random_net(**options):
    """Draw all parameters anew: a forgotten bias or norm would not show if it were 0 or 1."""
    net = small_net(**options)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return net


def layer_weights(net):
    return [torch.stack([getattr(b, name).weight for b in net.blocks]) for name in ("qkv", "out", "fc1", "fc2")]


def loss(net, step, model="dt"):
    return net(*small_inputs(model, seed=step)).square().mean()


def context(steps, plan=PLAN, loss=loss):
    return Context(plan, loss, lambda *stage: fit(*stage), OptimizerRecipe(steps, None), head_dim=8)


def pruner_to(width, depth, source=None, seed=0, model="dt"):
    domains = (partial(loss, model=model),)
    source, target = source or random_net(model=model, **FULL), small_net(model, width, depth, seed=5)
    return Pruner(source, target, MODELS.get(model).plan(8), 8, domains, seed), source, target


def test_the_expected_norm_matches_draws():
    scores = torch.linspace(-4, 4, 9)
    draws = sample(scores.expand(20_000, -1), torch.Generator().manual_seed(0))
    torch.testing.assert_close((draws > 0).float().mean(0), probability_kept(scores), rtol=0, atol=0.01)
    torch.testing.assert_close((draws < 1).float().mean(0), probability_kept(-scores), rtol=0, atol=0.01)  # symmetric
    torch.testing.assert_close(draws.median(0).values, typical(scores), rtol=0, atol=0.03)
    assert draws.min() == 0 and draws.max() == 1
    assert float(probability_kept(torch.tensor(0.0))) == pytest.approx(0.8318, abs=1e-4)


def masking_cases():
    """Yield every model, folding and shape; one shape of each pair is quick, another from pair to pair."""
    for (i, model), fold, (j, shape) in itertools.product(enumerate(MODELS.names()), (False, True), enumerate(SHAPES)):
        quick = j == (i + 3 * fold) % len(SHAPES)
        yield pytest.param(model, fold, *shape, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("model", "fold", "width", "depth"), list(masking_cases()))
def test_a_masked_network_computes_as_the_sliced_one(model, fold, width, depth):
    """Check random masks of 0 and 1, as many as the target has units, other ones in every block."""
    pruner, source, target = pruner_to(width, depth, model=model)
    generator = torch.Generator().manual_seed(3)
    for key, scores in pruner.scores.items():
        ranks = torch.rand(scores.shape, generator=generator).argsort(1).argsort(1)
        if key == "transformer_blocks.":  # diffusers' output asks the first block what time it is
            ranks[:, 0] = -1
            ranks = ranks.argsort(1).argsort(1)
        scores.data = torch.where(ranks < pruner.kinds[key].count, 6.0, -6.0)
    target.load_state_dict(state_dict_of(target, pruner.sliced(fold), source, MODELS.get(model).plan(8)))
    masks = {key: typical(scores) for key, scores in pruner.scores.items()}
    assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks.values())
    inputs = small_inputs(model)
    near = {"rtol": 1e-5, "atol": 1e-5 * max(1.0, float(source(*inputs).detach().abs().max()))}
    torch.testing.assert_close(pruner.run(masks)(*inputs), target(*inputs), **near)
    torch.testing.assert_close(pruner.run({})(*inputs), source(*inputs), **near)
    assert (width, depth) == (32, 4) or not torch.allclose(target(*inputs), source(*inputs), atol=1e-2)


def test_a_norm_without_parameters_is_masked_too():
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 16), torch.nn.LayerNorm(16, elementwise_affine=False), torch.nn.Linear(16, 2)
    )
    rules = (Rule("0.weight", "in", axes=("stream", FIXED)), Rule("0.bias", "in", axes=("stream",)))
    head = (Rule("2.weight", "head", axes=(FIXED, "stream"), fan_in=1), Rule("2.bias", "head", axes=(FIXED,)))
    plan, x = Plan((*rules, *head)), torch.randn(5, 3)
    mask = torch.arange(16) % 3 == 0
    masked = MaskedNetwork(net, plan).run(stack_weights(net, plan), {"stream": mask.float().unsqueeze(0)})(x)
    normed = torch.nn.functional.layer_norm(net[0](x)[:, mask], (6,))
    torch.testing.assert_close(masked, normed @ net[2].weight[:, mask].T + net[2].bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "depth"), SHAPES)
@pytest.mark.parametrize("steps", [0, 3])
def test_the_shape_is_reached_exactly(width, depth, steps):
    did, target = context(steps), small_net(width=width, depth=depth, seed=5)
    source = random_net(**FULL)
    target.load_state_dict(pruning(TrainedSource(source), target, did))
    assert did.spent["steps"] == steps and target(*small_inputs()).isfinite().all()
    same = [torch.isin(new, old).all() for new, old in zip(layer_weights(target), layer_weights(source), strict=True)]
    assert all(same) == (steps == 0)  # before any step nothing is folded into what stays


def test_without_steps_the_largest_units_stay_as_they_are():
    wide, target = random_net(**FULL), small_net(width=16, depth=4, seed=5)
    with torch.no_grad():
        for block in wide.blocks:
            block.fc1.weight[1::2] *= 100
            block.out.weight[:, 8:24] *= 100
        wide.embed_time.weight[:, 16:] *= 1e6
    target.load_state_dict(pruning(TrainedSource(wide), target, context(0)))
    for block, old in zip(target.blocks, wide.blocks, strict=True):
        assert torch.equal(block.fc1.weight, old.fc1.weight[1::2, 16:])
        assert torch.equal(block.out.weight, old.out.weight[16:, 8:24])
    shallow = small_net(width=32, depth=2)
    shallow.load_state_dict(pruning(TrainedSource(wide), shallow, context(0)))
    for block, index in zip(shallow.blocks, (0, 3), strict=True):  # blocks: evenly spaced
        assert torch.equal(block.fc1.weight, wide.blocks[index].fc1.weight)


def test_the_stage_reaches_the_sparsity_and_lowers_the_loss(task):
    source, of_step = task.build(Size(32, 4, 8)), lambda net, step: task.loss(net, task.batch(step))
    fit(source, lambda step: of_step(source, step), OptimizerRecipe(60, 3e-3))
    target, losses, pruners = task.build(Size(16, 2, 8), seed=1), [], []
    for steps in (0, 80):
        did = context(steps, task.plan, of_step)
        did.fit = lambda module, *stage: (pruners.append(module), fit(module, *stage))
        target.load_state_dict(pruning(TrainedSource(source), target, did))
        losses.append(task.validation_loss(target))
    for before, after in zip(*(pruner.sparsity().values() for pruner in pruners), strict=True):
        assert (before < 0.25).all() and ((after - 0.5).abs() < 0.1).all()  # every kind is halved, in every block
    assert len(pruners[0].scores) == 4 and losses[1] < losses[0]


def test_multipliers_go_uphill_and_weights_downhill():
    pruner, *_ = pruner_to(16, 2)
    before = pruner.loss(0, 9).item()
    fit(pruner, lambda step: pruner.loss(0, 9), OptimizerRecipe(1, 1e-4, warmup=0), groups(pruner))
    for key, gap in pruner.sparsity().items():  # nothing is asked for yet, so any sparsity is too much
        assert (gap > 0).all() and (pruner.first[key] > 0).all() and (pruner.second[key] > 100).all()
        pruner.first[key].data.fill_(0.0)
        pruner.second[key].data.fill_(100.0)
    assert pruner.loss(0, 9).item() < before


def test_a_stage_resumes_from_its_state_alone():
    """Check that the state holds all that matters and no more; draws come from the step's number and the seed."""
    pruner, source, _ = pruner_to(16, 2)
    fit(pruner, lambda step: pruner.loss(step, 12), OptimizerRecipe(12, 1e-3), groups(pruner))
    fresh, seeded = pruner_to(16, 2, source)[0], pruner_to(16, 2, source, seed=1)[0]
    for other in (fresh, seeded):
        other.load_state_dict(pruner.state_dict())
    assert fresh.loss(7, 12).item() == pruner.loss(7, 12).item() != seeded.loss(7, 12).item()
    assert not any("net" in name for name in pruner.state_dict())


def test_domain_weights_by_hand():
    grown = domain_weights(
        torch.tensor([0.5, 0.25, 0.25]), torch.tensor([1.0, 2.0, 0.1]), torch.tensor([1.0, 1.0, 1.0])
    )
    total = 0.5 + 0.25 * math.e + 0.25  # the third is ahead of its reference, which counts as level
    torch.testing.assert_close(grown, torch.tensor([0.5, 0.25 * math.e, 0.25]) / total)


@pytest.mark.parametrize(("steps", "share"), [(9, 0.5), (10, math.e / (1 + math.e))])
def test_a_lagging_domain_gets_more_weight(steps, share):
    """Check two domains, of which one loses 1 by pruning and the other nothing."""
    lags = lambda net, step: 0 * loss(net, step) + (1.0 if isinstance(net, torch.nn.Module) else 2.0)  # noqa: E731
    did, seen = context(steps), []
    did.domains = [lambda net, step: 0 * loss(net, step) + 3.0, lags]
    did.fit = lambda module, *stage: (seen.append(module), fit(module, *stage))
    pruning(TrainedSource(random_net(**FULL)), small_net(width=16), did)
    assert float(seen[0].proportions[1]) == pytest.approx(share, rel=1e-5)


@pytest.mark.parametrize(("size", "way"), [((40, 4), "wider"), ((16, 5), "deeper")])
def test_larger_targets_are_refused(size, way):
    check = INITIALIZERS.get("pruning").check
    with pytest.raises(UserError, match=f"init=pruning: .*{way}"):
        check(TrainedSource(small_net(**FULL)), small_net(width=size[0], depth=size[1]), PLAN)
    check(TrainedSource(small_net(**FULL)), small_net(width=16, depth=2), PLAN)


def test_masks_lie_where_the_network_does():
    masked = MaskedNetwork(small_net(width=16).to("meta"), PLAN)
    buffers = dict(masked.net.named_buffers())
    kept = [buffer for name, buffer in buffers.items() if name.endswith("keep")]
    assert len(kept) > 2 and all(buffer.is_meta for buffer in kept)
