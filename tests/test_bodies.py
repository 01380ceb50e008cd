"""Bodies of other sizes as environments: the original is untouched, and what cannot stand is refused."""

import gymnasium
import mujoco
import numpy as np
import pytest
from shared_bodies import ORIGINALS, OTHERS, at_rest
from shared_envs import refusal

from weit_rl.envs import body_environment
from weit_rl.envs.bodies import Body, with_body
from weit_rl.envs.body_editing import EDITS, build
from weit_rl.envs.body_environment import body_env, check_stands
from weit_rl.envs.body_parameters import BODIES
from weit_rl.envs.registry import env_entry


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


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_changes_is_the_original(name):
    default = ":".join([name, *(f"{parameter}={row.default:g}" for parameter, row in BODIES[name].items())])
    assert env_entry(default) is env_entry(name)
    assert with_body(name, dict.fromkeys(BODIES[name])) == name
    env = body_env(name)
    assert same_models(env.model, ORIGINALS[name].model)
    assert np.array_equal(played(env), played(gymnasium.make(f"{name}-v5").unwrapped))


@pytest.mark.parametrize(
    ("name", "parameter", "same_joints"),
    [("Ant", "legs", False), ("Swimmer", "links", True)],  # Ant's legs differ in the signs of their joints
)
def test_as_many_copies_as_the_original_has_make_the_original(name, parameter, same_joints):
    original = ORIGINALS[name].model
    spec = mujoco.MjSpec.from_file(ORIGINALS[name].fullpath)
    spec.copy_during_attach = True
    EDITS[parameter](spec, BODIES[name][parameter].default)
    model = spec.compile()
    for array in ("body_mass", "body_inertia", "geom_size", "geom_friction", "dof_armature", "dof_damping"):
        assert np.allclose(getattr(model, array), getattr(original, array)), array
    assert np.allclose(at_rest(model).geom_xpos, at_rest(original).geom_xpos)
    assert np.allclose(at_rest(model).xanchor, at_rest(original).xanchor)
    assert np.array_equal(model.jnt_range, original.jnt_range) == same_joints


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


def test_a_body_that_cannot_stand():
    entry = env_entry("Ant:limbs=0.5:torso=2")
    why = "this body cannot stand, its limbs do not reach below its torso"
    message = f"env {entry.name}: {why}; bring limbs=0.5, torso=2 nearer to the original's"
    assert refusal(entry.make) == refusal(lambda: entry.sizes) == message


@pytest.mark.parametrize(
    ("name", "timestep", "growth", "says"),
    [
        # bodies of no other test, since a model is built once in a process
        ("HalfCheetah:limbs=1.1001", 0.4, 1, "its simulation is unstable"),
        ("Ant:limbs=1.1001", 0.01, 4, "its episodes end before it has acted"),
    ],
)
def test_a_body_that_fails_before_it_acts(monkeypatch, name, timestep, growth, says):
    def spoilt(path, body):
        model = build(path, body)[0]
        model.opt.timestep = timestep
        return model, growth  # heights that it does not have

    monkeypatch.setattr(body_environment, "build", spoilt)
    assert says in refusal(check_stands, Body.parse(name))
