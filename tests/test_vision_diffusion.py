"""Diffusion from the command line and from Python: trained, scored, drawn from, compared by what it draws."""

import json
from pathlib import Path

import numpy as np
import pytest
from shared_vision import TINY

from weit_rl import vision
from weit_rl.benchmark import main as benchmark
from weit_rl.common.errors import UserError
from weit_rl.comparison.grid import Grid
from weit_rl.comparison.sources import Sources
from weit_rl.options.command import compose
from weit_rl.tasks import image_options


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


@pytest.mark.slow
def test_a_small_comparison_of_drawn_images(tmp_path):
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
    assert sources.needed()[0] == "judge" and sources.scoring()["features"] == str(tmp_path / "judge")
    judge = sources.judge_options()
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
def test_comparisons_that_cannot_be_judged_are_refused_at_once(refused, words, says):
    assert says in refused("benchmark", *words)
