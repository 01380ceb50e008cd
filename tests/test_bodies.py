"""Bodies of other sizes: the original is untouched, lengths and parts are as asked, and what cannot be is refused."""

import re
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from weit_rl.agents.recording import Episode, write_minari
from weit_rl.collect import main as collect
from weit_rl.command import compose
from weit_rl.data import load_trajectories
from weit_rl.envs import body_environment
from weit_rl.envs.bodies import Body, with_body
from weit_rl.envs.body_editing import EDITS, build
from weit_rl.envs.body_environment import body_env, check_stands
from weit_rl.envs.body_heights import ROOT, lifts_torso, lowest, stance
from weit_rl.envs.body_parameters import BODIES
from weit_rl.envs.entry import env_entry, load_families
from weit_rl.envs.gymnasium_mujoco import load_simulator
from weit_rl.errors import UserError
from weit_rl.options import options
from weit_rl.workflows.benchmark import Comparison, benchmark
from weit_rl.workflows.launch import launch

load_families()
load_simulator("bodies")
DOCS = Path(__file__).parents[1] / "docs"
ORIGINALS = {name: gymnasium.make(f"{name}-v5").unwrapped for name in BODIES}
STRETCHED = [f"{name}:limbs=0.8:torso=1.25" for name in BODIES]
OTHERS = [*STRETCHED, "Hopper:limbs=0.5:torso=2", "Walker2d:limbs=2", "Ant:legs=3", "Ant:legs=6:limbs=1.5"]
OTHERS += ["HalfCheetah:segments=2", "HalfCheetah:segments=5:torso=2", "Swimmer:links=2", "Swimmer:links=12"]
VERBS = ("train", "pretrain", "benchmark", "collect")


