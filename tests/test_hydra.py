"""Hydra's habits: several runs, files of options, what is composed, completion; the command without a verb."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from short_episodes import short  # noqa: F401
from test_command import TEXTS

from weit_rl.__main__ import COMMANDS, listing
from weit_rl.common.errors import Interrupted, UserError
from weit_rl.options.command import command, compose
from weit_rl.options.hydra_job import finished_jobs
from weit_rl.options.hydra_words import is_for_hydra, literal
from weit_rl.options.option_table import plain_config
from weit_rl.train import main as train
from weit_rl.workflows.checks_before_torch import check_before_torch

PAGE = (Path(__file__).parents[1] / "docs" / "options.md").read_text()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Change to an empty working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def run(here, capsys):
    """Run a command in this process; returns its exit code, what it printed, and the options that main was given."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*words, verb="train", main=None, check=lambda *_: None):
        given = []
        with pytest.raises(SystemExit) as stop:
            command(verb, main or given.append, words, check)
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err, given

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def conf(here):
    """Make a folder of options; return a function that writes into it."""
    (here / "conf" / "experiment").mkdir(parents=True)

    def write(name, text):
        (here / "conf" / f"{name}.yaml").write_text(text)

    return write


@pytest.mark.usefixtures("short")
def test_two_runs_are_two_folders_and_a_table(words, run, here, tmp_path):
    steps = ["env=Short", "scaler_steps=1", "train_steps=1"]
    code, out, err, _ = run("-m", *words["train"], *steps, "seed=0,1", main=train)
    assert (code, err) == (0, "")
    for seed in (0, 1):
        folder = tmp_path / "run" / str(seed)
        assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == seed
        report = json.loads((folder / "evaluation.json").read_text())
        row = next(line for line in out.splitlines()[-2:] if line.split()[0] == str(seed))
        assert f"{report['return_mean']:.5g}" in row.split()
    assert out.splitlines()[-3].split()[:3] == ["run", "seed", "return_mean"]
    assert not list(here.iterdir())


def test_every_combination_is_run_in_a_new_folder(run, here):
    asked = []
    main = lambda cfg: asked.append((cfg.size.name, cfg.seed, cfg.run_dir)) or {"score": cfg.seed}  # noqa: E731
    assert run("-m", "size=tiny,96x2", "seed=range(0,2)", main=main)[0] == 0
    folder = next((here / "runs").iterdir())
    assert [one[:2] for one in asked] == [("tiny", 0), ("tiny", 1), ("96x2", 0), ("96x2", 1)]
    assert [Path(one[2]).resolve() for one in asked] == [folder / str(number) for number in range(4)]
    assert [job["report"] for job in finished_jobs(folder)] == [{"score": seed} for seed in (0, 1, 0, 1)]
    assert {path.name for path in folder.iterdir()} == {"0", "1", "2", "3", "multirun.yaml"}
    code, _, err, given = run("-m", "seed=0,1", f"run_dir={folder}")
    assert code == 2 and "holds runs of -m already; choose another run_dir" in err and given == []


def test_values_of_a_sweep_are_checked_before_the_first_run(run, here):
    fails = lambda cfg: pytest.fail("main must not run")  # noqa: E731
    for word, says in [("seed=0,x", "seed=x: must be an integer"), ("sede=0,1", "did you mean seed?")]:
        code, _, err, _ = run("-m", word, main=fails)
        assert code == 2 and says in err and err.count("\n") == 1
    assert not list(here.iterdir())


def test_a_run_that_fails_does_not_stop_the_others(run):
    def main(cfg):
        if cfg.seed == 0:
            raise UserError("no such thing")
        return {"score": cfg.seed}

    code, out, err, _ = run("-m", "seed=0,1", main=main)
    assert (code, err) == (2, "weit_rl train: error: run 0 (seed=0): no such thing\n")
    assert out.splitlines()[-1].split() == ["1", "1", "1"] and out.splitlines()[-2].split() == ["0", "0", "-"]


