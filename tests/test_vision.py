"""Classification from the command line and from Python: trained from a bank, scored, classified with, compared."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared_vision import TINY

from weit_rl import vision
from weit_rl.benchmark import main as benchmark
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.evaluate import main as evaluate
from weit_rl.options.command import compose
from weit_rl.train import main as train

BANK = {**TINY, "size": "64x2", "widths": [32, 64], "depths": [1, 2], "rank": 4, "steps": 12, "score_sizes": ["32x1"]}
RUN = {**TINY, "size": {"width": 96, "depth": 3}, "scaler_steps": 6, "train_steps": 6}


@pytest.fixture(scope="module", params=["vit", "convnext"])
def model(request):
    return request.param


@pytest.fixture(scope="module")
def bank(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank") / "run"
    card = vision.pretrain(model=model, run_dir=folder, **BANK)
    assert card["names"] == ["digits"] and 0 <= card["scores"]["32x1"]["accuracy"] <= 100
    return folder / "bank.safetensors"


@pytest.fixture(scope="module")
def run(model, bank, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision") / "run"
    vision.train(model=model, bank=bank, run_dir=folder, **RUN)
    return folder


def test_training_from_a_bank(run, model):
    report = json.loads((run / "evaluation.json").read_text())
    assert (report["model"], report["size"], report["data"], report["images"]) == (model, "96x3", "digits", 359)
    assert report["scaler_steps"] == report["train_steps"] == 6 and report["validation_loss"] > 0
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    series = {line.split(",")[1] for line in (run / "metrics.csv").read_text().splitlines()}
    assert {"validation/accuracy", "validation/top5", "validation/loss", "train/loss", "scaler/loss"} <= series


def test_a_run_is_scored_again_with_its_pictures(run):
    report = vision.evaluate(run, checkpoint="last")
    assert report["accuracy"] == json.loads((run / "evaluation.json").read_text())["accuracy"]
    matrix = np.array(report["confusion"])
    assert matrix.sum() == 359 and 100 * matrix.trace() / 359 == pytest.approx(report["accuracy"])
    assert 0 <= report["calibration_error"] <= 1
    for name in ("confusion", "reliability"):
        assert (run / f"evaluation-last-digits-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_classifies_images(run):
    images = torch.randint(0, 255, (3, 1, 8, 8), dtype=torch.uint8)
    told = vision.classify(run, images)
    assert told["probabilities"].shape == (3, 10) and torch.allclose(told["probabilities"].sum(1), torch.ones(3))
    assert told["classes"] == [str(int(i)) for i in told["probabilities"].argmax(1)]
    assert vision.classify(run, images.numpy() / 255)["classes"] == told["classes"]
    pictures = [Image.fromarray(image) for image in images.numpy()[:, 0]]
    assert vision.classify(run, pictures)["classes"] == told["classes"]
    with pytest.raises(UserError, match="this network takes 1x8x8"):
        vision.classify(run, torch.zeros(1, 3, 8, 8))
    with pytest.raises(UserError, match=r"images: are torch.int64; give bytes \(uint8\) or floats in \[0, 1\]"):
        vision.classify(run, images.long())
    with pytest.raises(UserError, match=r"images: are floats from \d+ to 2\d+; give bytes"):
        vision.classify(run, images.float())
    with pytest.raises(UserError, match="images: must be a tensor or an array, not str"):
        vision.classify(run, "x.png")


def test_other_commands_work_or_name_the_right_one(run):
    words = [f"run={run}", "checkpoint=last"]
    report = evaluate(compose("evaluate", ["task=classification", *words]))
    assert report["accuracy"] == json.loads((run / "evaluation.json").read_text())["accuracy"]
    with pytest.raises(UserError, match=f"sees images; use python -m weit_rl.vision mode=evaluate run={run}"):
        evaluate(compose("evaluate", words))
    with pytest.raises(UserError, match=f"a classifier is exported by python -m weit_rl.export run={run}"):
        vision.export(run, run / "pipeline")


def test_the_bank_serves_other_images_with_a_new_head(bank, model, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("bright", "dark"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 100, (16, 16, 3), dtype=np.uint8) + 150 * (name == "bright")
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "mine" / name / f"{i}.png")
    options = {**RUN, "size": "64x2", "model": model, "data": tmp_path / "mine", "scaler_steps": 25, "train_steps": 0}
    report = vision.train(bank=bank, run_dir=tmp_path / "run", **options)
    assert report["classes"] == ["bright", "dark"] and report["accuracy"] == 100
    assert TemplateBank.load(bank).card["names"] == ["digits"]


def test_other_images_are_scored_in_their_own_file(tmp_path):
    """Check images in 8 x 8 whose set has a name that no file can have; the run had only some of its own."""
    rng, data = np.random.default_rng(0), tmp_path / "a:b c"
    for name in map(str, range(10)):
        (data / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(file := io.BytesIO(), "PNG")
            (data / name / f"{i}.png").write_bytes(file.getvalue())
    words = {"init": "scratch", "train_steps": np.int64(1), "data_images": 500, "trainer": {"devices": 1}, "workers": 0}
    vision.train(size="32x1", run_dir=tmp_path / "run", threads=1, validation=False, **words)
    for number in ("", "-2"):
        assert vision.evaluate(tmp_path / "run", checkpoint="last", data=data)["data"] == "a:b c"
        assert (tmp_path / "run" / f"evaluation-last-a-b-c{number}.json").exists()


def test_train_with_another_task_is_the_same_command(tmp_path):
    words = ["task=classification", "size=32x1", "init=scratch", "train_steps=3", "batch_size=16", "threads=1"]
    one = train(compose("train", [*words, f"run_dir={tmp_path / 'a'}"]))
    options = {**TINY, "size": "32x1", "init": "scratch", "train_steps": 3}
    other = vision.train(**options, run_dir=tmp_path / "b")
    assert one["accuracy"] == other["accuracy"] and one["loss"] == other["loss"]


@pytest.mark.slow
def test_a_stopped_run_resumes(bank, model, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = {**RUN, "size": "64x2", "model": model, "bank": bank, "validation": False}
    vision.train(run_dir=whole, **options)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weit_rl.workflows.train_run.TrainRun.finish", killed)
    with pytest.raises(BaseException, match=r"go on with: python -m weit_rl\.train task=classification \S*resume="):
        vision.train(run_dir=stopped, **options)
    monkeypatch.undo()
    vision.main(compose("vision", [f"resume={stopped}"]))
    last = Path("checkpoints") / "last.safetensors"
    assert (whole / last).read_bytes() == (stopped / last).read_bytes()


def test_a_small_comparison(tmp_path):
    words = ["task=classification", "methods=[weit, scratch, bot]", "sizes=[32x1]", "budgets=[0, 3]", "seeds=[0]",
             "batch_size=8", "pretrain_steps=3", "workers=1", "options={mixup: 0.2}"]  # fmt: skip
    assert benchmark(compose("benchmark", [*words, f"run_dir={tmp_path / 'b'}"]))["cells"] == 6
    text = (tmp_path / "b" / "README.md").read_text()
    assert "## Accuracy after 3 steps" in text and "the accuracy of 3 steps from scratch is" in text.lower()
    header = (tmp_path / "b" / "results.csv").read_text().splitlines()[0]
    assert header.startswith("method,data,size,width,depth,seed,budget,accuracy,top5,steps")
