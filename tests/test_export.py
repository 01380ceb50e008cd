"""``python -m weit_rl.export``: a file from a run or from the bank, what is known of it, an episode without torch."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import small_net
from omegaconf import OmegaConf

from weit_rl.common.errors import UserError
from weit_rl.common.seeds import TEST, TEST_SEED
from weit_rl.deploy.measure import Measured, episode_returns
from weit_rl.deploy.onnx_policy import OnnxPolicy
from weit_rl.envs.registry import env_entry
from weit_rl.export import main as export
from weit_rl.options.command import compose
from weit_rl.train import main as train
from weit_rl.training.checkpoint import load_network, save_network
from weit_rl.workflows.export_run import output_paths
from weit_rl.workflows.export_size import largest_size

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)
EXAMPLE = ROOT / "examples" / "onnx_episode.py"
WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None  # importing it is an ImportError from here on
sys.argv = ["onnx_episode.py", *sys.argv[2:]]
runpy.run_path({example!r}, run_name="__main__")
loaded = [name for name in sys.modules if name.partition(".")[0] in ("torch", "stable_baselines3", "hydra")]
assert loaded == ["torch"] and sys.modules["torch"] is None, loaded
"""


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """Export the tiny run in 8 bits, to a path that needs quoting; return it and its report."""
    path = tmp_path_factory.mktemp("out, [1]") / "x=1 2.onnx"
    words = [f"run={tiny_run}", "quantize=int8", "episodes=1", f"out={path}", "target_return=1234.5"]
    return path, export(compose("export", words))


def test_a_run_is_exported_with_a_card_beside_it(exported, tiny_run):
    path, report = exported
    assert json.loads(path.with_name(f"{path.name}.json").read_text()) | {"path": str(path)} == report
    told = report["file"]
    assert (told["env"], told["env_id"], told["model"], told["size"]) == ("HalfCheetah", "HalfCheetah-v5", "dt", "96x3")
    assert told["target_return"] == 1234.5 and told["batch"] is None and report["checkpoint"] == "best"
    assert told["parameters"] == sum(
        p.numel() for p in load_network(tiny_run / "checkpoints" / "best.safetensors")[0].parameters()
    )
    exact, small = report["float32"], report["int8"]
    assert exact["difference"] <= 1e-5 < small["difference"] and small["bytes"] == path.stat().st_size
    assert small["bytes"] < 0.5 * exact["bytes"] and exact["episodes"] == small["episodes"] == 1
    for one in (exact, small):
        assert one["latency_ms"] > 0 and one["score"] == pytest.approx(
            env_entry("HalfCheetah").score(one["return_mean"])
        )


