"""Bad input to the real commands: one line on stderr, exit code 2, no traceback, nothing written or overwritten."""

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
from conftest import TINY

from weit_rl.models.shipped_banks import BANKS, named_bank, shipped_names
from weit_rl.options.command import compose
from weit_rl.train import main as train

TRAIN = [
    ("env=HalfCheeta", "did you mean HalfCheetah? (possible: "),
    ("body.torso=3", "body.torso=3.0: must be a number from 0.5 to 2 for HalfCheetah"),
    ("body.legs=6", "body.legs: is of Ant; HalfCheetah has torso, limbs, segments"),
    ("size=smal", "did you mean small? (possible: tiny, small"),
    ("size=100x3", "size.width=100: must be a positive multiple of head_dim 32, such as 96 or 128"),
    ("size.width=100", "multiple of head_dim 32"),
    ("size.width=0", "size.width=0"),
    ("size.depth=0", "size.depth=0: must be 1 or more"),
    ("size.widht=64", "did you mean size.width?"),
    ("init=scrach", "did you mean scratch? (possible: bot, direct, "),
    ("model=mpl", "did you mean mlp? (possible: conv, convnext_policy, dt, mlp, multimodal, tcn, video)"),
    ("model=tcn", "bank: was made for model=dt, this run asks for model=tcn"),
    ("rtg=latst", "did you mean latest? (possible: latest, every, none)"),
    ("positions=windows", "did you mean window? (possible: window, episode, none)"),
    ("scaler_steps=-1", "scaler_steps=-1: must be 0 or more"),
    ("train_steps=-1", "train_steps=-1: must be 0 or more"),
    ("train_steps=many", "must be an integer"),
    ("batch_size=0", "batch_size=0: must be 1 or more"),
    ("context=0", "context=0: must be 1 or more"),
    ("episodes=0", "episodes=0: must be from 1 to 1000"),
    ("validation_episodes=-1", "must be from 0 to 1000"),
    ("evaluate_every=0", "must be 1 or more"),
    ("seed=-1", "seed=-1: must be from 0 to 2147483647"),
    ("seed=2147483648", "seed=2147483648: must be from 0 to 2147483647"),
    ("scaler_lr=-1e-3", "scaler_lr=-0.001: must be more than 0"),
    ("train_lr=0", "train_lr=0.0: must be more than 0"),
    ("weight_decay=-1", "weight_decay=-1.0: must be 0 or more"),
    ("warmup=1.5", "warmup=1.5: must be from 0 to 1"),
    ("grad_clip=0", "grad_clip=0.0: must be more than 0"),
    ("threads=0", "threads=0: must be 1 or more"),
    ("precision=mediun", "did you mean medium?"),
    ("device=gpu", "device=gpu: not on this machine; use device=cpu"),
    ("device=meta", "device=meta: not on this machine"),
    ("data=expertt", "data='expertt': neither a file"),
    ("data=/", "not a complete Minari data set"),
    ("bank=nowhere.safetensors", "nowhere.safetensors: cannot read"),
    ("rtg=every", "the bank's network has no embed_return"),
    ("resume=nowhere", "nowhere: is no run folder"),
    ("init_options={scaler: random}", "unknown option of init=weit 'scaler'; did you mean scalers?"),
    ("init_options={scalers: rndom}", "did you mean random?"),
    ("init_options=scalers", "must be a mapping"),
    ("grow=[[0, 64x2], [12, 64x3]]", "end before train_steps=12"),
    ("grow=64x2", "must be a list"),
    ("best_fraction=2", "must be from 0 to 1"),
    ("data_episodes=46", "to train on, the held-out ones left aside"),
    ("data_episodes=0", "must be 1 or more"),
    ("critic_warmup=5", "critic_warmup: is for going on online; add agent=sac, or leave it out"),
    ("agent_options={gamma: 0.9}", "agent_options: is for going on online"),
]


@pytest.mark.parametrize(("word", "says"), TRAIN, ids=[word for word, _ in TRAIN])
def test_wrong_words_of_train_are_one_line(refused, words, word, says):
    assert says in refused("train", *words["train"], word)


