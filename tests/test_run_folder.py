"""Run folders: what a run leaves behind, and how it goes on after a stop; what is shown meanwhile."""

import csv
import json
import shutil
from collections import namedtuple
from io import StringIO

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console

from weit_rl.common.errors import UserError
from weit_rl.options.command import compose
from weit_rl.options.option_table import plain_config
from weit_rl.training.learning_curve import draw_learning_curve, draw_series
from weit_rl.training.loop import OptimizerRecipe
from weit_rl.training.progress import Progress, print_table
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.stage_monitor import Monitor, Stage


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "run", "train", compose("train", ["size=160x5"]), seed=3)
    yield run
    run.close()


def test_a_new_folder_records_what_the_run_depends_on(run):
    facts = json.loads((run.path / "environment.json").read_text())
    assert facts["seed"] == 3 and facts["versions"]["torch"] == torch.__version__
    assert {"python", "platform", "cpu_count", "torch_threads", "git_commit", "command"} <= set(facts)
    assert run.checkpoint_path("last") == run.path / "checkpoints" / "last.safetensors"
    assert run.checkpoint_path("last").parent.is_dir()


@pytest.mark.parametrize("name", ["a b=c,d[e]", "ünï '\"", "${x}", "a: b #c"])
def test_the_config_comes_back_whatever_the_paths_are(name, tmp_path):
    path = str(tmp_path / name)
    config = compose("train", [f"run_dir={path}", f"data={name}", "size.width=64"])
    RunFolder.create(path, "train", config, 0)
    back = RunFolder.open(path).config
    assert plain_config(back) == plain_config(config) and back.run_dir == path and back.size.width == 64


def test_the_default_name_says_what_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [RunFolder.create(None, "train", compose("train", ["size=160x5"]), 7) for _ in range(2)]
    assert runs[0].path != runs[1].path
    assert str(runs[0].path).startswith("runs/train-HalfCheetah-160x5-weit-s7-2")
    shaped = RunFolder.create(None, "train", compose("train", ["size.width=96", "size.depth=4", "env=a/b c"]), 0)
    assert str(shaped.path).startswith("runs/train-a_b_c-96x4-weit-s0-2")
    assert "pretrain-HalfCheetah-128x6-s0-2" in str(RunFolder.create(None, "pretrain", compose("pretrain"), 0).path)


def test_an_existing_folder_is_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="choose another run_dir, or go on with resume="):
        RunFolder.create(tmp_path / "mine", "train", compose("train"), 0)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", "train", compose("train"), 0)


def test_missing_disk_space_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 5_000_000))
    with pytest.raises(UserError, match="needs 200 MB of disk space and 5 MB are free"):
        RunFolder.create(tmp_path / "a" / "b", "train", compose("train"), 0)
    assert not list(tmp_path.iterdir())
    RunFolder.create(tmp_path / "a" / "b", "train", compose("train"), 0, free_bytes=1_000_000)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        RunFolder.create(tmp_path / "file" / "run", "train", compose("train"), 0)


@pytest.mark.parametrize("name", ["none", "other"])
def test_only_a_run_folder_is_opened(name, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="is no run folder"):
        RunFolder.open(tmp_path / name)


def test_a_damaged_config_is_one_line(run):
    (run.path / "config.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="damaged"):
        RunFolder.open(run.path)


def test_metrics_are_rows_and_come_back(run):
    run.log(1, {"train/loss": torch.tensor(0.5), "train/lr": 1e-3})
    run.log(2, {"train/loss": np.float32(0.25)})
    rows = list(csv.reader((run.path / "metrics.csv").open()))
    assert rows == [["step", "name", "value"], ["1", "train/loss", "0.5"], ["1", "train/lr", "0.001"],
                    ["2", "train/loss", "0.25"]]  # fmt: skip
    assert run.metrics() == {"train/loss": [(1, 0.5), (2, 0.25)], "train/lr": [(1, 1e-3)]}


def test_resuming_drops_metrics_that_will_be_logged_again(run):
    for step in range(1, 7):
        run.log(step, {"train/loss": 1 / step})
    run.close()
    with (run.path / "metrics.csv").open("a") as file:
        file.write("7,train/lo")  # killed in the middle of a row
    assert len(RunFolder.open(run.path).metrics()["train/loss"]) == 6
    again = RunFolder.open(run.path, resume_step=4)
    again.log(5, {"train/loss": 9.0})
    again.close()
    assert again.metrics()["train/loss"] == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4), (5, 9.0)]
    assert _tensorboard(run.path, "train/loss") == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3), 4: 0.25, 5: 9.0}


