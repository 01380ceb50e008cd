"""Options of the commands for images: each mode has its own, and a wrong one is one line."""

import pytest

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose, config_name, help_text
from weit_rl.tasks import image_options

pytest.importorskip("timm", reason="the vision extra is not installed")


def test_each_mode_has_options_of_its_own():
    assert config_name("vision", ["mode=pretrain"]) == config_name("pretrain", ["task=classification"])
    assert config_name("train", ["task=control"]) == "train" and config_name("collect", ["mode=record"]) == "collect"
    assert "mixup=" in help_text("vision") and "score_sizes=" in help_text("vision", ["mode=pretrain"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mode=trian"], "did you mean train"),
        (["mode=trian", "--help"], "did you mean train"),
        (["task=clasification"], "did you mean classification"),
        (["model=vut"], "did you mean vit"),
        (["model=dt", "init=scratch"], "unknown model 'dt'"),
        (["data=digit"], "did you mean digits"),
        (["data=cifar10"], "did you mean CIFAR10"),
        (["init=scratch", "data_images=0"], "data_images=0: must be 1 or more"),
        (["init=scratch", "patch_size=0"], "patch_size=0: must be 1 or more"),
        (["init=scratch", "drop_path=1.5"], "drop_path=1.5: must be from 0 to 0.99"),
        (["image_size=16"], "the bank's pos_embed is 1x1x1x5x128, not 1x1x1x17x128; use a bank made for such data"),
        (["task=diffusion", "init=scratch", "timesteps=1"], "timesteps=1: must be 2 or more"),
        (
            ["task=diffusion", "init=scratch", "timesteps=9", "sampling_steps=10"],
            "steps=10: the network was trained with 9",
        ),
        (["data=CIFAR10", "init=scratch"], "CIFAR10"),
        (["mixup=-1", "init=scratch"], "mixup=-1"),
        (["bank=nowhere.safetensors"], "nowhere.safetensors"),
        (["task=diffusion", "init=scratch", "mixup=0.2"], "mixup=0.2: is for task=classification"),
        (["mode=sample"], "run: must be given"),
        (["mode=evaluate"], "run: must be given"),
        (["mode=export", "run=nowhere"], "out: must be given"),
        (["mode=export", "run=nowhere", "out=here"], "is no run folder"),
        (["init=scratch", "ema=1"], "ema=1.0: must be from 0 to 0.99999"),
        (["mode=evaluate", "run=nowhere"], "is no run folder"),
    ],
)
def test_wrong_words_are_one_line(refused, words, says):
    assert says in refused("vision", *words)


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_a_verb_of_its_own_takes_no_other_mode(refused, verb):
    assert f"weit_rl.{verb} is mode={verb} alone" in refused(verb, "task=classification", "mode=describe")


def test_an_option_of_another_task_is_refused_by_the_name_that_was_asked_for():
    cfg = compose("train", ["task=turned", "samples=3"])
    with pytest.raises(UserError, match="samples=3: is for task=diffusion, and this is task=turned; leave it out"):
        image_options.image_task(cfg, task="classification")