PRETRAIN = [
    ("env=Hoper", "did you mean Hopper?"),
    ("body.limbs=0", "body.limbs=0.0: must be a number"),
    ("size=bas", "did you mean base?"),
    ("size=96x0", "size.depth=0"),
    ("widths=[128]", "128x1 is larger than the full network 64x2"),
    ("widths=[48]", "multiple of head_dim"),
    ("depths=[3]", "32x3 is larger than"),
    ("widths=[]", "at least one"),
    ("score_sizes=[64x2, smal]", "did you mean small?"),
    ("constraint=kroneker", "did you mean kronecker? (possible: "),
    ("rtg=evry", "did you mean every?"),
    ("model=td", "did you mean dt? (possible: conv, convnext_policy, dt, mlp, multimodal, tcn, video)"),
    ("rank=0", "rank=0: must be 1 or more"),
    ("tile=0", "tile=0: must be 1 or more"),
    ("steps=0", "steps=0: must be 1 or more"),
    ("lr=-1", "lr=-1.0: must be more than 0"),
    ("masks=dawn", "did you mean drawn?"),
    ("resume=nowhere", "nowhere: is no run folder"),
]


@pytest.mark.parametrize(("word", "says"), PRETRAIN, ids=[word for word, _ in PRETRAIN])
def test_wrong_words_of_pretrain_are_one_line(refused, words, word, says):
    assert says in refused("pretrain", *words["pretrain"], word)


@pytest.mark.parametrize(
    ("word", "says"),
    [("env=HalfChetah", "did you mean HalfCheetah?"), ("algorithm=SAK", "choose one of SAC, TQC"),
     ("steps=0", "steps=0"), ("levels.expert=-1", "levels.expert=-1"), ("hyperparameters={gama: 1}", "gama")],
)  # fmt: skip
def test_wrong_words_of_collect_are_one_line(refused, word, says):
    assert says in refused("collect", word)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, and this is of machines without one")
@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_a_gpu_that_is_not_there(refused, words, verb):
    assert "device=cuda: not on this machine; use device=cpu or device=auto" in refused(
        verb, *words[verb], "device=cuda"
    )


def test_a_level_that_does_not_ship(refused, words):
    err = refused("train", *words["train"], "env=Humanoid", "data=expert")
    assert "data='expert'" in err and "a level that ships for Humanoid (none does)" in err


def test_no_bank_ships_for_that_environment(refused, words):
    err = refused("train", *words["train"], "env=Ant", "data=expert", "bank=null")
    assert "no bank ships for env=Ant" in err and "give bank=PATH, that of another (bank=HalfCheetah), or use" in err


def test_a_bank_is_named_by_what_it_ships_for(refused, words):
    err = refused("train", *words["train"], "env=Ant", "data=expert", "bank=HalfCheeta")
    assert "bank=HalfCheeta: neither a file nor a name that a bank of model=dt ships for (HalfCheetah, Hopper" in err
    assert named_bank("Hopper", "dt") == str(BANKS / "bodies.safetensors")
    assert named_bank("HalfCheetah", "mlp") == str(BANKS / "HalfCheetah-mlp.safetensors")
    assert named_bank("Hopper", "mlp") == str(BANKS / "bodies-mlp.safetensors")
    assert named_bank("digits", "vit") == str(BANKS / "digits-vit.safetensors")
    for path in ("runs/mine", "bank.safetensors", "hf:me/mine"):
        assert named_bank(path, "dt") == path


def test_a_bank_may_be_given_by_the_run_that_made_it(refused, words, tmp_path):
    shutil.copy(BANKS / "HalfCheetah.safetensors", tmp_path / "bank.safetensors")
    assert named_bank(str(tmp_path), "dt") == str(tmp_path / "bank.safetensors")
    read = "was made for model=dt, this run asks for model=mlp"  # from its card, so that it was found
    assert read in refused("train", *words["train"], "model=mlp", f"bank={tmp_path}")


def test_no_bank_ships_for_that_model(refused, words):
    err = refused("train", *words["train"], "model=tcn", "bank=null")
    shipped = ", ".join(shipped_names())
    assert f"no bank ships for env=HalfCheetah with model=tcn (shipped: {shipped}); give bank=PATH, or use" in err
    assert {"HalfCheetah dt", "HalfCheetah mlp", "Hopper mlp", "Swimmer dt", "digits vit"} < set(shipped_names())


