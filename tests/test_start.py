"""Starts of a new size: the paths from a bank, and the choice between them."""

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import candidate_starts, network_of_size
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource
from weit_rl.initializers._shared.narrow_start import is_far, narrower
from weit_rl.initializers.svd_bank import factorise
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)
FULL = {"width": 32, "depth": 2}


@pytest.fixture
def bank():
    """Return a bank of a 32 x 2 network that also sampled widths 16 and 24."""
    bank = TemplateBank.from_plan(PLAN, rank=6)
    bank.source = {f"own.{k}": v.detach() for k, v in WeiT(small_net(**FULL), bank, PLAN).own().items()}
    bank.card |= {"size": [32, 2, 8], "sizes_sampled": ["16x1", "16x2", "24x2", "32x2"]}
    return bank


def of_width(bank, width, depth=2):
    return network_of_size(bank, small_net(**FULL), small_net(width=width, depth=depth, seed=3), PLAN)


@pytest.mark.parametrize(("width", "ways"), [(8, 1), (16, 1), (24, 2), (32, 3), (48, 3)])
def test_a_sampled_width_is_a_way_to_anything_wider(bank, width, ways):
    nets = candidate_starts(bank, small_net(**FULL), small_net(width=width, depth=3, seed=3), PLAN)
    assert len(nets) == ways
    for key, weight in nets[0].compose().items():  # the first way is the straight one
        torch.testing.assert_close(weight, of_width(bank, width, 3).compose()[key])


def test_widening_from_a_divisor_keeps_its_function(bank):
    _, through, _ = candidate_starts(bank, small_net(**FULL), small_net(width=48, seed=3), PLAN)
    inputs = small_inputs()
    torch.testing.assert_close(through(*inputs), of_width(bank, 16)(*inputs), rtol=1e-5, atol=1e-5)


def test_a_bank_without_sizes_on_its_card_has_one_way(bank):
    bank.card = {"constraint": "kronecker"}
    assert len(candidate_starts(bank, small_net(**FULL), small_net(width=48, seed=3), PLAN)) == 1


@pytest.mark.parametrize("best", [16, 24, 32])
def test_weit_begins_at_the_start_of_lowest_loss(bank, best):
    """Check with a loss that is the distance to one width's own network: the start through that width must win."""
    inputs = small_inputs()
    wanted = of_width(bank, best)(*inputs).detach()
    target = small_net(width=96, seed=3)  # 16, 24 and 32 all divide it
    context = Context(
        plan=PLAN,
        loss=lambda net, step: ((net(*inputs) - wanted) ** 2).mean(),
        fit=lambda *stage: fit(*stage),
        recipe=OptimizerRecipe(0, None),
    )
    source = TrainedSource(network_of_size(bank, small_net(**FULL), small_net(**FULL), PLAN).materialize(), bank)
    target.load_state_dict(INITIALIZERS.get("weit").make(source, target, context))
    torch.testing.assert_close(target(*inputs), wanted, rtol=1e-5, atol=1e-5)


def started(net, bank, scalers):
    """Return the composed network of the bank's own size that ``init=weit`` starts to train."""
    trained = []
    context = Context(PLAN, loss, lambda module, *_: trained.append(module), OptimizerRecipe(5, None), head_dim=8)
    target = small_net(width=16, depth=4, seed=3)
    INITIALIZERS.get("weit").make(TrainedSource(net, bank), target, context, scalers=scalers, stage="scalers")
    return trained[0]


def loss(net, step):
    return net(*small_inputs()).square().mean()


