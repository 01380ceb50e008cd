"""Refusals of collect before it writes anything: bad words, other folders, too little disk space."""

import json
import re
import shutil
from collections import namedtuple

import pytest
from short_episodes import SHORT, TINY, WORDS, refused, short  # noqa: F401

from weit_rl.agents.pictures import write_episodes
from weit_rl.agents.recording import play, random_actor
from weit_rl.collect import main
from weit_rl.common.errors import CannotWrite, UserError
from weit_rl.options.command import command, compose
from weit_rl.options.option_table import options
from weit_rl.workflows.collect_modes import MODES, ONLY, check_options

Space = namedtuple("Space", "total used free")  # as shutil.disk_usage gives it
pytestmark = pytest.mark.usefixtures("short")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["env=Shirt"], "did you mean Short"),
        (["algorithm=DQN"], "SAC, TQC, PPO"),
        (["hyperparameters={lr: 1}"], "lr"),
        (["steps=0"], "steps=0: must be 1 or more"),
        (["evaluation_episodes=-1"], "evaluation_episodes=-1"),
        (["levels.random=-2"], r"levels\.random=-2"),
        (["levels.random=0", "levels.medium=0", "levels.expert=0"], "levels: all are 0"),
        (["seed=-1"], "seed=-1: must be 0 to 2147483647"),
        (["seed=5000000000"], "seed=5000000000: must be 0 to 2147483647"),
        (["hyperparameters={learning_rate: fast}"], "hyperparameters=.*learning_rate must be a number"),
        (["hyperparameters={batch_size: 1.5}"], "hyperparameters=.*batch_size must be an integer"),
        (["hyperparameters={learning_rate: -1}"], "hyperparameters=.*SAC refuses them"),
        (["hyperparameters={device: gpu}"], "hyperparameters=.*gpu"),
        (["hyperparameters={policy_kwargs: {net_arch: [wide]}}"], "hyperparameters=.*SAC refuses them"),
        (["hyperparameters={optimize_memory_usage: true}"], "hyperparameters=.*optimize_memory_usage: a stopped"),
        (["hyperparameters={train_freq: 0}"], "hyperparameters=.*train_freq must be 1 or more"),
        (["hyperparameters={train_freq: [1, episode]}"], "hyperparameters=.*single environment only, not of n_envs=2"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, words, message):
    with pytest.raises(UserError, match=message) as error:
        main(compose("collect", [*WORDS, *words, f"run_dir={tmp_path / 'run'}"]))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "words", "message"),
    [
        (
            "train",
            ["episodes=3"],
            "episodes=3: is for mode=demonstrate or record or render, and this is mode=train; leave it out",
        ),
        ("train", ["deterministic=false"], "deterministic=false: is for mode=record, and"),
        ("train", ["allow_pickle=true"], "allow_pickle=true: is for mode=record, and"),
        ("record", ["steps=5"], "steps=5: is for mode=train, and this is mode=record"),
        ("record", ["hyperparameters={gamma: 0.9}"], "hyperparameters={'gamma': 0.9}: is for mode=train, and"),
        ("inspect", ["levels.expert=3"], "levels.expert=3: is for mode=train, and"),
        ("inspect", ["episodes=77"], "episodes=77: is for mode=demonstrate or record or render, and"),
        ("inspect", ["run_dir=x"], "run_dir=x: is for mode=train or demonstrate or record or render, and"),
        ("render", ["seed=1"], "seed=1: is for mode=train or demonstrate or record, and"),
    ],
)
def test_options_of_other_modes_are_refused(mode, words, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        main(compose("collect", [f"mode={mode}", *words]))


def test_every_option_is_of_some_modes_or_of_all():
    others = {key for key in options("collect") if key not in ONLY and not key.startswith("body.")}
    assert others == {"mode", "env", "pixels"}
    for mode in MODES:
        check_options(compose("collect", [f"mode={mode}", "body.torso=1.25", "pixels=true"]))


def test_bad_input_is_exit_2(capsys):
    with pytest.raises(SystemExit) as stop:
        command("collect", main, [*WORDS, "seed=-1"])
    assert stop.value.code == 2 and "seed=-1" in capsys.readouterr().err


def test_a_run_dir_of_another_kind_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(tmp_path / "file")
    assert "cannot write" in refused(tmp_path / "file" / "run")
    assert "no collect.json" in refused(tmp_path)


def test_too_little_disk_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Space(100, 60, 50_000_000))
    assert "needs 50 MB of disk space and 50 MB are free" in refused(tmp_path / "run")
    words = ["steps=20000", f"hyperparameters={json.dumps(TINY | {'buffer_size': 9000})}"]
    assert "needs 68 MB" in refused(tmp_path / "run", *words)


def test_a_level_is_not_begun_where_the_disk_is_too_small(tmp_path, monkeypatch):
    space = SHORT.make().action_space
    episodes = play(random_actor(space.low, space.high), SHORT, range(100))  # 1300 rows of 23 numbers and 32 bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Space(10**9, 10**9, 1_000_000))
    with pytest.raises(CannotWrite, match=r"set: needs \d+ MB of disk space and 1 MB are free"):
        write_episodes(tmp_path / "set", SHORT, episodes, {"dataset_id": "x-v0"})
    assert not list(tmp_path.iterdir())
