"""TLEG and SWS: the Kronecker form with special scalers, exact for a source of their form. The dense supernet."""

from functools import partial

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.core.resize import resize
from weit_rl.core.stacked_weights import stack_weights
from weit_rl.initializers import INITIALIZERS, Context, TrainedSource, supernet, sws, tleg
from weit_rl.kernels.reference import kronecker_sum as compose
from weit_rl.models import MODELS
from weit_rl.training.loop import OptimizerRecipe, fit

PLAN = MODELS.get("dt").plan(8)
PLAIN_LR = 3e-3  # the highest rate of plain weights and free parameters
CONTEXT = Context(PLAN, lambda net, step: net(*small_inputs()).square().mean(), fit, OptimizerRecipe(0, 1e-3))


def lines(depth):
    """Write (1, l / L) out."""
    return torch.tensor([[1.0, place / depth] for place in range(depth)], dtype=torch.float64)


def one_hot(depth, number=3):
    """Mark the stage in which the middle of each block lies."""
    return torch.tensor(
        [[float(int((place + 0.5) / depth * number) == stage) for stage in range(number)] for place in range(depth)],
        dtype=torch.float64,
    )


FORMS = {"tleg": lines, "sws": one_hot}


def network(depth, width=16, seed=0):
    net = small_net(width=width, depth=depth, seed=seed).double()
    for p in net.parameters():  # biases and norms away from 0 and 1, or a forgotten one would not show
        torch.nn.init.normal_(p, std=0.3)
    return net


def made(name, source, depth):
    target = network(depth, seed=9)
    target.load_state_dict(INITIALIZERS.get(name).make(TrainedSource(source), target, CONTEXT))
    return target


@pytest.mark.parametrize("depth", [1, 2, 4, 6, 9])
@pytest.mark.parametrize("name", FORMS)
def test_a_source_of_the_form_is_evaluated_exactly_at_any_depth(name, depth):
    source, form = network(6), FORMS[name]
    layout, templates = PLAN.layout(source), {}
    with torch.no_grad():
        for key, slot in layout.items():
            if slot.stacked:
                templates[key] = torch.randn(form(6).shape[1], *slot.shape, dtype=torch.float64)
                for scalers, name_ in zip(form(6), slot.names, strict=True):
                    source.get_parameter(name_).copy_(torch.tensordot(scalers, templates[key], 1))
    target = made(name, source, depth)
    for key, slot in PLAN.layout(target).items():
        for layer, name_ in enumerate(slot.names):
            kept = templates.get(key, source.state_dict().get(key))
            wanted = torch.tensordot(form(depth)[layer], kept, 1) if slot.stacked else kept
            torch.testing.assert_close(target.get_parameter(name_), wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(target.observation_mean, source.observation_mean)


@pytest.mark.parametrize("depth", [2, 5, 8])
@pytest.mark.parametrize("name", FORMS)
def test_it_is_the_kronecker_form_with_special_scalers(name, depth):
    source = network(5)
    old, new = stack_weights(source, PLAN), stack_weights(made(name, source, depth), PLAN)
    for key in (f"blocks.*.{role}.weight" for role in ("qkv", "out", "fc1", "fc2")):
        fitted = torch.linalg.lstsq(FORMS[name](5), old[key].flatten(1)).solution  # (templates, a whole weight)
        for part in range(old[key].shape[1]):
            templates = fitted.view(-1, *old[key].shape[1:])[:, part]
            weights = compose(FORMS[name](depth)[:, :, None, None], templates)
            torch.testing.assert_close(new[key][:, part], weights, rtol=1e-10, atol=1e-12)


def test_a_stage_is_the_mean_of_its_blocks_and_a_shallow_source_has_fewer():
    source = network(6)
    blocks = [block.fc1.weight for block in source.blocks]
    torch.testing.assert_close(made("sws", source, 3).blocks[1].fc1.weight, (blocks[2] + blocks[3]) / 2)
    two = network(2)
    for block, stage in zip(made("sws", two, 5).blocks, [0, 0, 1, 1, 1], strict=True):
        torch.testing.assert_close(block.fc2.weight, two.blocks[stage].fc2.weight)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("width", "way"), [(24, "wider"), (8, "narrower")])
def test_other_widths_are_refused(name, width, way):
    check = INITIALIZERS.get(name).check
    check(TrainedSource(network(2)), network(7), PLAN)
    with pytest.raises(UserError, match=f"init={name}: not defined for a target {way}"):
        check(TrainedSource(network(2)), network(2, width), PLAN)
    with pytest.raises(UserError, match=f"init={name} needs a trained network"):
        check(None, network(2), PLAN)


# --- the supernet


def pretrained(constraint):
    bank, net = TemplateBank.from_plan(PLAN, 4, constraint), small_net(width=32)
    bank.source = {f"own.{k}": v.detach() for k, v in WeiT(net, bank, PLAN).own().items()}
    return TrainedSource(network_of_size(bank, net, net, PLAN).materialize(), bank)


def test_the_supernet_is_the_resize_of_its_dense_weights():
    source, target = pretrained("identity"), small_net(width=16, depth=3, seed=5)
    INITIALIZERS.get("supernet").check(source, target, PLAN)
    target.load_state_dict(INITIALIZERS.get("supernet").make(source, target, CONTEXT))
    layouts = PLAN.layout(source.net), PLAN.layout(target)
    wanted = resize(stack_weights(source.net, PLAN), *layouts)
    for key, weight in stack_weights(target, PLAN).items():
        assert torch.equal(weight, wanted[key])


def test_its_stage_trains_every_weight_at_the_rate_of_plain_ones():
    source, target = pretrained("identity"), small_net(width=16, seed=5)
    make = partial(INITIALIZERS.get("supernet").make, stage="scalers")
    start = make(source, target, CONTEXT)
    trained = make(source, target, Context(PLAN, CONTEXT.loss, fit, OptimizerRecipe(3, 1e-2, warmup=0)))
    for name, _ in target.named_parameters():
        if "modulate.weight" not in name:  # times a return-to-go that is hardly above 0
            assert (start[name] != trained[name]).any(), name
        assert (start[name] - trained[name]).abs().max() < 3.5 * PLAIN_LR, name


@pytest.mark.parametrize(
    ("init", "constraint", "rate_of_scalers"), [("supernet", "identity", PLAIN_LR), ("weit", "kronecker", 1e-2)]
)
def test_scalers_alone_are_trained_at_a_higher_rate(init, constraint, rate_of_scalers):
    rates = []

    def fit(module, loss, recipe, groups):
        rates.extend((group["lr"], group["weight_decay"]) for group in groups)
        return module

    context = Context(PLAN, CONTEXT.loss, fit, OptimizerRecipe(3, 1e-2), head_dim=8)
    INITIALIZERS.get(init).make(pretrained(constraint), small_net(width=16, seed=5), context, stage="scalers")
    assert rates == [(rate_of_scalers, 0.0), (PLAIN_LR, 0.0)]


@pytest.mark.parametrize(
    ("source", "says"),
    [(lambda: pretrained("kronecker"), "this bank is of constraint kronecker"), (lambda: None, "there is no bank"),
     (lambda: TrainedSource(small_net()), "there is no bank")],
)  # fmt: skip
def test_the_supernet_needs_a_bank_without_templates(source, says):
    with pytest.raises(UserError, match=says):
        supernet.check(source(), small_net(), PLAN)


def test_the_scalers_here_are_those_of_the_modules():
    for depth in (1, 3, 4, 7):
        assert torch.equal(tleg.line(5, depth)[1], lines(depth))
        assert torch.equal(sws.stages(5, depth)[1], one_hot(depth))