def refusal(call, *args):
    with pytest.raises(UserError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def at_rest(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def arrays(model):
    return {name: a for name in dir(model) if isinstance(a := getattr(model, name), np.ndarray)}


def same_models(model, other):
    return all(np.array_equal(a, getattr(other, name)) for name, a in arrays(model).items())


def played(env, steps=50):
    rng, rows = np.random.default_rng(0), [env.reset(seed=3)[0]]
    for _ in range(steps):
        observation, reward, *_ = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        rows.append(np.append(observation, reward)[1:])
    return np.concatenate(rows)


# --- the original


@pytest.mark.parametrize("name", BODIES)
def test_nothing_changed_is_the_original(name):
    default = ":".join([name, *(f"{parameter}={row.default:g}" for parameter, row in BODIES[name].items())])
    assert env_entry(default) is env_entry(name)
    assert with_body(name, dict.fromkeys(BODIES[name])) == name
    env = body_env(name)
    assert same_models(env.model, ORIGINALS[name].model)
    assert np.array_equal(played(env), played(gymnasium.make(f"{name}-v5").unwrapped))


@pytest.mark.parametrize(("name", "parameter"), [("Ant", "legs"), ("Swimmer", "links")])
def test_as_many_copies_as_the_original_has_make_the_original(name, parameter):
    """Ant's legs differ in the signs of their joints only."""
    original = ORIGINALS[name].model
    spec = mujoco.MjSpec.from_file(ORIGINALS[name].fullpath)
    spec.copy_during_attach = True
    EDITS[parameter](spec, BODIES[name][parameter].default)
    model = spec.compile()
    for array in ("body_mass", "body_inertia", "geom_size", "geom_friction", "dof_armature", "dof_damping"):
        assert np.allclose(getattr(model, array), getattr(original, array)), array
    assert np.allclose(at_rest(model).geom_xpos, at_rest(original).geom_xpos)
    if name == "Swimmer":
        assert np.array_equal(at_rest(model).xanchor, at_rest(original).xanchor)
        assert np.array_equal(model.jnt_range, original.jnt_range)


# --- lengths and parts


@pytest.mark.parametrize("name", STRETCHED)
def test_lengths_are_as_asked_and_parts_stay_together(name):
    body = Body.parse(name)
    new, old = body_env(name).model, ORIGINALS[body.env].model
    news, olds = at_rest(new), at_rest(old)
    for geom in np.flatnonzero(old.geom_bodyid):
        rigid = old.body_weldid[old.geom_bodyid[geom]] == old.body(ROOT).id
        factor = body.value("torso") if rigid else body.value("limbs")
        capsule = old.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
        assert np.allclose(new.geom_size[geom], old.geom_size[geom] * ([1, factor, 1] if capsule else [factor, 1, 1]))
        joint = old.body_jntadr[old.body_weldid[old.geom_bodyid[geom]]]
        if not rigid:  # measured from the joint that the part hangs on
            from_joint = [d.geom_xpos[geom] - d.xanchor[joint] for d in (news, olds)]
            assert np.allclose(from_joint[0], from_joint[1] * factor)


@pytest.mark.parametrize(
    ("env", "joints", "of"),
    [
        ("HalfCheetah", ("bthigh", "fthigh"), "torso"),
        ("HalfCheetah", ("bthigh", "bfoot"), "limbs"),
        ("Hopper", ("thigh_joint", "foot_joint"), "limbs"),
        ("Walker2d", ("thigh_left_joint", "foot_left_joint"), "limbs"),
        ("Ant", ("hip_1", "hip_3"), "torso"),
        ("Ant", ("hip_2", "ankle_2"), "limbs"),
        ("Swimmer", ("motor1_rot", "motor2_rot"), "limbs"),
    ],
)
def test_joints_are_where_the_parts_end(env, joints, of):
    body = Body.parse(f"{env}:limbs=0.8:torso=1.25")
    apart = [
        np.subtract(*(at_rest(model).joint(joint).xanchor for joint in joints))
        for model in (body_env(body.name).model, ORIGINALS[env].model)
    ]
    assert np.allclose(apart[0], apart[1] * body.value(of))


def test_masses_follow_from_the_geometry():
    def mass(length, radius, density=1000):
        return density * np.pi * radius**2 * (length + 4 / 3 * radius)

    hopper = body_env("Hopper:limbs=1.5:torso=0.5").model
    assert hopper.body("torso").mass[0] == pytest.approx(mass(0.2, 0.05))
    assert hopper.body("thigh").mass[0] == pytest.approx(mass(0.675, 0.05))
    assert body_env("HalfCheetah:segments=3:torso=2").model.body_mass.sum() == pytest.approx(14)  # its settotalmass


@pytest.mark.parametrize("name", OTHERS)
def test_stands_as_high_above_the_floor_as_the_original(name):
    env, original = body_env(name), ORIGINALS[Body.parse(name).env]
    height, low = stance(env.model)
    old_height, old_low = stance(original.model)
    assert low == pytest.approx(old_low, abs=1e-9)
    assert lifts_torso(env.model)
    floor = env.model.geom_pos[0, 2]
    assert lowest(env.model, at_rest(env.model)) >= floor - 1e-9
    if hasattr(env, "_healthy_z_range"):
        env.reset(seed=0)
        assert env.is_healthy
        growth = (height - low) / (old_height - old_low)
        assert np.allclose(env._healthy_z_range, np.multiply(original._healthy_z_range, growth))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [(f"HalfCheetah:segments={n}", (17 + 2 * (n - 1), 6 + n - 1)) for n in (2, 3, 6)]
    + [(f"Ant:legs={n}", (17 + 22 * n, 2 * n)) for n in (3, 6, 12)]
    + [(f"Swimmer:links={n}", (2 + 2 * n, n - 1)) for n in (2, 4, 12)],
)
def test_sizes_follow_from_the_parts(name, sizes):
    assert env_entry(name).sizes == sizes


def test_a_trunk_in_segments_is_the_trunk():
    model, original = body_env("HalfCheetah:segments=4").model, ORIGINALS["HalfCheetah"].model
    data, old = at_rest(model), at_rest(original)
    spine = [data.joint(f"spine_{i}").xanchor[0] for i in (2, 3, 4)]
    assert np.allclose(spine, [0.25, 0, -0.25])
    names = {"fthigh": "fthigh", "ffoot": "ffoot", "bthigh_rear": "bthigh", "bfoot_rear": "bfoot"}
    for joint, its in names.items():
        assert np.allclose(data.joint(joint).xanchor, old.joint(its).xanchor)
    assert np.allclose(data.geom("head").xpos, old.geom("head").xpos)


def test_legs_stand_evenly_and_alike():
    env = body_env("Ant:legs=6")
    hips = [at_rest(env.model).joint(f"hip_1_{i}").xanchor[:2] for i in range(1, 7)]
    angles = np.degrees(np.arctan2(*np.transpose(hips)[::-1])) % 360
    assert np.allclose(angles, [30, 90, 150, 210, 270, 330])
    masses = env.model.body_mass[2:].reshape(6, 3)  # three parts of a leg
    assert np.allclose(masses, ORIGINALS["Ant"].model.body_mass[2:5])


# --- environments


@pytest.mark.parametrize("name", OTHERS)
def test_episodes_are_finite_and_repeat(name):
    env, other = env_entry(name).make(), env_entry(name).make()
    rows = played(env)
    assert np.isfinite(rows).all() and np.array_equal(rows, played(other))
    assert env.observation_space.contains(env.reset()[0]) and env.spec.max_episode_steps == 1000
    assert env.unwrapped.model is not other.unwrapped.model
    assert env_entry(name).score(1000.0) is None


def test_the_same_name_gives_the_same_model():
    path, body = ORIGINALS["Ant"].fullpath, Body.parse("Ant:legs=5:limbs=1.2")
    assert same_models(build(path, body)[0], build(path, body)[0])


def test_pictures_may_be_larger_than_the_file_says():
    assert body_env("Ant:legs=6", width=900, height=700).model.vis.global_.offwidth == 900


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
def test_what_is_no_body_is_one_line(name, says):
    assert says in refusal(env_entry, name)


@pytest.mark.parametrize("env", ["Humanoid", "dmc/cheetah-run", "gym:HalfCheetah-v5"])
def test_environments_with_one_body(env):
    says = f"body.torso: env={env} has one body only; others have HalfCheetah, Hopper"
    assert says in refusal(with_body, env, {"torso": 1.25, "limbs": None})


def test_a_body_that_cannot_stand():
    entry = env_entry("Ant:limbs=0.5:torso=2")
    why = "this body cannot stand, its limbs do not reach below its torso"
    message = f"env {entry.name}: {why}; bring limbs=0.5, torso=2 nearer to the original's"
    assert refusal(entry.make) == refusal(lambda: entry.sizes) == message


@pytest.mark.parametrize(
    ("name", "timestep", "growth", "says"),
    [
        ("HalfCheetah:limbs=1.1", 0.4, 1, "its simulation is unstable"),
        ("Ant:limbs=1.1", 0.01, 4, "its episodes end before it has acted"),
    ],
)
def test_a_body_that_does_not_even_begin(monkeypatch, name, timestep, growth, says):
    def spoilt(path, body):
        model = build(path, body)[0]
        model.opt.timestep = timestep
        return model, growth  # heights that it does not have

    monkeypatch.setattr(body_environment, "build", spoilt)
    body_environment._parts.cache_clear()
    assert says in refusal(check_stands, Body.parse(name))
    body_environment._parts.cache_clear()


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

    monkeypatch.setattr("weit_rl.workflows.behaviour.LevelRecorder", stop)
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
    write_minari(folder, entry, [Episode(0, *steps, terminated=False)], {"dataset_id": "x-v0", "env_id": entry.gym_id})
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
