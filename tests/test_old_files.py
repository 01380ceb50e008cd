"""Files that version 0.1 wrote, as fixtures: they are read, act as they did, and their runs go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import PPO

import weit_rl.agents  # noqa: F401  registers WeiTPolicy, which the agent's file names
from weit_rl import TemplateBank
from weit_rl.common.errors import UserError
from weit_rl.comparison.run_records import RecordedRun
from weit_rl.data import load_trajectories
from weit_rl.deploy.onnx_policy import OnnxPolicy
from weit_rl.envs.registry import env_entry
from weit_rl.evaluate import main as evaluate
from weit_rl.options.command import compose
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.run_launch import resumed_config

FILES = Path(__file__).parent / "fixtures" / "version_0_1"
EXPECTED = json.loads((FILES / "outputs.json").read_text())


def close(found, name):
    return np.allclose(found, EXPECTED[name], atol=1e-4)


@torch.no_grad()
def test_a_policy_acts_as_it_did():
    net = load_network(FILES / "finished" / "checkpoints" / "best.safetensors")[0].eval()
    states = torch.linspace(-1, 1, 17 * 3).reshape(1, 3, 17)
    actions = net(states, torch.zeros(1, 3, 6), torch.full((1, 3), 1000.0), torch.arange(3)[None])
    assert close(actions[0], "policy")


@torch.no_grad()
def test_a_classifier_classifies_as_it_did():
    pytest.importorskip("timm", reason="classifiers are timm's: pip install 'weit_rl[vision]'")
    net = load_network(FILES / "classifier" / "checkpoints" / "best.safetensors")[0].eval()
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    assert close(net(image)[0], "classifier")


def test_an_agent_of_stable_baselines3_acts_as_it_did():
    agent = PPO.load(FILES / "agent.zip", device="cpu")
    action, _ = agent.predict(np.linspace(-1, 1, 17, dtype=np.float32), deterministic=True)
    assert close(action, "agent")


def test_an_exported_policy_acts():
    pytest.importorskip("onnxruntime", reason="pip install 'weit_rl[export]'")
    action = OnnxPolicy(FILES / "policy.onnx").act(np.zeros(17, np.float32))
    assert action.shape == (6,) and np.abs(action).max() <= 1


def test_a_recorded_set_is_read():
    read = load_trajectories(FILES / "recorded" / "data" / "random", env_entry("HalfCheetah"))
    assert read.episodes == 1 and read.observations.shape == (1000, 17)


def test_a_bank_is_read():
    bank = TemplateBank.load(FILES / "pretraining" / "bank.safetensors")
    assert bank.card["model"] == "dt" and bank.source


def test_a_finished_run_is_evaluated(tmp_path):
    run = shutil.copytree(FILES / "finished", tmp_path / "run")
    report = evaluate(compose("evaluate", [f"run={run}", "episodes=1"]))
    assert report["episodes"] == 1


def test_options_that_came_later_are_at_their_defaults_in_a_run(tmp_path):
    run = shutil.copytree(FILES / "stopped", tmp_path / "run")
    resume = compose("train", [f"resume={run}"])
    assert "model_options" not in RunFolder.open(run).config and RecordedRun(str(run)).config["model_options"] == {}
    assert resumed_config("train", resume).model_options == {}
    for changes, lacks in (({}, "band"), ({"other": 1}, None)):
        config = yaml.safe_load((FILES / "stopped" / "config.yaml").read_text()) | changes
        config.pop(lacks, None)
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(UserError, match=r"was not made by weit_rl\.train, or by another"):
            resumed_config("train", resume)


def test_a_stopped_run_resumes_and_ends_as_an_uninterrupted_one(tmp_path):
    run = shutil.copytree(FILES / "stopped", tmp_path / "run")
    train(compose("train", [f"resume={run}"]))
    resumed, never_stopped = (
        load_network(folder / "checkpoints" / "last.safetensors")[0] for folder in (run, FILES / "finished")
    )
    for one, other in zip(resumed.parameters(), never_stopped.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