def test_a_stopped_sweep_starts_no_further_run(run):
    seeds = []

    def main(cfg):
        seeds.append(cfg.seed)
        raise Interrupted("resume=R goes on", 143)

    code, _, err, _ = run("-m", "seed=0,1", main=main)
    assert (code, err, seeds) == (143, "weit_rl train: resume=R goes on\n", [0])


def test_the_path_of_an_existing_file_is_no_sweep(run, here):
    (here / "a,b.hdf5").touch()
    _, _, _, given = run("-m", "data=a,b.hdf5", "bank='x,y',z")
    assert [(cfg.data, cfg.bank) for cfg in given] == [("a,b.hdf5", "x,y"), ("a,b.hdf5", "z")]


def test_launchers_that_are_not_installed_are_one_line(run):
    code, _, err, _ = run("-m", "hydra/launcher=submitit_slurmy", "seed=0,1")
    assert code == 2 and "Could not find 'hydra/launcher/submitit_slurmy'" in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [["--cfg", "job"], ["-c", "job", "+seed=3"]])
def test_cfg_job_prints_the_options_and_does_nothing(words, run, here):
    plain = ["data=a, b=[c].hdf5", "bank=${seed}", "size=96x3", "init_options={a: {b: 1}}", "seed=3"]
    code, out, err, given = run(*words, *plain)
    assert (code, err, given) == (0, "", []) and not list(here.iterdir())
    assert yaml.safe_load(out) == plain_config(compose("train", plain))
    assert yaml.safe_load(run(*words, *plain, "--package", "size")[1]) == {"name": "96x3", "width": None, "depth": None}


def test_a_folder_of_options_is_put_below_words(run, conf, here):
    conf("experiment/mine", "size: 96x3\nbatch_size: 7\ndata: [a, b]\ntrain_lr: 1e-4\ninit_options: {wavelet: db2}\n")
    conf("experiment/other", "run_dir: runs/${seed}\nsize: {width: 64}\n")
    code, _, err, (cfg,) = run("--config-dir", "conf", "+experiment=mine", "batch_size=5")
    expected = compose("train", ["size=96x3", "data=[a,b]", "train_lr=1e-4", "init_options={wavelet: db2}"])
    expected.batch_size = 5
    assert (code, err) == (0, "") and cfg == expected
    (cfg,) = run("--config-dir", "conf", "+experiment=other", "seed=3")[3]
    assert cfg.run_dir == "runs/3" and cfg.size.width == 64
    given = run("-m", "--config-dir", "conf", "+experiment=glob(*)")[3]
    assert [one.batch_size for one in given] == [7, 32]
    assert {path.name for path in here.iterdir()} == {"conf", "runs"}


@pytest.mark.parametrize("head", ["", "defaults: [train, _self_]\n"])
def test_a_config_by_its_name(head, run, conf):
    conf("mine", f"{head}size: 96x3\nseed: 5\n")
    (cfg,) = run("--config-dir", "conf", "--config-name", "mine", "batch_size=8")[3]
    assert (cfg.size.name, cfg.seed, cfg.batch_size) == ("96x3", 5, 8)


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("sede: 5", ["+experiment=mine"], "unknown option 'sede'; did you mean seed?"),
        ("size: {widht: 5}", ["+experiment=mine"], "unknown option 'size.widht'; did you mean size.width?"),
        ("seed: x", ["+experiment=mine"], "seed: Value 'x'"),
        ("pixels: [1]", ["+experiment=mine"], "pixels"),
        ("a: [", ["+experiment=mine"], "is no YAML"),
        ("seed: 1", ["+experiment=nowhere"], "Could not find 'experiment/nowhere'"),
        ("seed: 1", ["--config-name", "nowhere"], "conf has no nowhere.yaml"),
        ("seed: 1", ["--cfg", "jobs"], "invalid choice: 'jobs'"),
        ("seed: 1", ["--experimental-rerun", "x.pickle"], "--experimental-rerun: is not taken"),
        ("seed: 1", ["sede=1"], "did you mean seed?"),
        ("seed: 1", ["--sede"], "unrecognized arguments: --sede"),
    ],
)
def test_errors_of_hydra_are_one_line(text, words, says, run, conf):
    conf("experiment/mine", text)
    code, _, err, given = run("--config-dir", "conf", *words)
    assert code == 2 and says in err and given == []
    assert err.startswith("weit_rl train: error: ") and err.count("\n") == 1


