"""Vision from the command line and from Python, and tasks that a package of its own adds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("timm", reason="the vision extra is not installed")

from weit_rl import vision
from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.evaluate import main as evaluate
from weit_rl.options.command import compose, config_name, help_text
from weit_rl.tasks import image_options
from weit_rl.train import main as train

TINY = {"threads": 1, "device": "cpu", "batch_size": 16}
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


def test_a_run_tells_the_classes_of_images(run):
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


def test_the_other_verbs_lead_to_it(run):
    words = [f"run={run}", "checkpoint=last"]
    report = evaluate(compose("evaluate", ["task=classification", *words]))
    assert report["accuracy"] == json.loads((run / "evaluation.json").read_text())["accuracy"]
    with pytest.raises(UserError, match=f"sees images; use python -m weit_rl.vision mode=evaluate run={run}"):
        evaluate(compose("evaluate", words))
    with pytest.raises(UserError, match=f"a classifier is exported by python -m weit_rl.export run={run}"):
        vision.export(run, run / "pipeline")


def test_the_bank_serves_other_images_with_a_new_head(bank, model, tmp_path):
    from PIL import Image

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


def test_other_images_are_told_whatever_the_run_was_trained_on(tmp_path):
    """Images in 8 x 8 whose set has a name that is no file's; the run had only some of its own."""
    import io

    from PIL import Image

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


def test_diffusion_is_trained_scored_and_drawn_from(tmp_path, monkeypatch):
    options = {**TINY, "task": "diffusion", "size": "32x2", "init": "scratch", "train_steps": 8}
    report = vision.train(**options, run_dir=tmp_path / "run")
    assert report["psnr"] == pytest.approx(-10 * np.log10(report["loss"])) and report["model"] == "dit"
    drawn = vision.generate(tmp_path / "run", classes=["3", "0"], images=2, steps=3)
    assert drawn["images"].shape == (4, 1, 8, 8) and drawn["labels"].tolist() == [3, 3, 0, 0]
    assert Path(drawn["path"]).with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    again = vision.generate(tmp_path / "run", classes=[3, 0], images=2, steps=3)
    assert np.array_equal(drawn["images"], again["images"]) and drawn["path"] != again["path"]
    with monkeypatch.context() as where_there_are_no_images:
        where_there_are_no_images.setattr(image_options, "load_images", None)
        again = vision.generate(tmp_path / "run", classes=[3, 0], images=2, steps=3)
        assert np.array_equal(drawn["images"], again["images"])
    assert vision.evaluate(tmp_path / "run", checkpoint="last")["psnr"] == report["psnr"]
    with pytest.raises(UserError, match="unknown class 'ten'"):
        vision.generate(tmp_path / "run", classes=["ten"])
    with pytest.raises(UserError, match="classes: none is named; name some of 0, 1"):
        vision.generate(tmp_path / "run", classes=[])
    with pytest.raises(UserError, match="steps=0: must be 1 or more"):
        vision.evaluate(tmp_path / "run", steps=0)
    for act, seed in ((vision.evaluate, -1), (vision.generate, -1), (vision.generate, 10**20)):
        with pytest.raises(UserError, match=f"seed={seed}: must be from 0 to"):
            act(tmp_path / "run", seed=seed)
    for scheduler in ("ddim", "ddpm"):
        vision.evaluate(tmp_path / "run", steps=2, scheduler=scheduler)
    pictures = [(tmp_path / "run" / f"evaluation-best-digits{n}-samples.png").read_bytes() for n in ("", "-2")]
    assert pictures[0] != pictures[1]  # drawn as was asked for
    with pytest.raises(UserError, match="is of task=diffusion, so it cannot classify"):
        vision.classify(tmp_path / "run", drawn["images"])


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
def test_bad_input_is_one_line(refused, words, says):
    assert says in refused("vision", *words)


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_a_verb_of_its_own_takes_no_other_mode(refused, verb):
    assert f"weit_rl.{verb} is mode={verb} alone" in refused(verb, "task=classification", "mode=describe")


