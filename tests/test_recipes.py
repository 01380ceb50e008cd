"""Recipes by one word, and what networks of full scale cost."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("timm", reason="the vision extra is not installed")

from PIL import Image

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.models import MODELS, models_of
from weit_rl.options.command import compose
from weit_rl.options.recipes import recipes
from weit_rl.vision.describe_sizes import cost_of, facts_of, task_on_meta

TASKS = ["classification", "diffusion"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mode", ["train", "pretrain", "describe"])
@pytest.mark.parametrize("name", recipes())
def test_a_recipe_comes_before_the_users_words(name, mode, task):
    words = [f"mode={mode}", f"task={task}", *(["autoencoder=mine"] if mode != "describe" else [])]
    plain = compose("vision", words)
    asked = compose("vision", [*words, f"recipe={name}", "batch_size=7"])
    changed = {key for key in plain if plain[key] != asked[key]}
    assert asked.batch_size == 7 and changed - {"recipe", "batch_size"} and asked.recipe == name


def test_a_users_own_recipe_is_read_for_its_task_and_mode(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "# mine\nclassification:\n  batch_size: 3\n  init_options: {wavelet: db2}\n  pretrain:\n    size: 64x2\n"
        "    steps: 9\n\n  train:\n    size: 96x3  # small\n    batch_size: 5\n    train_lr: 1e-4\n"
    )
    one, other = (compose("vision", [f"mode={mode}", f"recipe={path}"]) for mode in ("pretrain", "train"))
    assert (one.batch_size, one.size, one.steps) == (3, "64x2", 9)
    assert (other.batch_size, other.size.name, other.train_lr) == (5, "96x3", 1e-4)
    assert other.init_options == {"wavelet": "db2"}


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        (None, ["recipe=imagnet"], "unknown recipe 'imagnet'; did you mean imagenet?"),
        (None, ["recipe=nowhere.yaml"], "unknown recipe 'nowhere.yaml'"),
        ("diffusion:\n  steps: 3\n", [], "has nothing for task=classification (it has diffusion)"),
        ("classification:\n  stepps: 3\n", [], "'stepps'; did you mean steps?"),
        ("classification:\n  batch_size: many\n", [], "batch_size=many: must be an integer"),
        ("- 3", [], "must be blocks of options by task"),
        ("classification: 3", [], "must be blocks of options by task"),
        ("a: [", [], "is no YAML"),
    ],
)
def test_a_wrong_recipe_is_one_line(text, words, says, tmp_path):
    if text:
        (tmp_path / "mine.yaml").write_text(text)
        words = [f"recipe={tmp_path / 'mine.yaml'}"]
    with pytest.raises(UserError) as error:
        compose("vision", words)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_the_full_scale_is_built_and_counted(capsys):
    sizes = vision.describe(recipe="imagenet", sizes=["deit-ti", "192x4x64"])["sizes"]
    assert sizes["deit-ti"]["parameters"] == 5_717_416  # as published
    assert sizes["deit-ti"]["flops"] == pytest.approx(2 * 1.26e9, rel=0.01)
    for facts in sizes.values():
        assert 2.9 * facts["flops"] < facts["step_flops"] < 3 * facts["flops"]
        assert facts["memory"] == 16 * facts["parameters"] + 1024 * facts["activations"]
    assert "deit-ti 192x12x64" in capsys.readouterr().out
    drawn = vision.describe(recipe="imagenet", task="diffusion", sizes=["dit-b"])["sizes"]["dit-b"]
    assert drawn["flops"] == pytest.approx(2 * 23e9, rel=0.02)


def test_the_described_cost_is_that_of_a_real_step():
    """Check with ConvNeXt, since attention on a CPU is fused, which counts and keeps less."""
    cfg = compose("vision", ["mode=describe", "model=convnext", "image_size=16"])
    facts, task = facts_of(task_on_meta(cfg), Size(32, 2), 32, 1), task_on_meta(cfg)
    torch.manual_seed(0)
    net = MODELS.get("convnext").build(Size(32, 2), 16, 3, 10)
    real = {"images": torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "labels": torch.zeros(1, dtype=torch.long)}
    assert cost_of(net, lambda: task.loss(net, real)) == (facts["flops"], facts["step_flops"], facts["activations"])
    assert facts["parameters"] == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("model", [*models_of("classification"), *models_of("diffusion")])
def test_every_model_can_be_described(model):
    task = f"task={MODELS.get(model).task}"
    cfg = compose("vision", ["mode=describe", task, f"model={model}"])
    facts = facts_of(task_on_meta(cfg), Size(64, 2), cfg.rank, cfg.batch_size)
    assert facts["memory"] > 16 * facts["parameters"] > 16 * facts["scalers"] > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sizes=[deit-tiny]"], "unknown size 'deit-tiny'; did you mean deit-ti?"),
        (["classes=0"], "classes=0: must be 1 or more"),
        (["model=dit"], "unknown model 'dit'"),
        (["patch_size=5"], "patch_size=5: does not divide images of 32 pixels"),
        (["rank=0"], "rank=0: must be 1 or more"),
    ],
)
def test_a_size_that_cannot_be_described_is_one_line(refused, words, says):
    assert says in refused("vision", "mode=describe", *words)


def test_a_real_step_of_the_smallest(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(10):
            image = Image.fromarray(rng.integers(0, 256, (240, 260, 3), dtype=np.uint8))
            image.save(tmp_path / "set" / name / f"{i}.jpg")
    options = {"init": "scratch", "train_steps": 1, "batch_size": 2, "validation": False, "device": "cpu"}
    report = vision.train(
        recipe="imagenet", data=tmp_path / "set", size="192x4x64", run_dir=tmp_path / "run", threads=1, **options
    )
    assert report["size"] == "192x4x64" and report["images"] == 4
    assert (Path(report["run_dir"]) / "checkpoints" / "last.safetensors").exists()