def _tensorboard(path, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path / "tensorboard")).Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_opening_changes_nothing(run):
    run.log(1, {"train/loss": 1.0})
    run.close()
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*")}
    RunFolder.open(run.path).close()
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*")} == before


def test_json_takes_numpy_numbers_and_paths(run):
    run.write_json("evaluation.json", {"return_mean": np.float32(0.5), "returns": np.arange(2), "run": run.path})
    data = json.loads((run.path / "evaluation.json").read_text())
    assert data == {"return_mean": 0.5, "returns": [0, 1], "run": str(run.path)}


def test_the_learning_curve_is_a_picture(run):
    for step in range(1, 80):
        run.log(step, {"train/loss": 1 / step})
    run.log(80, {"validation/return": -100.0, "validation/score": 3.0})
    picture = run.plot_learning_curve({"scaler stage": 0, "training": 40}, behaviour_return=9000.0)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


@pytest.mark.parametrize("lowest", [0.9, 0.4, 0.001])
def test_the_axis_of_the_loss_has_numbers_to_read_it_by(lowest):
    panel = Figure().subplots()
    draw_series(panel, "loss", {"train/loss": [(1, 1.1), (2, 1.0), (3, lowest)]}, {"train": "C0"})
    low, high = panel.get_ylim()
    assert sum(low <= tick <= high for tick in panel.get_yticks()) >= 3
    assert (panel.get_yscale() == "log") == (lowest == 0.001)


@pytest.mark.parametrize("metrics", [{}, {"train/loss": [(1, -1.0)]}, {"x/return_mean": [(1, float("nan"))]}])
def test_a_curve_of_few_points_is_drawn(metrics):
    assert draw_learning_curve(metrics, {}, None).startswith(b"\x89PNG")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_step_loss_speed_and_time_left(terminal, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("weit_rl.training.progress.time.monotonic", lambda: next(clock))
    console = Console(file=StringIO(), force_terminal=terminal, width=120)
    with Progress(40, "scaler stage", start=10, console=console) as bar:
        for step in range(11, 31):
            bar.update(step, loss=torch.tensor(0.125))
    text = console.file.getvalue()
    for part in ("scaler stage", "30/40", "loss 0.125", "steps/s", "left"):
        assert part in text
    assert ("\x1b" in text) == terminal
    lines = range(2, 5) if not terminal else range(1, 100)  # a log file: one about every ten seconds, and the last one
    assert len(text.splitlines()) in lines


def test_progress_past_its_total_has_no_time_left():
    """Check more steps than were asked for, since PPO gathers whole rollouts."""
    with Progress(3000, "PPO", console=Console(file=StringIO(), width=80)) as bar:
        bar.update(4096)
        assert "4096/3000" in bar.facts() and bar.facts().endswith("0:00 left")


def test_progress_survives_a_stage_without_steps():
    console = Console(file=StringIO(), width=80)
    with Progress(0, "nothing", console=console):
        pass
    assert "0/0" in console.file.getvalue()


def test_a_table_holds_its_rows():
    console = Console(file=StringIO(), width=80)
    title = "HalfCheetah [64x2], a title longer than its table"
    print_table(
        title, [{"": "last", "return": 8120.25, "episodes": 20}, {"": "data", "return": "-", "episodes": 1}], console
    )
    text = console.file.getvalue()
    assert title in text and "8,120.2" in text and "data" in text


def test_what_an_initialiser_does_beside_its_stage_is_counted(run):
    net = torch.nn.Linear(3, 4)
    stage = Stage("stage", net, lambda step: net(torch.ones(2, 3)).sum(), OptimizerRecipe(1, 1e-3))

    def multiply():
        torch.ones(2, 3) @ torch.ones(3, 4)

    def flops():
        monitor = Monitor(run)
        with monitor.beside():
            multiply()
            monitor.fit(stage)  # which counts its own
            multiply()
        multiply()
        return monitor.flops

    product = 2 * 2 * 3 * 4
    assert flops() == 2 * product + 2 * product  # two products beside the stage, forward and backward in it
    assert flops() == 4 * product  # by a resumed run that does it again
    assert run.metrics()["beside/flops"] == [(0, 2 * product)]
    assert run.metrics()["stage/flops"][-1] == (1, 2 * product)
