"""Environments of the registry: other libraries' checks pass, and a spec or another process makes the same."""

import functools
import multiprocessing
import pickle
import subprocess
import sys
import warnings

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv
from shared_envs import METAWORLD, SUITE
from stable_baselines3.common import env_checker
from stable_baselines3.common.vec_env import SubprocVecEnv

from weit_rl.envs.camera import renderer
from weit_rl.envs.registry import EnvEntry, env_entry

STATES = ["Hopper", "HalfCheetah:limbs=0.9:segments=2", "gym:Pendulum-v1", "gym:Ant-v5"]
STATES += [pytest.param("dmc/walker-walk", marks=SUITE), pytest.param("dmc/reacher-easy", marks=SUITE)]
STATES += [pytest.param("metaworld/drawer-open-v3", marks=METAWORLD)]
PICTURES = ["HalfCheetah:pixels=64", "HalfCheetah:pixels=64+state"]
KINDS = [*STATES, *PICTURES, pytest.param("dmc/cheetah-run:pixels=64", marks=SUITE)]
UNAVOIDABLE = (  # the environments are wrapped, and spaces without bounds are the simulators' own
    "is different from the unwrapped version",
    "is -infinity",
    "is infinity",
)


@pytest.fixture(autouse=True)
def drawn(request):
    """Skip environments that are seen in pictures if nothing can render."""
    if "pixels" in getattr(request.node, "callspec", request.node).__dict__.get("params", {}).get("name", ""):
        request.getfixturevalue("screen")


@pytest.mark.parametrize("name", KINDS)
def test_the_checks_of_gymnasium_and_stable_baselines3_pass(name):
    for check in (functools.partial(check_env, skip_render_check=True), env_checker.check_env):
        env = env_entry(name).make()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check(env)
        env.close()
        said = [str(one.message) for one in caught]
        assert not [line for line in said if not any(known in line for known in UNAVOIDABLE)]


def first_steps(env, seed=3):
    """Return what an environment shows in three steps of zeros and ones."""
    seen = [env.reset(seed=seed)[0]]
    for value in (0.0, 1.0, -0.5):
        observation, reward, *_ = env.step(np.full(env.action_space.shape, value, np.float32))
        seen += [observation, np.float64(reward)]
    env.close()
    return np.concatenate([np.ravel(part) for part in seen])


@pytest.mark.parametrize("name", KINDS)
def test_an_environment_from_its_spec_or_a_pickle_is_the_same(name):
    env = env_entry(name).make()
    spec = EnvSpec.from_json(env.spec.to_json())
    again = [gymnasium.make(env.spec), gymnasium.make(spec)]
    again += [library.loads(library.dumps(env)) for library in (pickle, cloudpickle)]
    wanted = first_steps(env)
    for other in again:
        assert (other.observation_space, other.action_space) == (env.observation_space, env.action_space)
        assert np.array_equal(first_steps(other), wanted)


@pytest.mark.parametrize("name", KINDS)
def test_an_entry_may_be_sent_to_a_process(name):
    entry = env_entry(name)
    assert entry.own_spaces and entry.shapes  # kept in it from now on
    for library in (pickle, cloudpickle):
        make = library.loads(library.dumps(functools.partial(entry.make)))
        assert make.func.__self__ == entry and np.array_equal(first_steps(make()), first_steps(entry.make()))


@pytest.mark.parametrize("name", ["Hopper:limbs=0.9", "Reacher:pixels=16"])
@pytest.mark.slow
def test_environments_in_other_processes_are_the_same(name):
    make = functools.partial(env_entry(name).make)
    wanted = make()
    first = wanted.reset(seed=5)[0]
    wanted.close()
    subprocesses = SubprocVecEnv([make])
    subprocesses.seed(5)
    assert np.array_equal(subprocesses.reset()[0], first)
    assert subprocesses.step(np.zeros((1, *wanted.action_space.shape), np.float32))[1].shape == (1,)
    subprocesses.close()
    vector = AsyncVectorEnv([make], context="spawn")
    assert np.array_equal(vector.reset(seed=[5])[0][0], first)
    vector.close()


def test_a_module_that_registers_an_environment_is_imported_in_other_processes_too(tmp_path, monkeypatch):
    row = "gymnasium.register('Sent-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=7)"
    (tmp_path / "a_module_to_send.py").write_text(f"import gymnasium\n{row}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    try:
        subprocesses = SubprocVecEnv([functools.partial(env_entry("gym:a_module_to_send:Sent-v0").make)], "spawn")
        assert subprocesses.reset().shape == (1, 3)
        subprocesses.close()
    finally:
        gymnasium.registry.pop("Sent-v0", None)


@SUITE
def test_the_suite_keeps_its_generator_unless_a_seed_is_given():
    env = env_entry("dmc/reacher-easy").make()
    first, second = env.reset(seed=7)[0], env.reset()[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(env.reset(seed=7)[0], first) and np.array_equal(env.reset()[0], second)
    assert env.unwrapped.np_random.random() == gymnasium.utils.seeding.np_random(7)[0].random()
    assert env.reset(seed=2**40)[0].shape == first.shape  # more than the task's own generator takes


class Reusing(gymnasium.Env):
    """Writes every observation into the same array."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self):
        self.seen = np.zeros(2, np.float32)

    def reset(self, seed=None, options=None):
        self.seen[:] = 0
        return self.seen, {}

    def step(self, action):
        self.seen += 1
        return self.seen, 0.0, False, False, {}


def make_reusing(gym_id, **kwargs):
    return Reusing()


def test_an_environment_may_overwrite_its_last_observation():
    env = EnvEntry("Reusing", "Reusing-v0", f"{__name__}:make_reusing").make()
    seen = [env.reset()[0], *(env.step(np.zeros(1, np.float32))[0] for _ in range(2))]
    assert [row.tolist() for row in seen] == [[0, 0], [1, 1], [2, 2]]


FORKED = """
import functools, sys
from gymnasium.vector import AsyncVectorEnv
from weit_rl.envs.registry import env_entry
make = functools.partial(env_entry("Reacher:pixels=16").make)
if sys.argv[1] == "drawn":
    make().reset()
vector = AsyncVectorEnv([make] * 2, context="fork")
print(vector.reset(seed=0)[0].shape)
vector.close()
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes are not forked here")
@pytest.mark.parametrize("before", ["nothing", "drawn"])
def test_a_forked_process_draws_or_says_that_it_cannot(before, screen):
    draws = before == "nothing" or renderer() == "osmesa"  # only the software renderer draws again after a fork
    says = "(2, 9, 16, 16)" if draws else "context='spawn'"
    done = subprocess.run([sys.executable, "-c", FORKED, before], capture_output=True, text=True, timeout=100)
    assert says in done.stdout + done.stderr and (done.returncode == 0) == draws