def test_a_whole_episode_without_torch(exported, full_episodes, tmp_path):
    path, _ = exported
    (played,) = episode_returns(OnnxPolicy(path), env_entry("HalfCheetah"), 1, TEST_SEED)
    code = WITHOUT_TORCH.format(example=str(EXAMPLE))
    words = [sys.executable, "-c", code, "--", str(path), str(TEST_SEED)]
    done = subprocess.run(
        words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"dt 96x3: 1000 steps, return {played:.0f}\n"


def test_the_snippet_of_the_page_acts(exported, tmp_path, monkeypatch):
    shutil.copy(exported[0], tmp_path / "policy.onnx")
    shutil.copy(ROOT / "weit_rl" / "deploy" / "onnx_policy.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    snippet = next(text for text in SNIPPETS if "OnnxPolicy(" in text)
    names = {"observation": env_entry("HalfCheetah").make().reset(seed=0)[0], "reward": 1.0}
    exec(compile(snippet, "deploy.md", "exec"), names)
    assert names["action"].shape == (6,) and sys.modules.pop("onnx_policy").OnnxPolicy is type(names["policy"])


def test_the_same_seed_gives_the_same_episode(exported):
    path, report = exported
    entry, policy = env_entry("HalfCheetah"), OnnxPolicy(path)
    (again,) = episode_returns(policy, entry, 1, TEST_SEED)
    assert again == report["int8"]["return_mean"]


def test_a_file_is_overwritten_on_request_only(exported, tiny_run):
    path, _ = exported
    with pytest.raises(UserError, match=r"x=1 2\.onnx exists already; choose another name, or add overwrite=true"):
        export(compose("export", [f"run={tiny_run}", f"out={path}"]))
    told = compose("export", [f"run={tiny_run}", f"out={path}", "overwrite=true"])
    assert output_paths(told) == (path, path.with_name(path.name + ".json"))
    with pytest.raises(UserError, match="there is no folder"):
        export(compose("export", [f"run={tiny_run}", f"out={path.parent / 'no' / 'x.onnx'}"]))


# --- limits


@pytest.fixture
def fitting(tiny_data, tiny_bank):
    """Choose a size if a call of n parameters takes n nanoseconds; return the choice and the ladder."""

    def choose(*words):
        measured = []

        def measure(net, card):
            measured.append(count := sum(p.numel() for p in net.parameters()))
            assert all(p.std() > 0 for p in net.parameters())  # nothing that a file would keep once
            return Measured(bytes(5 * count), lambda inputs: inputs, 1e-9 * count, 0.0)

        made = ["env=HalfCheetah", f"data={tiny_data}", f"bank={tiny_bank}", "sizes=[96x2, 32x1, 64x1]"]
        return *largest_size(compose("export", [*made, "options={context: 5}", *words]), measure), measured

    return choose


def test_the_largest_size_that_keeps_the_limit_is_chosen(fitting):
    size, ladder, measured = fitting("limit=1s")
    assert str(size) == "96x2" and [rung["size"] for rung in ladder] == ["32x1", "64x1", "96x2"]
    counts = [rung["parameters"] for rung in ladder]
    assert measured == counts == sorted(counts) and [rung["bytes"] for rung in ladder] == [5 * n for n in counts]
    between = (counts[1] + counts[2]) // 2
    for limit in (f"{between / 1e3}us", f"[{between / 1e3}us, 1GB]", f"[1s, {5 * between / 1e3}kB]"):
        size, ladder, _ = fitting(f"limit={limit}")
        assert str(size) == "64x1" and [rung["keeps"] for rung in ladder] == [True, True, False]


def test_a_size_whose_weights_exceed_the_limit_is_not_tried(fitting):
    _, ladder, counts = fitting("limit=1s")
    kilobytes = 5 * counts[0] / 1e3 + 0.1
    size, ladder, measured = fitting(f"limit={kilobytes}kB")
    assert (
        str(size) == "32x1" and measured == counts[:1] and [rung["latency_ms"] for rung in ladder[1:]] == [None, None]
    )
    assert fitting(f"limit={kilobytes}kB", "quantize=int8")[2] == counts[:2]  # a byte a weight might do


def test_a_limit_that_no_size_keeps_is_refused_with_the_smallest_ones_numbers(fitting):
    _, _, counts = fitting("limit=1s")
    with pytest.raises(
        UserError, match=f"limit=1us: no size is within it; the smallest, 32x1, .* {counts[0] / 1e6:.3g} ms"
    ):
        fitting("limit=1us")
    with pytest.raises(UserError, match="the smallest, 32x1, has > 0"):
        fitting("limit=1kB")


def test_one_command_from_the_bank_to_a_file(tiny_data, tiny_bank, tmp_path, capsys):
    made = [
        "env=HalfCheetah",
        f"data={tiny_data}",
        f"bank={tiny_bank}",
        "scaler_steps=2",
        "train_steps=0",
        "episodes=1",
    ]
    made += ["options={context: 5, threads: 1, validation_episodes: 0}", f"run_dir={tmp_path / 'run'}", "batch=2"]
    report = export(compose("export", [*made, "limit=300kB", "sizes=[32x1, 256x4]", "seed=3"]))
    assert report["path"] == str(tmp_path / "run" / "policy.onnx") and report["checkpoint"] == "last"
    assert report["float32"]["bytes"] == Path(report["path"]).stat().st_size <= 300_000
    assert [(rung["size"], rung["keeps"]) for rung in report["ladder"]] == [("32x1", True), ("256x4", False)]
    assert abs(report["ladder"][0]["bytes"] - report["float32"]["bytes"]) < 200  # but for the card, as it was foretold
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["scaler_steps"] == 2 and evaluation["seed"] == 3 and evaluation["size"] == "32x1"
    policy = OnnxPolicy(report["path"])
    assert policy.batch == 2 and policy.card["context"] == 5
    played = episode_returns(policy, env_entry("HalfCheetah"), 3, TEST.of(3))  # two together, then one
    assert len(played) == 3 and played[0] == report["float32"]["return_mean"]
    assert "sizes within 300kB on this machine" in capsys.readouterr().out


# --- bad input

RUN = "run={run}"
BAD = [
    ([], "give one of them, run=RUN or env=ENV"),
    ([RUN, "env=HalfCheetah", "size=tiny"], "give one of them"),
    (["env=HalfCheetah"], "give limit=1MB, limit=2ms or the like, or size=small, and not both"),
    (["env=HalfCheetah", "size=tiny", "limit=1MB"], "and not both"),
    (["env=HalfCheeta", "size=tiny"], "did you mean HalfCheetah?"),
    (["env=HalfCheetah", "size=smal"], "did you mean small?"),
    (["env=HalfCheetah", "sizes=[smal]", "limit=1MB"], "did you mean small?"),
    (["env=HalfCheetah", "sizes=[]", "limit=1MB"], "sizes=[]: give at least one"),
    (["env=HalfCheetah", "limit=2parsecs"], "limit=2parsecs: must be a latency such as 2ms"),
    (["env=HalfCheetah", "size=tiny", "options={trian_steps: 3}"], "did you mean train_steps?"),
    (["env=HalfCheetah", "size=tiny", "train_steps=-1"], "train_steps=-1: must be 0 or more"),
    (["env=Ant", "size=tiny"], "no bank ships for env=Ant"),
    ([RUN, "limit=1MB"], "limit: are for a network that is trained, env=ENV"),
    ([RUN, "model=mlp", "train_steps=0"], "model, train_steps: are for"),
    ([RUN, "checkpoint=frist"], "has none of that name (it has best, last, start)"),
    ([RUN, "format=onxx"], "did you mean onnx? (possible: onnx, torch_export)"),
    ([RUN, "quantize=int4"], "did you mean int8?"),
    ([RUN, "quantize=int8", "format=torch_export"], "format=torch_export cannot be quantized; use format=onnx"),
    ([RUN, "batch=0"], "batch=0: must be 1 or more"),
    (["run=nowhere"], "nowhere: is no run folder"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line(refused, tiny_run, words, says):
    assert says in refused("export", *(word.replace("{run}", str(tiny_run)) for word in words))


def test_a_run_of_an_unknown_task_and_one_of_diffusion(refused, tiny_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config + "task: translation\n")
    assert "unknown task 'translation'" in refused("export", f"run={other}")
    save_network(other / "checkpoints" / "best.safetensors", small_net("dit"), {
        "model": "dit", "size": [16, 2, 8], "options": {"image_size": 8, "channels": 3, "classes": 2}})  # fmt: skip
    (other / "config.yaml").write_text(config + "task: diffusion\n")
    assert "is of task=diffusion; python -m weit_rl.vision mode=export" in refused("export", f"run={other}")


def test_the_commands_of_the_docs_have_options_that_exist():
    commands = re.findall(r"^python -m weit_rl\.(\w+)(.*)$", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE)
    assert len(commands) > 3
    for verb, rest in commands:
        assert compose(verb, shlex.split(rest, comments=True))


# --- images


def test_a_classifier_is_exported_with_its_accuracy(tmp_path):
    pytest.importorskip("timm", reason="needs the extra vision: pip install 'weit_rl[vision]'")
    pytest.importorskip("sklearn", reason="needs the extra vision: pip install 'weit_rl[vision]'")
    words = ["task=classification", "data=digits", "size.width=32", "size.depth=1", "init=scratch", "train_steps=20"]
    made = train(compose("train", [*words, "threads=1", "validation=false", f"run_dir={tmp_path / 'run'}"]))
    report = export(compose("export", [f"run={tmp_path / 'run'}", "batch=8"]))
    assert report["path"] == str(tmp_path / "run" / "classifier.onnx") and report["file"]["classes"] == list(
        "0123456789"
    )
    assert report["float32"]["accuracy"] == made["accuracy"] and report["float32"]["images"] == made["images"]
    again = output_paths(compose("export", [f"run={tmp_path / 'run'}"]), Path(report["path"]))
    assert [path.name for path in again] == ["classifier-2.onnx", "classifier-2.onnx.json"]
    said = compose("export", [f"run={tmp_path / 'run'}", "task=classification", "quantize=int8"])
    small = export(said)
    assert small["path"] == str(tmp_path / "run" / "classifier-int8.onnx") and small["int8"]["images"] == made["images"]
    with pytest.raises(UserError, match=r"task=control: run=.* was trained for task=classification; give its task"):
        export(OmegaConf.merge(said, {"task": "control"}))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([RUN, "task=classification"], "was trained for task=control; give its task, or leave it out"),
        (["env=Pendulum", "size=tiny", "task=classification"], "task=classification: env=Pendulum makes a policy"),
        ([RUN, "task=diffusion", "quantize=int8"], "unknown option 'quantize'"),
        ([RUN, "task=nonsense", "out={run}/new"], "unknown task 'nonsense'"),
    ],
)
def test_the_task_must_be_the_task_of_the_run(refused, tiny_run, words, says):
    assert says in refused("export", *(word.replace("{run}", str(tiny_run)) for word in words))
