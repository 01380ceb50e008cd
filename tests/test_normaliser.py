"""The observation normaliser: constant entries, rare values, data of any scale, and older networks."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import made_up, small_inputs, small_net

from weit_rl.agents.running_statistics import ScaledObservations
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.normaliser import CLIP, LIMIT, MEAN, STD, renew_normaliser
from weit_rl.data import Trajectories
from weit_rl.data.constant_columns import constant, spans
from weit_rl.envs.registry import env_entry
from weit_rl.models.shipped_banks import BANKS
from weit_rl.storage.tensor_file import write_tensors
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.checkpoint import NETWORK, load_network, save_network
from weit_rl.training.loop import OptimizerRecipe, fit
from weit_rl.workflows.data_remarks import print_remarks
from weit_rl.workflows.pretrain_run import source_tensors
from weit_rl.workflows.run_setup import bank_network, bank_of
from weit_rl.workflows.source_network import network_at

HALFCHEETAH, SIZE, MODELS = env_entry("HalfCheetah"), Size.parse("32x2"), ("mlp", "dt", "tcn")
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=4000)
ROUNDED = np.float32(1e6) + np.float32(0.0625) * RNG.integers(0, 3, 4000)
COLUMNS = {  # values, whether they are constant, how far normalised ones go
    "zero": (0 * NOISE, True, 0),
    "seven": (0 * NOISE + 7, True, 0),
    "a million, but for rounding": (ROUNDED, True, 0.2),
    "as large as rounding is 1000": (1e10 + 1024.0 * RNG.integers(0, 3, 4000), True, 1.5),
    "usual": (NOISE, False, 5),
    "tiny": (1e-8 * NOISE, False, 5),
    "huge": (1e12 * NOISE, False, 5),
    "a sensor far from zero": (1e3 + 0.01 * NOISE, False, 5),
    "one step in 4000": (1.0 * (np.arange(4000) == 5), False, 70),
}


def table(columns):
    """Return two episodes of HalfCheetah with these last columns."""
    made = made_up([2000, 2000])
    for place, (values, *_) in enumerate(columns, start=17 - len(columns)):
        made.observations[:, place] = values
    return made


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("weights", [None, [1.0]])
def test_every_column_has_size_one_after_normalising(name, weights):
    made, (_, still, reach) = table([COLUMNS[name]]), COLUMNS[name]
    made.weights = weights and np.array(weights)
    mean, std = made.statistics()
    scaled = (made.observations - mean) / std
    assert constant(made.observations)[16] == still and (16 in made.constant_columns()) == still
    assert np.isfinite(std).all() and np.abs(scaled[:, 16]).max() <= reach
    assert still or scaled[:, 16].std() > 0.9
    assert still == (abs(float(std[16]) - 1) < 1e-12) or "rounding" in name


def test_a_deviation_of_one_is_not_taken_for_a_constant():
    made = table([(np.tile([-1.0, 1.0], 2000), False, 1)])
    assert made.statistics().std[16] == np.nextafter(np.float32(1), np.float32(2))


def test_the_floor_follows_the_scale_of_the_data():
    rare = 1e-8 * (np.arange(4000) == 5) + 1e-13 * NOISE
    std = Trajectories.join([(rare[:, None], NOISE[:, None], NOISE)], {}).statistics().std[0]
    assert 1e-11 <= std < 2e-10


def test_spans_of_columns_are_short():
    assert [spans(x) for x in ([], [3], [0, 1, 2, 7], [1, 3, 4])] == ["", "3", "0-2, 7", "1, 3-4"]


# --- in a network


def task_of(data, model="mlp", **options):
    return Control(HALFCHEETAH, data, ControlConfig(model=model, context=4, model_options=options))


def one_hot(*columns):
    """Return data in which only these of the last five columns are ever 1, in turn; the actions depend on them."""
    made = made_up([50] * 6)
    made.observations[:, 12:] = 0
    for turn, column in enumerate(columns):
        made.observations[turn :: len(columns), column] = 1
    return made


def bank_made_of(task, old=False):
    """Return a bank of the task's data; an old one has deviations of at least 0.001 and no limits."""
    plain = task.build(SIZE)
    if old:
        plain.observation_std.copy_(torch.where(plain.observation_std == 1, 1e-3, plain.observation_std))
    net = WeiT(plain, TemplateBank.from_plan(task.plan, 4), task.plan)
    source = {name: tensor for name, tensor in source_tensors(net).items() if not (old and name.endswith(CLIP))}
    card = {"size": [SIZE.width, SIZE.depth, SIZE.head_dim], "model": task.config.model, "names": [task.name]}
    return TemplateBank(dict(net.bank.templates), "kronecker", card, source)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_column_constant_in_pre_training_stays_small_when_it_varies(tmp_path, capsys, model, old):
    bank = TemplateBank.load(bank_made_of(task_of(one_hot(12, 13), model), old).save(tmp_path / "bank.safetensors"))
    task = task_of(one_hot(14, 15), model)
    own = bank_of(bank, task)
    net = bank_network(own, task)
    scaled = net.normalised(torch.from_numpy(task.trajectories.observations))
    assert scaled.abs().max() < 10 and scaled[:, 14:16].std(0).min() > 0.9
    before = bank.source["buffer.observation_std"]
    assert torch.equal(net.observation_std[:14], before[:14])  # the others are the bank's
    assert own.card["renewed_columns"] == [14, 15]
    print_remarks(SimpleNamespace(devices=SimpleNamespace(leads=True)), [task], own)
    assert capsys.readouterr().out.splitlines() == [
        "data of HalfCheetah: columns 12-13, 16 of the observations never move; their scale is 1",
        "columns 14-15 never moved in the bank's data: they are scaled by this run's data",
    ]


