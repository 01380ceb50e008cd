"""Training from end to end, on tiny data: it repeats, and starts, stages, models and options are as asked."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY_PRETRAIN, TINY_TRAIN

from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import play, random_actor
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.data import load_trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.evaluate import main as evaluate
from weit_rl.options.choices import size_of
from weit_rl.options.command import compose
from weit_rl.pretrain import main as pretrain
from weit_rl.storage.tensor_file import read_tensors
from weit_rl.tasks.control_options import control_task
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.run_setup import bank_network
from weit_rl.workflows.train_setup import read_setup

SHORT = [*TINY_TRAIN, "scaler_steps=4", "train_steps=4", "validation_episodes=0"]  # one episode a run


@pytest.fixture
def words(tiny_data, tiny_bank):
    return [*SHORT, f"data={tiny_data}", f"bank={tiny_bank}"]


def checkpoint(run, name):
    return (run / "checkpoints" / f"{name}.safetensors").read_bytes()


def tensors(run, name):
    return read_tensors(run / "checkpoints" / f"{name}.safetensors")[0]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- the same again


def test_pretraining_again_makes_the_same_bank_bit_for_bit(tiny_bank, tiny_data, tmp_path):
    again = [*TINY_PRETRAIN, f"data={tiny_data}", f"run_dir={tmp_path / 'again'}"]
    pretrain(compose("pretrain", again))
    assert (tmp_path / "again" / "bank.safetensors").read_bytes() == tiny_bank.read_bytes()
    pretrain(compose("pretrain", [*again, "seed=1", "score_sizes=[]", f"run_dir={tmp_path / 'other'}"]))
    one, other = (TemplateBank.load(path).templates for path in (tiny_bank, tmp_path / "other" / "bank.safetensors"))
    assert not any(torch.equal(one[role], other[role]) for role in one)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(words, tmp_path):
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    one, same = (train(compose("train", [*words, f"run_dir={run}"])) for run in (a, b))
    other = train(compose("train", [*words, "seed=1", f"run_dir={c}"]))
    assert {**one, "seconds": 0, "run_dir": ""} == {**same, "seconds": 0, "run_dir": ""}
    assert one["return_mean"] != other["return_mean"]
    assert checkpoint(a, "last") == checkpoint(b, "last") != checkpoint(c, "last")


def test_precision_changes_in_one_run_only(words, tmp_path):
    exact, rough, again = tmp_path / "exact", tmp_path / "rough", tmp_path / "again"
    train(compose("train", [*words, f"run_dir={exact}"]))
    train(compose("train", [*words, "precision=medium", f"run_dir={rough}"]))
    assert torch.get_float32_matmul_precision() == "medium"
    train(compose("train", [*words, f"run_dir={again}"]))
    assert torch.get_float32_matmul_precision() == "highest" and torch.backends.cuda.flash_sdp_enabled()
    assert checkpoint(exact, "last") == checkpoint(again, "last")  # nothing is left of the run between
    one, other = (load_network(run / "checkpoints" / "last.safetensors")[0].state_dict() for run in (exact, rough))
    for name in one:  # without such products on this machine the same, else near
        torch.testing.assert_close(one[name], other[name], rtol=0.1, atol=0.02)


# --- stages and starts


def expected_start(words, bank):
    """Return the network that a run without any step begins with."""
    config = compose("train", words)
    task = control_task(config, tile=16)
    task.plan = task.plan.with_tiles({} if bank is None else TemplateBank.load(bank).tiles)
    net = task.build(size_of(config.size), config.seed)
    if bank is not None:
        bank = TemplateBank.load(bank)
        target_return = net.target_return
        net = network_of_size(bank, bank_network(bank, task), net, task.plan, config.seed).materialize()
        net.target_return.copy_(target_return)
    return dict(net.state_dict())


@pytest.mark.parametrize("init", ["weit", "scratch"])
@pytest.mark.parametrize("asked", [None, 1234.5])
def test_without_a_step_the_start_is_the_initialisers(words, tiny_bank, tiny_data, init, asked, tmp_path):
    words = [*words, f"init={init}", "scaler_steps=0", "train_steps=0", f"target_return={asked or 'null'}"]
    report = train(compose("train", [*words, f"run_dir={tmp_path / 'run'}"]))
    assert (report["scaler_steps"], report["train_steps"], report["init"]) == (0, 0, init)
    last = tensors(tmp_path / "run", "last")
    assert equal(last, expected_start(words, tiny_bank if init == "weit" else None))
    # one rule, the same for every initialiser
    rule = load_trajectories(tiny_data, env_entry("HalfCheetah")).target_return()
    assert last["target_return"].item() == pytest.approx(asked or rule)


def test_each_stage_can_be_left_out(words, tiny_bank, tmp_path):
    free, scalers, scratch = tmp_path / "free", tmp_path / "scalers", tmp_path / "scratch"
    train(compose("train", [*words, "scaler_steps=0", f"run_dir={free}"]))
    assert equal(tensors(free, "start"), expected_start(words, tiny_bank))
    assert not equal(tensors(free, "last"), tensors(free, "start"))
    train(compose("train", [*words, "train_steps=0", f"run_dir={scalers}"]))
    assert equal(tensors(scalers, "last"), tensors(scalers, "start"))
    assert not equal(tensors(scalers, "last"), expected_start(words, tiny_bank))
    report = train(compose("train", [*words, "init=scratch", "bank=nowhere", f"run_dir={scratch}"]))
    assert report["scaler_steps"] == 0 and not (scratch / "checkpoints" / "scaler_state.safetensors").exists()


@pytest.mark.parametrize("constraint", [name for name in CONSTRAINTS.names() if name != "kronecker"])
def test_a_bank_under_another_constraint_initialises_too(constraint, tiny_data, words, tmp_path):
    made = [*TINY_PRETRAIN, f"constraint={constraint}", "masks=none", "score_sizes=[]", f"data={tiny_data}"]
    pretrain(compose("pretrain", [*made, f"run_dir={tmp_path / 'bank'}"]))
    bank = tmp_path / "bank" / "bank.safetensors"
    # factors of whole weights serve no width between the bank's 64 and its double
    words = [*words, "size.width=128"] if CONSTRAINTS.get(constraint).whole else words
    train(compose("train", [*words, f"bank={bank}", "train_steps=0", f"run_dir={tmp_path / 'run'}"]))
    assert not equal(tensors(tmp_path / "run", "start"), expected_start(words, bank))


# --- other models, options and environments


@pytest.mark.parametrize("model", ["mlp", "tcn"])
def test_a_bank_of_another_model_is_pretrained_trained_on_and_scored(model, tiny_data, tmp_path):
    data, folder = f"data={tiny_data}", tmp_path / model
    card = pretrain(compose("pretrain", [*TINY_PRETRAIN, data, f"model={model}", f"run_dir={folder}"]))
    assert card["model"] == card["config"]["model"] == model
    own = [*SHORT, data, f"model={model}", f"bank={folder / 'bank.safetensors'}"]
    report = train(compose("train", [*own, f"run_dir={tmp_path / 'run'}"]))
    assert (report["model"], report["init"]) == (model, "weit")
    again = evaluate(compose("evaluate", [f"run={tmp_path / 'run'}", "checkpoint=last", "episodes=1", "device=cpu"]))
    assert again["return_mean"] == report["return_mean"]
    with pytest.raises(UserError, match=f"bank: was made for model={model}, this run asks for model=dt"):
        train(compose("train", [*SHORT, data, f"bank={folder / 'bank.safetensors'}", f"run_dir={tmp_path / 'dt'}"]))


@pytest.mark.parametrize("option", ["rtg=every", "past_actions=true", "positions=episode"])
def test_options_of_the_model_reach_its_checkpoint(option, words, tmp_path):
    words = [*words, "init=scratch", option, "train_steps=2", f"run_dir={tmp_path / 'run'}"]
    train(compose("train", words))
    name, _, value = option.partition("=")
    assert str(load_network(tmp_path / "run" / "checkpoints" / "last.safetensors")[1]["options"][name]).lower() == value


def test_without_reference_returns_there_is_no_score(tmp_path, capsys):
    entry = env_entry("gym:Pendulum-v1")
    bound = np.ones(1, np.float32)
    write_minari(tmp_path / "set", entry, play(random_actor(-bound, bound), entry, range(3)), {"dataset_id": "x-v0"})
    words = [*SHORT, "env=gym:Pendulum-v1", "init=scratch", "validation_episodes=1", f"data={tmp_path / 'set'}"]
    report = train(compose("train", [*words, f"run_dir={tmp_path / 'run'}"]))
    shown = capsys.readouterr().out
    assert " reference-normalised score" in shown and "D4RL" not in shown
    assert report["score"] is None and report["behaviour"]["score"] is None
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["score"] is None
    metrics = RunFolder.open(tmp_path / "run").metrics()
    assert metrics["validation/return"] and "validation/score" not in metrics
    evaluate(compose("evaluate", [f"run={tmp_path / 'run'}", "episodes=1", "checkpoint=last"]))
    assert capsys.readouterr().out.splitlines()[-3].split()[-1] == "-"


def test_a_model_that_needs_it_has_a_smaller_rate_by_default(tiny_data, picture_task):
    words = [*TINY_TRAIN, f"data={tiny_data}", "init=scratch", "scaler_steps=0"]
    setup = read_setup(compose("train", words))
    assert setup.recipe("train").lr == 3e-3
    seeing = replace(setup, task=picture_task)
    assert picture_task.config.model == "conv" and seeing.recipe("train").lr == 1e-3
    seeing.cfg.train_lr = 3e-3
    assert seeing.recipe("train").lr == 3e-3