@pytest.mark.slow
def test_a_stopped_run_goes_on(bank, model, tmp_path, monkeypatch):
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
    from weit_rl.benchmark import main as benchmark

    words = ["task=classification", "methods=[weit, scratch, bot]", "sizes=[32x1]", "budgets=[0, 3]", "seeds=[0]",
             "batch_size=8", "pretrain_steps=3", "workers=1", "options={mixup: 0.2}"]  # fmt: skip
    assert benchmark(compose("benchmark", [*words, f"run_dir={tmp_path / 'b'}"]))["cells"] == 6
    text = (tmp_path / "b" / "README.md").read_text()
    assert "## Accuracy after 3 steps" in text and "the accuracy of 3 steps from scratch is" in text.lower()
    header = (tmp_path / "b" / "results.csv").read_text().splitlines()[0]
    assert header.startswith("method,data,size,width,depth,seed,budget,accuracy,top5,steps")


@pytest.mark.slow
def test_a_small_comparison_of_drawn_images(tmp_path):
    from weit_rl.benchmark import main as benchmark
    from weit_rl.comparison.grid import Grid
    from weit_rl.comparison.sources import Sources

    vision.train(**TINY, size="32x1", init="scratch", train_steps=4, run_dir=tmp_path / "judge")
    words = ["task=diffusion", "methods=[weit, scratch]", "sizes=[32x1]", "budgets=[0, 3]", "seeds=[0]",
             "batch_size=8", "pretrain_steps=3", "workers=1", "samples=20", "sampling_steps=2"]  # fmt: skip
    place = [f"run_dir={tmp_path / 'b'}", f"features={tmp_path / 'judge'}"]
    assert benchmark(compose("benchmark", [*words, *place]))["cells"] == 4
    text = (tmp_path / "b" / "README.md").read_text()
    named = "20 images drawn in 2 steps against 359 test images, by the features of vit 32x1 of digits (accuracy"
    assert "## FID after 3 steps" in text and text.count(named) == 5 and "Lower is better." in text
    header, *rows = (tmp_path / "b" / "results.csv").read_text().splitlines()
    assert header.startswith("method,data,size,width,depth,seed,budget,fid,kid,steps") and ",psnr," in header
    assert all(float(row.split(",")[7]) > 0 for row in rows)
    ours = [row for row in rows if row.startswith("weit")]
    (tmp_path / "b" / "results.csv").write_text("\n".join([header, *ours, ""]))
    benchmark(compose("benchmark", [*words, *place, "mode=report"]))  # without scratch there is no reference
    told = json.loads((tmp_path / "b" / "results.json").read_text(), parse_constant=pytest.fail)
    assert told["reference"]["value"] is None and len(told["rows"]) == 2

    grid = Grid.of(compose("benchmark", [*words, "options={image_size: 16, timesteps: 50}"]))
    sources = Sources(grid, tmp_path, 1)
    assert sources.needed()[0] == "judge" and f"features={tmp_path / 'judge'}" in sources.scoring_words()
    judge = compose("train", sources.judge_words())
    assert (judge.task, judge.image_size, judge.data) == ("classification", 16, "digits")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["task=classification", "samples=20"], "samples=20: task=classification draws nothing that is judged"),
        (["task=diffusion", "features=nowhere"], "nowhere: is no run folder"),
        (["task=diffusion", "samples=3"], "samples: 3 images are too few to compare"),
        (["task=diffusion", "sampling_steps=2000"], "steps=2000: the network was trained with 1000"),
    ],
)
def test_what_cannot_be_judged_is_refused_at_once(refused, words, says):
    assert says in refused("benchmark", *words)


def test_an_option_of_another_task_is_refused_by_the_name_that_was_asked_for():
    cfg = compose("train", ["task=turned", "samples=3"])
    with pytest.raises(UserError, match="samples=3: is for task=diffusion, and this is task=turned; leave it out"):
        image_options.image_task(cfg, task="classification")


PLUGIN = """
from weit_rl.tasks import Measure, TaskEntry, task_entry

def parity(cfg, tile=16):
    task = task_entry("classification").make(cfg, tile)
    task.name = "parity"
    return task

ENTRY = TaskEntry(parity, lambda cfg: "parity", Measure(("accuracy", "top5"), "accuracy"))
"""


@pytest.mark.slow
def test_an_installed_package_adds_a_task(tmp_path):
    (tmp_path / "parity_task.py").write_text(PLUGIN)
    info = tmp_path / "parity_task-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parity-task\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[weit_rl.tasks]\nparity = parity_task:ENTRY\n")
    words = ["task=parity", "model=vit", "size=32x1", "init=scratch", "train_steps=2", f"run_dir={tmp_path / 'run'}"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run([sys.executable, "-m", "weit_rl.train", *words], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "parity 32x1, init scratch" in done.stdout