@pytest.mark.parametrize("old", [False, True])
def test_a_bank_keeps_its_normaliser_on_the_data_it_was_made_of(old):
    task = task_of(one_hot(12, 13))
    bank = bank_made_of(task, old)
    own = bank_of(bank, task)
    assert "renewed_columns" not in own.card
    assert all(torch.equal(own.source[name], tensor) for name, tensor in bank.source.items())


def test_a_network_that_is_a_source_is_renewed_likewise(tmp_path):
    task, other = task_of(one_hot(12, 13)), task_of(one_hot(14, 15))
    save_network(tmp_path / "net.safetensors", task.build(SIZE), task.card(SIZE))
    net, kept = (network_at(str(tmp_path / "net.safetensors"), one, SIZE) for one in (other, task))
    assert net.observation_std[14] == other.build(SIZE).observation_std[14] != 1
    assert torch.equal(kept.observation_std, task.build(SIZE).observation_std)


def test_the_first_steps_learn_from_a_bank_beside_new_columns():
    """Check that inputs of 1000 in new columns do not hide the other inputs."""
    data = one_hot(14, 15)
    data.actions[:] = np.tanh(data.observations[:, :6] * (2 * data.observations[:, 14:15] - 1))
    task = task_of(data, rtg="none")
    net = bank_network(bank_of(bank_made_of(task_of(one_hot(12, 13), rtg="none"), old=True), task), task)
    assert learned(task, net, 150) < 0.1


def learned(task, net, steps):
    """Return the validation loss after some steps, relative to that of predicting the mean."""
    fit(
        net,
        lambda step: task.loss(net, task.batch(step)),
        OptimizerRecipe(steps, 3e-3),
        [{"params": list(net.parameters())}],
    )
    return task.validation_loss(net) / float(task.trajectories.actions.var())


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_data_of_any_scale_are_learned(scale):
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(17, 6))

    def episode():
        seen = rng.normal(size=(50, 17))
        return scale * seen, np.tanh(0.3 * seen @ weight), scale * rng.normal(size=50)

    task = task_of(Trajectories.join([episode() for _ in range(8)], {"path": "made up"}))
    assert learned(task, task.build(SIZE), 150) < 0.3


@pytest.mark.parametrize(("scale", "wanted"), [(0, 1000), (1e-8, 1e-8), (3, 1000), (1e4, 1000), (1e9, 1e9)])
def test_returns_of_any_scale_are_of_size_one_in_the_network(scale, wanted):
    data = made_up([5, 5])
    data.rewards[:] = 0
    data.rewards[[4, 9]] = scale
    assert float(task_of(data).build(SIZE).return_scale) == pytest.approx(wanted)


# --- limits


@pytest.mark.parametrize("model", [*MODELS, "multimodal"])
def test_normalised_values_have_a_limit_that_comes_back_from_files(model, tmp_path):
    net = small_net(model).eval()
    net.observation_clip.fill_(2.0)
    card = {"model": model, "size": [16, 2, 8], "options": _options(model)}
    save_network(tmp_path / "net.safetensors", net, card)
    back, _ = load_network(tmp_path / "net.safetensors")
    assert torch.equal(back.observation_clip, torch.full((5,), 2.0))
    states = torch.tensor([[-1e6, -1.0, 0.0, 1.0, 1e6]])
    assert back.normalised(states).tolist() == [[-2, -1, 0, 1, 2]]
    near, far = (_acted(back, model, size) for size in (5.0, 1e9))
    assert torch.equal(near, far)
    assert _acted(back, model, math.inf).isnan().any()


