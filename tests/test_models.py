"""Every policy: causal, blind to padding and to the action it predicts, complete in its checkpoint."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import OPTIONS, small_inputs, small_net

from weit_rl.agents.evaluation import WindowMemory, rollout
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.resize import resize
from weit_rl.core.slot_tensors import stack, unstack
from weit_rl.fitting.narrow_network import reconstruct
from weit_rl.fitting.width_reduction import bases_to_try
from weit_rl.models import BOTH, MODELS, models_of
from weit_rl.models.tcn import KERNEL
from weit_rl.options.model_words import POSITIONS, RTG
from weit_rl.tasks.control import Control
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.training.loop import OptimizerRecipe, fit

VARIANTS = [
    {"model": "dt", "rtg": rtg, "past_actions": past, "positions": positions}
    for rtg, past, positions in itertools.product(RTG, (False, True), POSITIONS)
    if (rtg, positions) != ("every", "none")
]
VARIANTS += [
    {"model": "dt", "attention": "band", "band": 2, "past_actions": False, "positions": "none", "rtg": "latest"}
]
SINGLE = [model for model in models_of("control") if model != "dt"]  # without tokens
VARIANTS += [{"model": model, "rtg": rtg, "past_actions": False} for model in SINGLE for rtg in ("latest", "none")]
variants = pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o.values())))


@variants
def test_no_step_sees_what_comes_later_nor_its_own_action(options):
    net, (obs, act, rtg, times) = small_net(**options), small_inputs(options["model"])
    before = net(obs, act, rtg, times)
    for changed in range(4):
        noisy = [x.clone() for x in (obs, act, rtg)]
        noisy[0][:, changed + 1 :] += 1  # bytes turn over
        noisy[1][:, changed:] += 1
        noisy[2][:, changed + 1 :] += 100
        after = net(*noisy, times)
        torch.testing.assert_close(after[:, : changed + 1], before[:, : changed + 1])
        later = torch.isclose(after, before).flatten(2).all(-1)[:, changed + 1 :]
        assert later.shape[1] == 3 - changed and not (later.numel() and later.all())


@variants
def test_a_padded_window_gives_what_the_short_one_gives(options):
    net, inputs = small_net(**options), small_inputs(options["model"])
    short = net(*[x[:, :2] for x in inputs])
    padded = [torch.cat([x[:, :2], torch.zeros_like(x[:, 2:])], dim=1) for x in inputs]
    torch.testing.assert_close(net(*padded)[:, :2], short)


@variants
def test_past_actions_and_returns_are_seen_only_as_tokens(options):
    net, (obs, act, rtg, times) = small_net(**options), small_inputs(options["model"])
    before = net(obs, act, rtg, times)[:, -1]
    other_act, other_rtg = act.clone(), rtg.clone()
    other_act[:, 0] += 1
    other_rtg[:, 0] += 500
    assert torch.allclose(net(obs, other_act, rtg, times)[:, -1], before) != options["past_actions"]
    assert torch.allclose(net(obs, act, other_rtg, times)[:, -1], before) == (options["rtg"] != "every")
    other_rtg[:, -1] += 500
    assert torch.allclose(net(obs, act, other_rtg, times)[:, -1], before) == (options["rtg"] == "none")


@variants
def test_widening_keeps_the_function_in_every_variant(options):
    plan, source = MODELS.get(options["model"]).plan(8), small_net(**options).double()
    for p in source.parameters():
        torch.nn.init.normal_(p, std=0.3)
    target = small_net(width=32, seed=3, **options).double()
    old, new = plan.layout(source), plan.layout(target)
    wide = unstack(resize(stack(dict(source.named_parameters()), old), old, new), new)
    target.load_state_dict({**target.state_dict(), **wide})
    inputs = [x.double() if x.is_floating_point() else x for x in small_inputs(options["model"])]
    torch.testing.assert_close(target(*inputs), source(*inputs), rtol=1e-5, atol=1e-5)


@variants
def test_a_checkpoint_alone_suffices_to_act(options, tmp_path):
    net = small_net(**options)
    net.target_return.fill_(777.0)
    net.observation_mean.normal_()
    own = {name: value for name, value in options.items() if name != "model"}
    card = {"model": options["model"], "size": [16, 2, 8], "env": "HalfCheetah"}
    card["options"] = OPTIONS[options["model"]] | own
    save_network(tmp_path / "net.safetensors", net, card)
    again, read = load_network(tmp_path / "net.safetensors")
    assert read["env"] == "HalfCheetah"
    assert float(again.target_return) == 777.0
    inputs = small_inputs(options["model"])
    assert torch.equal(again(*inputs), net(*inputs))


@pytest.mark.parametrize("wrong", [{"rtg": "never"}, {"positions": "world"}])
def test_unknown_options_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        small_net(**wrong)


@pytest.mark.parametrize("model", SINGLE)
@pytest.mark.parametrize("wrong", [{"rtg": "every"}, {"past_actions": True}, {"positions": "episode"}])
def test_options_that_need_tokens_are_refused_without_them(model, wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}=.* has .* only; leave"):
        small_net(model, **wrong)


@pytest.mark.parametrize("model", MODELS.names())
def test_a_composed_network_computes_as_the_plain_one(model):
    plan = MODELS.get(model).plan(8)
    bank = TemplateBank.from_plan(plan, rank=4)
    for width, depth in ((16, 2), (24, 3)):
        net = WeiT(small_net(model, width, depth), bank, plan)
        plain, inputs = net.materialize(), small_inputs(model)
        assert {key for key, slot in net.layout.items() if slot.rule.tile} == set(net.scalers)
        torch.testing.assert_close(net(*inputs), plain(*inputs))
        net(*inputs).sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in bank.parameters())
        bank.zero_grad()


@pytest.mark.parametrize("model", MODELS.names())
def test_a_narrower_network_can_be_fitted_to_a_wider_one(model):
    own = {"patch_size": 2} if model == "vit" else {}  # patches of noise of more numbers than it has channels are lost
    wide, plan, inputs = small_net(model, 32, **own), MODELS.get(model).plan(8), small_inputs(model, batch=300)
    for p in wide.parameters():
        torch.nn.init.normal_(p, std=0.15)
    wanted, before, errors = wide(*inputs), {name: p.clone() for name, p in wide.state_dict().items()}, []
    for basis in bases_to_try(wide, plan.layout(wide)):
        narrow = small_net(model, 16, seed=3, **own)
        assert reconstruct(wide, narrow, plan, lambda net: net(*inputs), 8, basis)
        errors.append((narrow(*inputs) - wanted).square().mean() / wanted.var())
        assert not any("_conv_forward" in vars(module) for net in (wide, narrow) for module in net.modules())
    # of random channels that go through a ReLU or scales half is lost
    assert min(errors) < (0.6 if model in ("conv", "dit") else 0.1)
    assert all(torch.equal(p, before[name]) for name, p in wide.state_dict().items())  # the source stays


def test_a_convolutions_templates_hold_its_kernel():
    bank = TemplateBank.from_plan(MODELS.get("tcn").plan(8), rank=4)
    assert bank.templates["far"].shape == bank.templates["near"].shape == (4, 8, 8, KERNEL)


@pytest.mark.parametrize(("depth", "context"), [(1, 5), (2, 20), (3, 30), (2, 21)])
def test_the_convolutions_cover_every_step_of_the_context(depth, context):
    net = small_net("tcn", depth=depth, context=context)
    observations, *rest = small_inputs(steps=context)
    observations.requires_grad_()
    net(observations, *rest)[:, -1].sum().backward()
    assert observations.grad.abs().sum(dim=(0, 2)).gt(0).all()


def test_the_mlp_sees_single_states_only():
    net, inputs = small_net("mlp"), small_inputs()
    assert net.context == 1
    torch.testing.assert_close(net(*inputs)[:, -1:], net(*[x[:, -1:] for x in inputs]))
    inputs[0][:, :-1] += 1
    torch.testing.assert_close(net(*inputs)[:, -1:], net(*[x[:, -1:] for x in inputs]))


@pytest.mark.parametrize("model", models_of("control"))
def test_every_model_learns_the_task(task, picture_task, both_task, model):
    task = {"states": task, "pictures": picture_task, BOTH: both_task}[MODELS.get(model).sees]
    task = Control(task.entry, task.trajectories, replace(task.config, model=model))
    net = task.build(Size(32, 2))
    before = task.validation_loss(net)
    fit(net, lambda step: task.loss(net, task.batch(step)), OptimizerRecipe(60, 3e-3))
    assert task.validation_loss(net) < 0.7 * before


class Line:
    """An environment of known rewards: the first observation entry is the step, it ends at ``length``."""

    def __init__(self, length, shape=(5,), kind=np.float32):
        self.length, self.shape, self.kind = length, shape, kind

    def reset(self, seed):
        self.t, self.actions = 0, []
        return np.zeros(self.shape, self.kind), {}

    def step(self, action):
        self.t += 1
        self.actions.append(action)
        return np.full(self.shape, self.t, self.kind), float(self.t), self.t == self.length, False, {}


@variants
def test_rollout_feeds_the_network_what_training_did(options):
    """Check that each action equals that of a fresh window cut by hand, for episodes of different lengths."""
    kinds = {"states": ((5,), np.float32), "pictures": ((9, 16, 16), np.uint8), BOTH: ((5 + 9 * 16 * 16,), np.float32)}
    seen = kinds[MODELS.get(options["model"]).sees]
    net, envs = small_net(**options).eval(), [Line(3, *seen), Line(9, *seen)]
    net.target_return.fill_(50.0)
    returns = rollout(net, envs, [0, 1])
    assert returns.tolist() == [6.0, 45.0]
    env = envs[1]
    assert (len(envs[0].actions), len(env.actions)) == (3, 9)
    obs = torch.arange(9.0).view(1, 9, *[1] * len(seen[0])).expand(1, 9, *seen[0])
    act = torch.from_numpy(np.stack(env.actions))[None]
    rtg = (50.0 - torch.cat([torch.zeros(1), torch.arange(1.0, 9.0).cumsum(0)]))[None]
    times = torch.arange(9)[None]
    for t in range(9):
        low = max(0, t - 3)
        with torch.no_grad():
            expected = net(*[x[:, low : t + 1] for x in (obs, act, rtg, times)])[0, -1]
        torch.testing.assert_close(torch.from_numpy(env.actions[t]), expected, rtol=1e-5, atol=1e-6)


def test_history_asks_for_the_target_return_first():
    net = small_net()
    net.target_return.fill_(9.0)
    history = WindowMemory(net, np.zeros((2, 5), np.float32), 12)
    assert history.window(torch.tensor([0, 1]))[2].tolist() == [[9.0], [9.0]]


def test_dropout_is_for_training_alone(task):
    net, inputs = small_net(dropout=0.5), small_inputs()
    assert not torch.equal(net(*inputs), net(*inputs))
    torch.testing.assert_close(net.eval()(*inputs), small_net()(*inputs))
    task = Control(task.entry, task.trajectories, replace(task.config, model_options={"dropout": 0.5}))
    net = task.build(Size(64, 2))
    assert task.validation_loss(net) == task.validation_loss(net)
    assert task.evaluate(net, 1, seed=0) == task.evaluate(net, 1, seed=0)
    assert net.training and not torch.equal(task.loss(net, task.batch(0)), task.loss(net, task.batch(0)))
