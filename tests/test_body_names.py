"""Names and options of bodies: one name each, and they reach runs, data and the page."""

import re
from pathlib import Path

import numpy as np
import pytest
from shared_envs import refusal

from weit_rl.agents.minari_writing import write_minari
from weit_rl.agents.recording import PlayedEpisode
from weit_rl.collect import main as collect
from weit_rl.common.errors import UserError
from weit_rl.comparison.benchmark_run import Comparison, benchmark
from weit_rl.data import load_trajectories
from weit_rl.envs.bodies import Body, with_body
from weit_rl.envs.body_parameters import BODIES
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.options.option_table import options
from weit_rl.workflows.run_launch import launch

DOCS = Path(__file__).parents[1] / "docs"
VERBS = ("train", "pretrain", "benchmark", "collect")


# --- names


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("HalfCheetah:torso=1.25:limbs=0.750", "HalfCheetah:limbs=0.75:torso=1.25"),
        ("Ant:legs=6.0:torso=1", "Ant:legs=6"),
        ("Walker2d:torso=1.00001", "Walker2d"),
        ("Hopper:limbs=.66666666", "Hopper:limbs=0.6667"),
        ("Swimmer", "Swimmer"),
    ],
)
def test_a_body_has_one_name(said, name):
    entry = env_entry(said)
    assert entry.name == name == env_entry(name).name and entry == env_entry(name)
    assert Body.of_id(entry.gym_id).name == name
    assert re.fullmatch(r"[\w-]+", entry.slug)


def test_options_and_names_describe_the_same():
    body = {"torso": 1.25, "limbs": None, "segments": 2}
    assert with_body("HalfCheetah", body) == "HalfCheetah:segments=2:torso=1.25"
    assert with_body("HalfCheetah:torso=2:limbs=0.5", body) == "HalfCheetah:limbs=0.5:segments=2:torso=1.25"
    assert with_body("gym:Pendulum-v1", {"torso": None}) == "gym:Pendulum-v1"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("HalfCheetah:torso=2.5", "body.torso=2.5: must be a number from 0.5 to 2 for HalfCheetah"),
        ("Hopper:limbs=0", "body.limbs=0: must be"),
        ("Hopper:limbs=-1", "body.limbs=-1: must be"),
        ("Hopper:limbs=nan", "body.limbs=nan: must be"),
        ("Hopper:limbs=long", "body.limbs=long: must be a number"),
        ("Hopper:limbs=", "body.limbs=: must be a number"),
        ("Ant:legs=2", "body.legs=2: must be a whole number from 3 to 12 for Ant"),
        ("Ant:legs=4.5", "body.legs=4.5: must be a whole number"),
        ("Swimmer:links=1e9", "must be a whole number from 2 to 12"),
        ("HalfCheetah:links=4", "body.links: is of Swimmer; HalfCheetah has torso, limbs, segments"),
        ("Ant:leg=6", "unknown parameter of Ant's body 'leg'; did you mean legs?"),
        ("Ant:", "'' is not PARAMETER=NUMBER"),
        ("Ant:legs", "'legs' is not PARAMETER=NUMBER"),
        ("Ant:legs=5:legs=6", "'legs=6' is not PARAMETER=NUMBER, each once"),
        ("Humanoid:limbs=2", "did you mean Humanoid?"),
        ("HalfCheeta:limbs=2", "did you mean HalfCheetah?"),
    ],
)
def test_a_name_that_is_no_body_is_refused_in_one_line(name, says):
    assert says in refusal(env_entry, name)


@pytest.mark.parametrize("env", ["Humanoid", "dmc/cheetah-run", "gym:HalfCheetah-v5"])
def test_environments_with_one_body(env):
    says = f"body.torso: env={env} has one body only; others have HalfCheetah, Hopper"
    assert says in refusal(with_body, env, {"torso": 1.25, "limbs": None})


# --- options, data, documentation


class Reached(Exception):
    pass


def reach(cfg, *_):
    raise Reached(cfg.env, set(cfg.body.values()))


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_the_options_reach_a_run(verb):
    with pytest.raises(Reached) as reached:
        launch(verb, compose(verb, ["body.torso=1.25", "body.segments=2", "threads=1"]), reach, "")
    assert reached.value.args == ("HalfCheetah:segments=2:torso=1.25", {None})


def test_the_options_reach_a_comparison(monkeypatch):
    monkeypatch.setattr(Comparison, "__init__", lambda self, cfg: reach(cfg))
    with pytest.raises(Reached) as reached:
        benchmark(compose("benchmark", ["env=Ant", "body.legs=6"]))
    assert reached.value.args == ("Ant:legs=6", {None})


def test_the_options_reach_a_recording(monkeypatch, tmp_path):
    def stop(entry, config, run_dir, *_):
        raise Reached(entry.name, str(run_dir))

    monkeypatch.setattr("weit_rl.workflows.behaviour_run.LevelRecorder", stop)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Reached) as reached:
        collect(compose("collect", ["env=Swimmer", "body.links=5"]))
    assert reached.value.args == ("Swimmer:links=5", "runs/collect-Swimmer-links-5")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_options_of_the_table(verb):
    kinds = {f"body.{p}": isinstance(row.default, int) for table in BODIES.values() for p, row in table.items()}
    shown = {key: option.kind == "integer" for key, option in options(verb).items() if key.startswith("body.")}
    assert shown == kinds


def test_data_say_which_body_recorded_them(tmp_path):
    entry = env_entry("HalfCheetah:torso=1.25")
    steps = np.zeros((6, 17), np.float32), np.zeros((5, 6), np.float32), np.zeros(5, np.float32)
    folder = tmp_path / "data"
    write_minari(
        folder, entry, [PlayedEpisode(0, *steps, terminated=False)], {"dataset_id": "x-v0", "env_id": entry.gym_id}
    )
    assert load_trajectories(folder, entry).episodes == 1
    with pytest.warns(UserWarning, match=r"recorded in HalfCheetah-torso1.25-v5, not in HalfCheetah-v5"):
        load_trajectories(folder, env_entry("HalfCheetah"))
    with pytest.raises(UserError, match="observation size 17, but HalfCheetah:segments=2 has 19"):
        load_trajectories(folder, env_entry("HalfCheetah:segments=2"))


def test_the_page_shows_the_table():
    text = (DOCS / "bodies.md").read_text()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if "| `" in line]
    assert rows[1:] == [
        [env, parameter, f"{row.least:g} to {row.most:g} ({row.default:g})", row.about]
        for env, table in BODIES.items()
        for parameter, row in table.items()
    ]
    assert (DOCS / "bodies.png").stat().st_size < 300_000