def _options(model):
    from conftest import OPTIONS

    return OPTIONS[model]


@torch.no_grad()
def _acted(net, model, size):
    observations, *rest = small_inputs(model)
    observations = observations.clone().float()
    observations[..., :5] = size * observations[..., :5].sign()
    return net(observations, *rest)


def test_older_networks_have_no_limits(tmp_path):
    net = small_net("mlp").eval()
    state = {name: tensor for name, tensor in net.state_dict().items() if name != CLIP}
    card = {"format": NETWORK, "model": "mlp", "size": [16, 2, 8], "options": _options("mlp")}
    write_tensors(tmp_path / "old.safetensors", state, card)
    back, _ = load_network(tmp_path / "old.safetensors")
    observations, *rest = small_inputs("mlp")
    assert torch.equal(back(1e9 * observations, *rest), net(1e9 * observations, *rest))
    limited = small_net("mlp")
    limited.observation_clip.fill_(1.0)
    torch.nn.ModuleDict({"a": limited}).load_state_dict({f"a.{name}": tensor for name, tensor in state.items()})
    assert limited.observation_clip.isinf().all()


def shipped_normalisers():
    for path in sorted(BANKS.glob("*.safetensors")):
        bank = TemplateBank.load(path)
        for name, mean in bank.source.items():
            if name.endswith(MEAN):
                yield bank, name.removesuffix(MEAN), mean


def test_shipped_banks_act_as_they_did():
    found = list(shipped_normalisers())
    assert len(found) == 10
    for bank, prefix, mean in found:
        net = small_net("mlp", observation_dim=len(mean))
        for name in (MEAN, STD, CLIP):
            net.get_buffer(name).copy_(bank.source[prefix + name])
        states = 1e3 * torch.randn(50, len(mean))
        assert torch.equal(net.normalised(states), (states - net.observation_mean) / net.observation_std)
        assert bank.source[prefix + CLIP].isinf().all()


def test_data_that_ship_keep_within_the_limit():
    from weit_rl.data import load_trajectories
    from weit_rl.data.readers import shipped_levels

    for name in ("Hopper", "Walker2d", "Ant"):
        entry = env_entry(name)
        sets = [load_trajectories(level, entry) for level in shipped_levels(entry)]
        for mean, std in (one.statistics() for one in sets):
            assert max(float(np.abs((one.observations - mean) / std).max()) for one in sets) < LIMIT


def test_a_fresh_network_is_limited_and_one_of_pictures_has_no_limit():
    assert task_of(made_up([9, 9])).build(SIZE).observation_clip.unique().item() == LIMIT
    assert small_net("mlp").observation_clip.unique().item() == math.inf
    net = small_net("conv")
    assert net.observation_clip is None and CLIP not in net.state_dict()
    assert renew_normaliser(dict(net.named_buffers()), dict(net.named_buffers())) == ({}, [])


# --- running statistics


def test_running_statistics_do_not_amplify_constant_columns():
    from gymnasium import spaces

    scaled = ScaledObservations(spaces.Box(-np.inf, np.inf, (4,)))
    seen = torch.stack([torch.zeros(200), torch.full((200,), 1e6), 1e-8 * torch.randn(200), torch.randn(200)], 1)
    scaled.take_in(seen[:50])
    scaled.take_in(seen[50:])
    assert scaled(seen).std(0).tolist() == pytest.approx([0, 0, 1, 1], abs=0.02)
    assert scaled(seen + torch.tensor([1.0, 1.0, 0.0, 0.0]))[0, :2].tolist() == pytest.approx([1, 1])
    old = {name: tensor for name, tensor in scaled.state_dict().items() if name != "added"}
    scaled.load_state_dict(old)
    assert scaled.added.tolist() == [1e-8] * 4


def test_a_normaliser_that_was_made_without_data_stays():
    trained = {MEAN: torch.zeros(2), STD: torch.ones(2), CLIP: torch.full((2,), math.inf)}
    data = {MEAN: torch.tensor([5.0, 0.0]), STD: torch.tensor([3.0, 1.0]), CLIP: torch.full((2,), LIMIT)}
    buffers, columns = renew_normaliser(trained, data)
    assert columns == [] and all(torch.equal(buffers[name], trained[name]) for name in trained)