@pytest.mark.parametrize(
    ("scalers", "kept", "on_a_line", "alike", "mean"),
    [
        ("trained", True, False, False, True),
        ("linear", False, True, False, True),
        ("identical", False, True, True, True),
        ("random", False, False, False, False),
    ],
)
def test_controls_keep_less_and_less_of_the_trained_scalers(scalers, kept, on_a_line, alike, mean):
    net = small_net(width=16, depth=4)
    bank = factorise(net, PLAN, 8)
    begun = started(net, bank, scalers)
    for key, parameter in begun.scalers.items():
        before, after = bank.source[f"own.{key}"], parameter.detach()
        assert after.shape == before.shape and torch.equal(before, after) == kept
        steps = after.diff(dim=0)
        assert torch.allclose(steps[1:], steps[:-1], atol=1e-6) == on_a_line
        assert (steps.abs().max() < 1e-6) == alike
        assert torch.allclose(after.mean(0), before.mean(0), rtol=1e-4, atol=1e-5) == mean
    assert all(torch.equal(free, bank.source[f"own.{key}"]) for key, free in begun.free.items())
    assert all(torch.equal(begun.bank.templates[role], bank.templates[role]) for role in bank.roles())


@pytest.mark.parametrize(
    ("have", "fresh", "narrow", "far"),
    [(2.1, 9.0, False, True), (1.9, 2.0, False, False), (1.9, 2.0, True, True), (1.4, 2.0, True, False)],
)
def test_a_narrow_start_nearer_to_a_fresh_network_is_far(have, fresh, narrow, far):
    losses = {"net": have, "best": 1.0, "fresh": fresh}
    assert is_far("net", "best", "fresh", losses.get, narrow) is far


@pytest.mark.parametrize(("width", "narrow"), [(8, True), (16, False), (24, False), (48, False)])
def test_narrower_than_any_sampled(bank, width, narrow):
    assert narrower(bank, PLAN.layout(small_net(width=width))) is narrow
    bank.card = {}
    assert not narrower(bank, PLAN.layout(small_net(width=width)))


@pytest.mark.parametrize(("fresh", "whole"), [(1.6, True), (9.0, False)])
def test_a_narrow_start_near_chance_trains_all_weights(bank, fresh, whole):
    source = TrainedSource(of_width(bank, 32).materialize(), bank)
    target, inputs, seen = small_net(width=8), small_inputs(), []

    def loss(net, step):  # less than twice that of the bank's network, 1, for what is made of it
        output = net(*inputs).square().mean()
        return output - output.detach() + (1.5 if isinstance(net, WeiT) else fresh if net is target else 1.0)

    def fit(module, *stage):
        seen.append(isinstance(module, WeiT))
        return module

    INITIALIZERS.get("weit").make(source, target, Context(PLAN, loss, fit, OptimizerRecipe(5, None), head_dim=8))
    assert seen == [not whole]


@pytest.mark.parametrize(("stage", "far", "new", "whole"), [
    ("auto", True, False, True), ("auto", False, False, False), ("all", False, False, True),
    ("scalers", True, False, False), ("auto", False, True, False)])  # fmt: skip
def test_a_far_start_trains_all_weights(bank, stage, far, new, whole):
    bank.card["new_body"] = new
    source = TrainedSource(of_width(bank, 32).materialize(), bank)
    templates = {role: t.detach().clone() for role, t in bank.templates.items()}
    inputs, seen = small_inputs(), []

    def loss(net, step):  # the bank's own network has the loss 1, what is wider that of a far or a near start
        output = net(*inputs).square().mean()
        wider = len(net.head.weight[0]) if hasattr(net, "head") else net.net.head.weight.shape[1]
        return output - output.detach() + (3.0 if far and wider != 32 else 1.0)

    def fit(module, loss, recipe, groups):
        seen.append((isinstance(module, WeiT), recipe.lr))
        return module

    context = Context(PLAN, loss, fit, OptimizerRecipe(5, None), head_dim=8)
    INITIALIZERS.get("weit").make(source, small_net(width=48), context, stage=stage)
    usual = 1e-2 if (far or new) and not whole else 3e-3
    assert seen == [(not whole, pytest.approx(usual * 32 / 48))]  # wider than anything sampled: slower
    assert all(torch.equal(bank.templates[role], t) for role, t in templates.items())
    with pytest.raises(UserError, match="unknown stage"):
        INITIALIZERS.get("weit").make(source, small_net(width=48), context, stage="al")