@pytest.mark.parametrize("word", ["rtg=every", "past_actions=true", "positions=episode"])
@pytest.mark.parametrize("model", ["mlp", "tcn"])
def test_an_option_that_the_model_lacks(refused, words, model, word):
    says = f"{word}: {model.upper()} has "
    assert says in refused("train", *words["train"], f"model={model}", "init=scratch", word)
    assert says in refused("pretrain", *words["pretrain"], f"model={model}", word)


def test_a_source_of_another_model(refused, words, tiny_run):
    err = refused("train", *words["train"], "model=mlp", "init=bot", f"source={tiny_run}")
    assert "was made for model=dt, this run asks for model=mlp" in err


# --- folders and disks


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_an_existing_folder_is_left_alone(refused, words, verb, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    assert "exists already; choose another run_dir" in refused(verb, *words[verb])
    assert "exists already" in refused(verb, *words[verb], f"run_dir={tmp_path / 'run' / 'thesis.tex'}")


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_no_disk_space(refused, words, verb, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    assert "MB of disk space and 0 MB are free" in refused(verb, *words[verb])


def test_the_disk_is_full_when_the_evaluation_is_written(refused, tiny_run, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    err = refused("evaluate", f"run={tiny_run}", "episodes=1", folder=tiny_run)
    assert "evaluation-best-1.json: cannot write (No space left on device)" in err


# --- finished and stopped runs


@pytest.mark.parametrize(
    ("word", "says"),
    [("run=nowhere", "nowhere: is no run folder"), ("run=.", ".: is no run folder"), ("episodes=0", "from 1 to 1000"),
     ("seed=2147483648", "from 0 to 2147483647"), ("device=gpu", "not on this machine"),
     ("video=maybe", "must be true or false"),
     ("checkpoint=bset", "has none of that name (it has best, last, start)"), ("bets=1", "unknown option 'bets'"),
     ("checkpoint=train_state", "not a network checkpoint"), ("env=Hopper", "is of HalfCheetah; leave env out")],
)  # fmt: skip
def test_wrong_words_of_evaluate_are_one_line(refused, tiny_run, word, says):
    assert says in refused("evaluate", f"run={tiny_run}", word, folder=tiny_run)


def test_a_policy_that_is_told_no_return_cannot_be_asked_for_one(refused, tiny_data, tmp_path):
    words = [*TINY, "size=32x1", "init=scratch", "train_steps=0", "rtg=none", "validation_episodes=0"]
    train(compose("train", [*words, f"data={tiny_data}", f"run_dir={tmp_path / 'run'}"]))
    for verb in ("evaluate", "export"):
        err = refused(verb, f"run={tmp_path / 'run'}", "checkpoint=last", "target_return=9")
        assert "target_return=9" in err and "has a network without one; leave it out" in err


def test_evaluate_needs_a_run_of_train(refused, tiny_bank):
    assert "holds no network, only runs of weit_rl.train do" in refused("evaluate", f"run={tiny_bank.parent}")


def test_evaluate_needs_a_run(refused):
    assert "run: must be given" in refused("evaluate")


def test_a_finished_run_is_not_resumed(refused, tiny_run, tiny_bank):
    assert "that run is finished" in refused("train", f"resume={tiny_run}", folder=tiny_run)
    assert "that run is finished" in refused("pretrain", f"resume={tiny_bank.parent}", folder=tiny_bank.parent)


def test_a_run_is_resumed_by_its_own_command_and_options(refused, tiny_run, tiny_bank):
    assert "was not made by weit_rl.train" in refused("train", f"resume={tiny_bank.parent}")
    assert "was not made by weit_rl.pretrain" in refused("pretrain", f"resume={tiny_run}")
    err = refused("train", f"resume={tiny_run}", "train_steps=500", "size=base", "seed=0")
    assert "goes on with its own options; leave out size, train_steps" in err


def test_a_real_process_prints_one_line_too(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "weit_rl.train", *words["train"], "size.width=100"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    line = "size.width=100: must be a positive multiple of head_dim 32, such as 96 or 128"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"weit_rl train: error: {line}\n")
    assert not list(tmp_path.iterdir())
