"""Runs beside each other: the table, the curves, new episodes; one episode as a contact sheet."""

import json
import shutil
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from weit_rl.agents.contact_sheet import Film, animation, contact_sheet
from weit_rl.agents.evaluation import evaluate, summary
from weit_rl.common.seeds import TEST_SEED
from weit_rl.comparison.overlay import overlaid
from weit_rl.comparison.run_records import RecordedRun, by_seed, recorded_runs
from weit_rl.envs.floor import endless_floor
from weit_rl.envs.registry import env_entry
from weit_rl.evaluate import main
from weit_rl.options.command import compose
from weit_rl.training.checkpoint import load_network
from weit_rl.training.learning_curve import columns_of, draw_learning_curve, finish_panel
from weit_rl.training.run_folder import RunFolder


@pytest.fixture
def copy(tiny_run, tmp_path):
    """Copy the tiny run and change its options, as if it had been made with them."""

    def make(name, **options):
        folder = tmp_path / name
        shutil.copytree(tiny_run, folder)
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | options))
        return folder

    return make


def compare(runs, *words):
    return main(compose("evaluate", [f"compare={json.dumps([str(run) for run in runs])}", *words]))


def test_runs_stand_beside_each_other_without_being_played(tiny_run, copy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("weit_rl.comparison.compare_runs.episode_returns", lambda *_: pytest.fail("played"))
    other, stopped = copy("other", seed=1), copy("stopped", init="supernet")
    (stopped / "evaluation.json").unlink()
    report = compare([tiny_run, other, stopped], f"out={tmp_path / 'out'}")
    shown = capsys.readouterr().out
    first = json.loads((tiny_run / "evaluation.json").read_text())
    row, _, unfinished = report["runs"]
    assert row["run"] == tiny_run.name and row["return_mean"] == first["best"]["return_mean"]
    assert (row["checkpoint"], row["size"], row["steps"], row["flops"]) == ("best", "96x3", 24, first["flops"])
    assert unfinished["return_mean"] is unfinished["flops"] is None
    assert "unfinished: stopped, at step 24" in shown and f"resume={stopped}" in shown
    assert (
        "all of env HalfCheetah, model dt, size 96x3, steps 24\n" in shown
        and f"{tiny_run.name}, 2 seeds: mean of" in shown
    )
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert saved["runs"] == report["runs"] and list(saved["over_seeds"]) == [f"{tiny_run.name}, 2 seeds"]
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_overwritten_and_the_last_network_can_be_asked_for(tiny_run, copy, tmp_path):
    words = [f"out={tmp_path / 'out'}", "checkpoint=last"]
    reports = [compare([tiny_run, copy(name)], *words) for name in "ab"]
    assert [path.rpartition("/")[2] for path in reports[1]["files"]] == ["comparison-2.json", "comparison-2.png"]
    last = json.loads((tiny_run / "evaluation.json").read_text())["return_mean"]
    assert [row["return_mean"] for row in reports[0]["runs"]] == [last, last]


def test_fresh_episodes_are_the_same_for_all_and_paired(tiny_run, copy, tmp_path, capsys):
    twin, worse = copy("twin"), copy("worse")
    shutil.copy(worse / "checkpoints" / "start.safetensors", worse / "checkpoints" / "best.safetensors")
    words = ["fresh=true", "episodes=2", f"out={tmp_path / 'out'}", "device=cpu"]
    (twin / "checkpoints" / "best.safetensors").unlink()  # as where nothing was validated
    shutil.copy(tiny_run / "checkpoints" / "best.safetensors", twin / "checkpoints" / "last.safetensors")
    first, same, other = compare([tiny_run, twin, worse], *words)["fresh"]
    assert (first["checkpoint"], same["checkpoint"]) == ("best", "last")
    assert same["less_the_first"] == (0, 0, 0) and "less_the_first" not in first
    assert other["less_the_first"].value == pytest.approx(other["return_mean"] - first["return_mean"])
    assert other["less_the_first"].low <= other["less_the_first"].value <= other["less_the_first"].high
    assert first["return_mean"] != json.loads((tiny_run / "evaluation.json").read_text())["best"]["return_mean"]
    assert f"less {tiny_run.name} (95 %)" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out" / "comparison.json").read_text())["fresh"]) == 3


def test_runs_of_several_environments_compare_by_score(tiny_run, copy, tmp_path, capsys):
    report = compare([tiny_run, copy("hop", env="Hopper")], f"out={tmp_path / 'out'}")
    shown = capsys.readouterr().out
    assert "of several environments, so by score only" in shown and "return" not in shown and "score" in shown
    assert [row["env"] for row in report["runs"]] == ["HalfCheetah", "Hopper"]


def test_bad_comparisons_are_one_line(refused, tiny_run, copy, tmp_path, tiny_bank):
    other, hop, body = copy("other"), copy("hop", env="Hopper"), copy("body", env="Ant:legs=6")
    (damaged := copy("damaged")).joinpath("evaluation.json").write_text("[")

    def says(*runs, words=()):
        return refused("evaluate", f"compare={json.dumps([str(run) for run in runs])}", *words, folder=tmp_path)

    assert "needs at least two run folders, compare=[RUN, RUN]" in says(tiny_run)
    assert f"{tiny_run} is given twice" in says(tiny_run, tiny_run)
    (link := tmp_path / "link").symlink_to(tiny_run)
    assert f"{tiny_run} is given twice" in says(tiny_run, link)
    assert "is no run folder" in says(tiny_run, tmp_path)
    assert "is no run of weit_rl.train" in says(tiny_run, tiny_bank.parent)
    assert "is no JSON file of weit_rl.train" in says(tiny_run, damaged)
    assert "several environments (HalfCheetah, Hopper)" in says(tiny_run, hop, words=["fresh=true"])
    assert "compare by score only, and body has none (Ant:legs=6 has" in says(tiny_run, body)
    assert "leave out run and video=true" in says(tiny_run, other, words=["video=true"])
    assert "has none of that name (it has best, last, start)" in says(
        tiny_run, other, words=["checkpoint=bst", "fresh=true"]
    )
    assert "did you mean best?" in says(tiny_run, other, words=["checkpoint=bst"])
    assert "cannot write" in says(tiny_run, other, words=[f"out={other / 'config.yaml'}"])
    assert "belong to compare=[RUN, RUN]" in refused("evaluate", f"run={tiny_run}", "fresh=true")


def test_runs_that_differ_only_by_their_seed_are_grouped(copy):
    folders = [copy("a"), copy("b", seed=1, device="cuda"), copy("c", train_steps=13)]
    runs = recorded_runs([str(folder) for folder in folders])
    assert by_seed(runs) == {"a, 2 seeds": ["a", "b"], "c": ["c"]}


def test_runs_of_one_seed_are_not_seeds(tiny_run, copy, tmp_path, capsys):
    """Check that a copy of a run adds nothing: two have no interval, and count as one beside a second seed."""
    again, other = copy("again"), copy("other", seed=1)
    report = json.loads((other / "evaluation.json").read_text())
    report["best"]["return_mean"] += 300
    (other / "evaluation.json").write_text(json.dumps(report))
    (same,) = compare([tiny_run, again], f"out={tmp_path / 'same'}")["over_seeds"].items()
    assert same[0] == f"{tiny_run.name}, 2 runs of seed 0" and np.isnan(same[1].low)
    assert "no interval, since all are of one seed" in capsys.readouterr().out
    saved = json.loads((tmp_path / "same" / "comparison.json").read_text())["over_seeds"]
    assert saved == {same[0]: {"value": same[1].value, "low": None, "high": None}}
    (both,) = compare([tiny_run, again, other], f"out={tmp_path / 'both'}")["over_seeds"].items()
    assert both[0] == f"{tiny_run.name}, 2 seeds in 3 runs"
    assert both[1].value == pytest.approx(same[1].value + 150)
    assert (both[1].low, both[1].high) == pytest.approx((same[1].value, same[1].value + 300))


def test_curves_of_one_seed_have_no_band(copy, monkeypatch):
    bands = []
    monkeypatch.setattr("matplotlib.axes.Axes.fill_between", lambda self, x, low, high, **_: bands.append((low, high)))
    runs = recorded_runs([str(copy(name)) for name in "ab"])
    overlaid({"a": list(runs.values())}, one_env=True)
    assert bands and all(np.isnan(edge).all() for band in bands for edge in band)


def test_flops_and_seconds_of_a_step(tiny_run):
    run, report = RecordedRun(str(tiny_run)), json.loads((tiny_run / "evaluation.json").read_text())
    spent = run.flops_at([0, 6, 12, 24])
    stage = spent - spent[0]  # choosing a start costs something before the first step
    assert 0 < spent[0] < spent[3] == report["flops"] and stage[1] == stage[2] / 2
    assert 0 <= run.seconds_at([0])[0] <= run.seconds_at([24])[0] <= report["seconds"]
    assert run.counts_flops and [step for step, _ in run.training_loss()] == [10, 12, 22, 24]


def test_a_report_is_the_summary_of_the_episodes(tiny_run):
    net, card = load_network(tiny_run / "checkpoints" / "last.safetensors")
    entry = env_entry(card["env"])
    report = evaluate(net, entry, 1, TEST_SEED)
    assert report == summary(np.array([report["return_mean"]]), entry)


# --- curves and sheets


def test_an_online_stage_has_a_count_of_its_own():
    metrics = {"train/loss": [(10, 1.0), (20, 0.5)], "validation/return": [(20, 0.0), (70, 3.0), (120, 5.0)]}
    before, online = columns_of(metrics, {"scaler": 0, "train": 0, "online": 20})  # the first takes no step
    assert (before.unit, before.stages, online.unit) == ("gradient step", {"train": 0}, "environment step")
    assert online.select(metrics["validation/return"]) == [(0, 0.0), (50, 3.0), (100, 5.0)]
    assert before.select(metrics["validation/return"]) == [(20, 0.0)] and online.select(metrics["train/loss"]) == []
    alone, wide = (
        Image.open(BytesIO(draw_learning_curve(metrics, stages, 4.0)))
        for stages in ({"train": 0}, {"train": 0, "online": 20})
    )
    assert wide.width > alone.width


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_sheet_shows_evenly_spaced_frames(count):
    film = Film(fps=20)
    for step in range(count):
        film.add(np.full((480, 640, 3), step, np.uint8), step, 2.5 * step)
    chosen = film.spread(12)
    assert chosen[0] == 0 and chosen[-1] == count - 1 and len(chosen) == min(count, 12)
    sheet = Image.open(BytesIO(contact_sheet(film)))
    columns, rows = min(len(chosen), 4), -(-len(chosen) // 4)
    assert sheet.width == pytest.approx(213 * columns, rel=0.02) and sheet.height == pytest.approx(177 * rows, rel=0.03)
    moving = Image.open(BytesIO(animation(film, count=5)))
    assert moving.info["duration"] == 100 and getattr(moving, "n_frames", 1) <= 5


def test_a_floor_without_an_end_changes_nothing_but_the_picture():
    plain, endless = (env_entry("HalfCheetah").make() for _ in range(2))
    for env in (plain, endless):
        env.reset(seed=0)
    action = np.full(6, 0.3, np.float32)
    steps = [[plain.step(action)[:2] for _ in range(30)], []]
    model = endless.unwrapped.model
    before = model.geom_size.copy(), model.mat_texrepeat.copy()
    for _ in range(30):
        with endless_floor(endless):
            assert (model.geom_size[0, :2] == 0).all()
            steps[1].append(endless.step(action)[:2])
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(*steps, strict=True))
    # what a policy sees in pictures is drawn as before
    assert (before[0] == model.geom_size).all() and (before[1] == model.mat_texrepeat).all()
    with endless_floor(env_entry("gym:Pendulum-v1").make()):  # without a floor there is nothing to do
        pass


def test_a_floor_pattern_keeps_its_size_in_metres():
    model = SimpleNamespace(
        geom_type=np.zeros(2), geom_size=np.full((2, 3), 4.0), geom_matid=np.arange(2),
        mat_texuniform=np.array([True, False]), mat_texrepeat=np.full((2, 2), 8.0),
    )  # fmt: skip
    with endless_floor(SimpleNamespace(unwrapped=SimpleNamespace(model=model))):
        assert model.mat_texrepeat.tolist() == [[8, 8], [1, 1]]


def test_pictures_are_on_the_board_with_their_step(tiny_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shutil.copytree(tiny_run, tmp_path / "run")
    run, film = RunFolder.open(tmp_path / "run"), Film()
    film.add(np.zeros((200, 300, 3), np.uint8), 0, 0.0)
    run.log_image(7, "video/best", picture := animation(film))
    run.close()
    (image,) = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload().Images("video/best")
    assert (image.step, image.encoded_image_string) == (7, picture)


def test_options_of_any_kind_reach_the_hparams_tab(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    words = ["size.width=64", "data=[medium, expert]", "init=bot", "init_options={wavelet: db2}", "past_actions=true"]
    run = RunFolder.create(tmp_path / "run", "train", compose("train", words), 0)
    run.log_hparams({"return_mean": torch.tensor(1.5), "score": None})
    run.close()
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    content = events.PluginTagToContent("hparams")[SESSION_START_INFO_TAG]
    options = HParamsPluginData.FromString(content).session_start_info.hparams
    assert options["data"].string_value == "['medium', 'expert']" and options["size.width"].number_value == 64
    assert options["init_options.wavelet"].string_value == "db2" and options["past_actions"].number_value == 1
    assert events.Tags()["scalars"] == ["hparam/return_mean"] and run.metrics() == {}


def test_steps_are_told_apart_in_short_runs():
    panel = Figure().subplots()
    panel.plot([0, 4], [1, 2])
    finish_panel(panel, columns_of({"train/loss": [(4, 1.0)]}, {"train": 0})[0])
    panel.figure.canvas.draw()
    labels = [text.get_text() for text in panel.get_xticklabels()]
    assert len(labels) == len(set(labels)) > 2


def test_failed_episodes_have_a_column_if_there_are_some(tiny_run, copy, tmp_path, capsys):
    other, old = copy("other", seed=1), copy("old", seed=2)
    report = json.loads((other / "evaluation.json").read_text())
    report["best"]["failed_episodes"] = 3
    (other / "evaluation.json").write_text(json.dumps(report))
    rows = compare([tiny_run, other], f"out={tmp_path / 'out'}")["runs"]
    assert [row["failed_episodes"] for row in rows] == [0, 3] and "failed episodes" in capsys.readouterr().out
    del report["failed_episodes"], report["best"]["failed_episodes"]  # as older versions wrote it
    (old / "evaluation.json").write_text(json.dumps(report))
    rows = compare([tiny_run, old], f"out={tmp_path / 'out'}")["runs"]
    assert [row["failed_episodes"] for row in rows] == [0, None] and "failed episodes" not in capsys.readouterr().out