def test_hydra_is_given_any_text_as_it_is():
    from hydra import compose as composed
    from hydra import initialize

    from weit_rl.options.hydra_config import declare

    declare("train", [])
    with initialize(config_path=None, version_base=None):
        for text in TEXTS:
            found = composed("train", [f"data={literal(text)}", f"bank={literal(text)}"])
            assert (found.data, found.bank) == (text, text)


def test_a_recipe_is_put_below_a_folder_of_options(run, conf):
    conf("experiment/mine", "batch_size: 7\nwarmup: 0.1\n")
    words = ["mode=pretrain", "recipe=imagenet", "warmup=0.2"]
    (cfg,) = run("--config-dir", "conf", "+experiment=mine", *words, verb="vision")[3]
    assert cfg == compose("vision", ["mode=pretrain", "recipe=imagenet", "batch_size=7", "warmup=0.2"])


def test_plain_words_are_not_given_to_hydra():
    assert not is_for_hydra([f"data={text}" for text in TEXTS] + ["seed=1,2", "init_options={a: 1}"])


def test_cfg_job_prints_nothing_that_a_run_would_refuse(run, conf, here):
    conf("experiment/online", "agent_options: {learning_starts: 1000}\n")
    words = ["--config-dir", "conf", "+experiment=online", "--cfg", "job"]
    code, out, err, given = run(*words, check=check_before_torch)
    assert (code, out, given) == (2, "", []) and "agent_options: is for going on online" in err and err.count("\n") == 1


def test_commands_of_the_page_pass_all_checks(run, here):
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    commands = re.findall(r"^python -m weit_rl\.train (.*)$", PAGE, re.MULTILINE)
    found = [run(*shlex.split(line), check=check_before_torch) for line in commands]
    assert [len(given) for *_, given in found] == [0, 1, 6, 5, 1, 2, 1, 0, 0]
    assert [(code, err) for code, _, err, _ in found] == [(0, "")] * len(commands)


def python(*words, cwd):
    done = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_without_a_verb_the_commands_are_listed(here):
    code, out, err = python("-m", "weit_rl", cwd=here)
    assert (code, out, err) == (0, listing() + "\n", "")
    assert all(re.search(rf"^  {name} +\w", out, re.MULTILINE) for name in COMMANDS)
    code, out, err = python("-m", "weit_rl", "tarin", cwd=here)
    assert (code, out) == (2, "") and "did you mean train?" in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [["sede=1"], ["--cfg", "job", "seed=4"], ["--help"]])
def test_the_console_script_is_the_command(words, here):
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    module, name = re.search(r'^weit-rl = "([\w.]+):(\w+)"$', project, re.MULTILINE).groups()
    script = f"import sys, {module} as m; sys.argv[0] = 'weit-rl'; sys.exit(m.{name}())"
    assert python("-c", script, "train", *words, cwd=here) == python("-m", "weit_rl.train", *words, cwd=here)


@pytest.mark.parametrize(
    ("line", "says"),
    [("weit-rl tr", "train"), ("weit-rl train size.w", "size.width="), ("weit-rl vision mode=sample gui", "guidance=")],
)
def test_a_shell_completes(line, says, here, monkeypatch):
    monkeypatch.setenv("COMP_LINE", line)
    assert python("-m", "weit_rl", "-sc", "query=bash", cwd=here) == (0, says + "\n", "")


def test_joblib_runs_side_by_side(here):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'weit_rl[hydra-joblib]'")
    program = """
import os, sys
from weit_rl.options.command import command
def main(cfg):
    return {"score": cfg.seed, "process": os.getpid()}
command("train", main, sys.argv[1:])
"""
    (here / "program.py").write_text(program)
    words = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=3,4", "run_dir=out"]
    code, _, err = python("program.py", *words, cwd=here)
    assert code == 0, err
    assert [job["report"]["score"] for job in finished_jobs(here / "out")] == [3, 4]
