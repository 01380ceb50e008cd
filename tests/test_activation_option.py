"""The activation of a policy's blocks: what each computes, and who takes it from whom."""

import pytest
import torch
import torch.nn.functional as F

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.evaluate import main as evaluate
from weit_rl.models import MODELS
from weit_rl.models.activations import ACTIVATIONS
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_card
from weit_rl.training.checkpoint import load_network
from weit_rl.workflows.pretrain_run import pretrain
from weit_rl.workflows.training import train

OURS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
FEED_FORWARD = ("dt", "mlp", "tcn", "video")
FEW = ["env=HalfCheetah", "model=mlp", "batch_size=4", "episodes=1", "threads=1"]
BANK = ["size=64x2", "widths=[32, 64]", "depths=[1, 2]", "steps=2", "rank=4", "score_sizes=[]"]
TARGET = ["size=32x2", "scaler_steps=1", "train_steps=1", "validation_episodes=1"]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("model", FEED_FORWARD)
def test_every_block_applies_it_to_its_hidden_channels(model, name):
    seen = [3, 16, 16] if model == "video" else 5
    net = MODELS.get(model).make(Size(32, 2), observation_dim=seen, action_dim=2, context=4, activation=name)
    block, x = net.blocks[0], torch.randn(2, 4, 32)
    branch = F.linear(OURS[name](block.fc1(block.norm2(x))), block.fc2.weight, block.fc2.bias)
    mixed = super(type(block), block).forward if model != "mlp" else block.forward
    torch.testing.assert_close(mixed(x), x + branch)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_acting_without_modules_computes_the_same(name):
    net = MODELS.get("mlp").make(Size(32, 2), observation_dim=5, action_dim=2, rtg="none", activation=name).eval()
    states = torch.randn(3, 5)
    zeros = torch.zeros(3, 1)
    slow = net(states[:, None], torch.zeros(3, 1, 2), zeros, zeros.long(), head=False)[:, 0]
    torch.testing.assert_close(net.features(states), slow)


@pytest.mark.parametrize("model", ["conv", "convnext_policy"])
def test_convolutions_of_pictures_keep_their_own(model):
    with pytest.raises(UserError, match=r"activation=gelu: \w+ has relu only"):
        MODELS.get(model).make(Size(32, 1), observation_dim=[3, 32, 32], action_dim=2, activation="gelu")


@pytest.fixture(scope="module")
def gelu_bank(tmp_path_factory):
    """The path of a small bank of HalfCheetah whose blocks have GELUs."""
    folder = tmp_path_factory.mktemp("gelu")
    pretrain(compose("pretrain", [*FEW, *BANK, "model_options={activation: gelu}", f"run_dir={folder / 'bank'}"]))
    return folder / "bank" / "bank.safetensors"


def test_a_network_takes_it_from_its_bank_and_keeps_it(gelu_bank, tmp_path):
    run = tmp_path / "run"
    train(compose("train", [*FEW, *TARGET, f"bank={gelu_bank}", f"run_dir={run}"]))
    net, card = load_network(run / "checkpoints" / "last.safetensors")
    assert card["options"]["activation"] == net.activation == "gelu"
    assert evaluate(compose("evaluate", [f"run={run}", "episodes=1"]))["episodes"] == 1
    narrower = ["init=weight_selection", f"source={run}", "size=32x1", "train_steps=1", "validation_episodes=1"]
    train(compose("train", [*FEW, *narrower, f"run_dir={tmp_path / 'next'}"]))
    assert read_card(tmp_path / "next" / "checkpoints" / "last.safetensors")["options"]["activation"] == "gelu"


def test_an_agent_of_stable_baselines3_acts_with_the_bank_s(gelu_bank):
    sb3 = pytest.importorskip("stable_baselines3", reason="pip install stable-baselines3")
    import weit_rl.agents  # noqa: F401 - registers the policy
    from weit_rl.envs.registry import env_entry

    words = {"bank": str(gelu_bank), "size": "32x2"}
    agent = sb3.PPO("WeiTPolicy", env_entry("HalfCheetah").make(), policy_kwargs=words, n_steps=8, batch_size=8)
    assert [net.activation for net in agent.policy.modules() if hasattr(net, "embed_observation")].count("gelu") > 0


def test_a_run_that_asks_for_another_one_is_refused(gelu_bank, refused):
    asked = [*FEW, *TARGET, f"bank={gelu_bank}", "model_options={activation: silu}"]
    assert "was made with activation=gelu, this run asks for activation=silu" in refused("train", *asked)
