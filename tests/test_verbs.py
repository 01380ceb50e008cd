"""The commands from end to end, on tiny data: what they leave behind, evaluated again and filmed."""

import json
import os

import pytest
from conftest import draws

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.envs import gymnasium_mujoco
from weit_rl.envs.registry import env_entry
from weit_rl.evaluate import main as evaluate
from weit_rl.options.command import compose
from weit_rl.storage.tensor_file import read_tensors
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.train_run import FINAL

KEYS = {"return_mean", "return_std", "return_median", "episodes", "score", "seconds"}  # that scripts rely on
KEYS |= {"env", "model", "size", "width", "depth", "init", "scaler_steps", "train_steps"}


# --- what a run leaves behind


def test_a_run_folder_is_complete(tiny_run, tiny_data):
    files = {str(file.relative_to(tiny_run)) for file in tiny_run.rglob("*") if file.is_file()}
    checkpoints = {
        f"checkpoints/{name}.safetensors" for name in ("start", "last", "best", "scaler_state", "train_state")
    }
    plain = {"config.yaml", "environment.json", "metrics.csv", "evaluation.json", "learning_curve.png"}
    board = {file for file in files if file.startswith("tensorboard/")}
    may = {"video.mp4", "video.png", ".lock"}
    assert board and plain | checkpoints <= files and files - board - plain - checkpoints <= may
    assert RunFolder.open(tiny_run).config.data == str(tiny_data)
    facts = json.loads((tiny_run / "environment.json").read_text())
    assert facts["seed"] == 0 and facts["versions"]["mujoco"] and facts["torch_threads"] == 1
    assert (tiny_run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_evaluation_says_what_was_measured_on_what(tiny_run):
    report = json.loads((tiny_run / "evaluation.json").read_text())
    assert set(report) >= KEYS
    assert (report["env"], report["size"], report["width"], report["depth"]) == ("HalfCheetah", "96x3", 96, 3)
    assert (report["init"], report["scaler_steps"], report["train_steps"], report["episodes"]) == ("weit", 12, 12, 1)
    assert report["score"] == pytest.approx(env_entry("HalfCheetah").score(report["return_mean"]))
    assert report["best"]["episodes"] == 1 and report["behaviour"]["episodes"] == 3 and report["seconds"] > 0


def test_metrics_are_in_the_csv_file_and_on_the_board(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    series = RunFolder.open(tiny_run).metrics()
    assert [step for step, _ in series["scaler/loss"]] == [10, 12]
    assert [step for step, _ in series["train/loss"]] == [22, 24]  # steps count through both stages
    assert [step for step, _ in series["validation/return"]] == [12, 16, 20, 24]
    events = EventAccumulator(str(tiny_run / "tensorboard")).Reload()
    assert {name for name in events.Tags()["scalars"] if not name.startswith("hparam/")} == set(series)
    assert [event.step for event in events.Scalars("train/loss")] == [22, 24]


def test_options_and_final_numbers_are_in_the_hparams_tab(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG, SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    report = json.loads((tiny_run / "evaluation.json").read_text())
    events = EventAccumulator(str(tiny_run / "tensorboard")).Reload()
    shown = {
        tag: HParamsPluginData.FromString(content) for tag, content in events.PluginTagToContent("hparams").items()
    }
    options = shown[SESSION_START_INFO_TAG].session_start_info.hparams
    assert options["size.width"].number_value == 96 and options["init"].string_value == "weit"
    assert options["env"].string_value == "HalfCheetah" and "resume" not in options  # null: not set
    metrics = {info.name.tag for info in shown[EXPERIMENT_TAG].experiment.metric_infos}
    assert metrics == {f"hparam/{name}" for name in ("return_mean", *FINAL, "steps")} <= set(events.Tags()["scalars"])
    assert events.Scalars("hparam/return_mean")[0].value == pytest.approx(report["return_mean"])
    assert events.Scalars("hparam/steps")[0].value == 24
    assert not [path for path in (tiny_run / "tensorboard").iterdir() if path.is_dir()]  # one run, not two


def test_the_best_checkpoint_is_the_one_with_the_best_validation(tiny_run):
    returns = RunFolder.open(tiny_run).metrics()["validation/return"]
    card = read_tensors(tiny_run / "checkpoints" / "best.safetensors")[1]
    assert (card["step"], card["validation_return_mean"]) == max(returns, key=lambda row: row[1])


def test_a_bank_says_what_it_was_made_of(tiny_bank, tiny_data):
    card = TemplateBank.load(tiny_bank).card
    assert json.loads(tiny_bank.with_suffix(".json").read_text()) == card
    assert card["sizes_sampled"] == ["32x1", "32x2", "64x1", "64x2"] and card["size"] == [64, 2, 32]
    assert card["config"]["data"] == str(tiny_data) and card["config"]["steps"] == 12
    assert card["scores"]["32x1"]["episodes"] == 1 and card["data"]["episodes"] == 3 and card["licence"]


# --- evaluating and filming


def test_a_finished_run_is_evaluated_again_beside_its_own_evaluation(tiny_run):
    before = (tiny_run / "evaluation.json").read_bytes()
    reports = [evaluate(compose("evaluate", [f"run={tiny_run}", "episodes=1"])) for _ in range(2)]
    for name in ("evaluation-best-1.json", "evaluation-best-1-2.json"):
        assert json.loads((tiny_run / name).read_text()) == reports[0] == reports[1]
        (tiny_run / name).unlink()
    assert (tiny_run / "evaluation.json").read_bytes() == before
    best = json.loads(before)["best"]  # the same seed, so the same episode
    assert best == {name: reports[0][name] for name in best}


def test_another_return_can_be_asked_for(tiny_run):
    words = [f"run={tiny_run}", "checkpoint=last", "episodes=1"]
    returns = [evaluate(compose("evaluate", [*words, f"target_return={asked}"]))["return_mean"] for asked in (0, 9000)]
    assert returns[0] != returns[1]
    for file in tiny_run.glob("evaluation-last-*"):
        file.unlink()


@draws
@pytest.mark.slow
def test_video_is_a_playable_file(tiny_run, monkeypatch):
    import imageio.v3 as imageio
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make = gymnasium_mujoco.make
    monkeypatch.setattr(gymnasium_mujoco, "make", lambda name, **options: make(name, max_episode_steps=20, **options))
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", ""))  # restored afterwards
    video, sheet = tiny_run / "video.mp4", tiny_run / "video.png"
    before = set(tiny_run.rglob("*"))
    evaluate(compose("evaluate", [f"run={tiny_run}", "episodes=1", "video=true"]))
    frames = imageio.imread(video)
    assert len(frames) == 20 and frames[0].shape == (480, 480, 3) and (frames[0] != frames[-1]).any()
    picture = imageio.imread(sheet)
    assert picture.shape[1] > 4 * 150 and sheet.stat().st_size < 60_000
    shown = EventAccumulator(str(tiny_run / "tensorboard")).Reload()
    (moving,) = shown.Images("video/best")
    assert moving.encoded_image_string.startswith(b"GIF89a") and moving.width == 160
    assert len(imageio.imread(moving.encoded_image_string, index=None)) == 10  # every other step
    assert shown.Images("contact_sheet/best")[0].encoded_image_string == sheet.read_bytes()
    evaluate(compose("evaluate", [f"run={tiny_run}", "episodes=1", "video=true"]))
    made = set(tiny_run.rglob("*")) - before
    names = {f"{name}{number}" for number in ("", "-2") for name in ("video", "evaluation-best-1")}
    assert {path.stem for path in made if path.parent == tiny_run} == names  # the first ones are kept, no others
    for path in made:
        path.unlink()


def test_without_a_renderer_it_names_what_to_install(tiny_run, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "no-such-renderer")
    before = sorted(tiny_run.iterdir())
    with pytest.raises(UserError, match=r"no-such-renderer.*apt-get install libosmesa6"):
        evaluate(compose("evaluate", [f"run={tiny_run}", "video=true"]))
    assert sorted(tiny_run.iterdir()) == before
