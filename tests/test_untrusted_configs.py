"""Configs and the modules that environments name: nothing is made or imported that the user did not ask for."""

import shlex
import shutil
import sys

import pytest
import yaml
from little_memory import refuses

from weit_rl.options.command import compose
from weit_rl.options.option_table import as_config
from weit_rl.storage.tensor_file import read_tensors, write_tensors
from weit_rl.training.run_folder import RunFolder
from weit_rl.workflows.resume_command import command_to_resume, words_to_resume


def test_no_option_instantiates_anything(refused, words, tmp_path):
    bomb = f"{{_target_: os.mkdir, path: {tmp_path / 'made'}}}"
    config = compose("train", [f"init_options={bomb}"])
    assert config.init_options == {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    assert "unknown option of init=weit '_target_'" in refused("train", *words["train"], f"init_options={bomb}")
    assert "unknown option '_target_'" in refused("train", *words["train"], "_target_=os.mkdir")
    assert not (tmp_path / "made").exists()
    assert compose("train", ["data=${oc.env:HOME}"]).data == "${oc.env:HOME}"


@pytest.fixture
def edited(tiny_run, tmp_path):
    """Copy a run as unfinished; return a function that edits its config.yaml."""

    def edit(**changes):
        run = shutil.copytree(tiny_run, tmp_path / "run")
        (run / "evaluation.json").unlink()
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(config | changes))
        return run

    return edit


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"_target_": "os.mkdir"}, "was not made by"), ({"batch_size": "x"}, "batch_size=x: must be an integer"),
     ({"batch_size": None}, "must be an integer"), ({"size": [1]}, "size.name: must be in a group"),
     ({"size": {"name": "small", "depth": None}}, "size.width: is missing"),
     ({"init_options": "x"}, "must be a mapping"), ({"lr": 1}, "was not made by"), ({"env": {"a": 1}}, "a text"),
     ({"train_steps": True}, "must be an integer"), ({"warmup": float("nan")}, "must be a number"),
     ({"env": "gym:antigravity:X-v0"}, r"imports a module; if you trust it, say so with env=gym:antigravity:X-v0"),
     ({"init_options": {"_target_": "os.mkdir"}}, "unknown option of init=weit '_target_'")],
)  # fmt: skip
def test_a_strangers_config(changes, says, refused, edited):
    run = edited(**changes)
    assert says in refused("train", f"resume={run}", folder=run)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("env", ["gym:a_module:X-v0", "gym:a_module:X-v0:pixels=64", ["Hopper", "gym:a_module:X-v0"]])
def test_a_stopped_run_repeats_the_trust_of_a_module(env, tmp_path):
    command = command_to_resume("pretrain", tmp_path, as_config({"env": env}))
    python, _, module, *said = shlex.split(command)
    assert (python, module) == ("python", "weit_rl.pretrain")
    cfg = compose("pretrain", said)
    assert cfg.resume == str(tmp_path) and cfg.env == env


def test_a_stopped_run_repeats_only_its_task(tmp_path):
    run = tmp_path / "a run"
    words = words_to_resume(run, {"task": "classification"})
    assert command_to_resume("train", run, {"task": "classification"}) == (
        f"python -m weit_rl.train task=classification {words}"
    )
    assert words == words_to_resume(run, {"env": "gym:Pendulum-v1"}) == f"'resume={run}'"


NO_CONFIGS = ["&a [*a]", "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "[" * 2000, "a: !!python/name:os.system", "1", "- a",
              "? [a]\n: b", "a: " + "x" * 2_000_000]  # fmt: skip


@pytest.mark.parametrize("text", NO_CONFIGS, ids=lambda text: text[:20])
def test_a_config_that_is_no_config(text, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "config.yaml").write_text(text)
    refuses(RunFolder.open, run, says="its config.yaml or metrics.csv was damaged")


def test_a_checkpoint_names_a_module_only_with_the_users_word(tiny_run, tmp_path, refused, monkeypatch):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    name = "gym:a_strangers_module:HalfCheetah-v5"
    for path in (run / "checkpoints").glob("*.safetensors"):
        tensors, card = read_tensors(path)
        write_tensors(path, tensors, card | {"env": name})
    says = f"its environment imports a module; if you trust it, say so with env={name}"
    assert says in refused("evaluate", f"run={run}", "episodes=1", folder=run)
    for verb in ("evaluate", "export"):
        words = [f"run={run}", "episodes=1", "env=gym:other:HalfCheetah-v5"]
        assert says in refused(verb, *words, folder=run) and says in refused(verb, *words[:2], folder=run)
    (tmp_path / "a_strangers_module.py").write_text("LOADED = True")
    monkeypatch.syspath_prepend(tmp_path)
    from weit_rl.envs.registry import entry_of_file

    assert "a_strangers_module" not in sys.modules
    assert entry_of_file(name, "x", name).gym_id == "HalfCheetah-v5" and "a_strangers_module" in sys.modules
