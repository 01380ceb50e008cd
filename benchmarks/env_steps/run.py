"""Measure environment steps a second of the evaluator, Gymnasium's two vectorisers, MuJoCo's threads and EnvPool.

    OMP_NUM_THREADS=1 python -m benchmarks.env_steps.run > benchmarks/env_steps/README.md

All step HalfCheetah with the same random actions. Processor seconds are those of all processes and threads together.
The column ``same`` compares rewards, and observations in float32, with the evaluator's, bit for bit. EnvPool is timed
if it is installed (``pip install envpool``); it draws initial states of its own.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import mujoco.rollout
import numpy as np
import psutil

from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import ratio
from weit_rl.envs.registry import env_entry

ENV, GYM_ID, SEED = "HalfCheetah", "HalfCheetah-v5", 0
Way = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # actions (T, count, act) -> (T, count, obs), (T, count)


def evaluator(count: int) -> Way:
    """Step environments one after the other, as :func:`weit_rl.agents.evaluation.rollout` does."""
    envs = [env_entry(ENV).make() for _ in range(count)]

    def play(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for number, env in enumerate(envs):
            env.reset(seed=SEED + number)
        steps = [[env.step(a)[:2] for env, a in zip(envs, now, strict=True)] for now in actions]
        seen, rewards = zip(*(zip(*step, strict=True) for step in steps), strict=True)
        return np.array(seen), np.array(rewards)

    return play


def gymnasiums(kind: type) -> Callable[[int], Way]:
    """Step by Gymnasium's ``SyncVectorEnv`` or ``AsyncVectorEnv``."""

    def made(count: int) -> Way:
        envs = kind([lambda: gymnasium.make(GYM_ID)] * count)

        def play(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            envs.reset(seed=[SEED + number for number in range(count)])
            seen, rewards = zip(*(envs.step(now)[:2] for now in actions), strict=True)
            return np.array(seen), np.array(rewards)

        play.close = envs.close  # type: ignore[attr-defined]
        return play

    return made


def mujocos(threads: int) -> Callable[[int], Way]:
    """Step by MuJoCo's own threads: one call of ``mujoco.rollout`` per step, since a policy acts on every state."""

    def made(count: int) -> Way:
        envs: list[Any] = [gymnasium.make(GYM_ID).unwrapped for _ in range(count)]
        model, frames, dt = envs[0].model, envs[0].frame_skip, envs[0].dt
        weight = envs[0]._ctrl_cost_weight
        data = [mujoco.MjData(model) for _ in range(threads)]
        full = mujoco.mjtState.mjSTATE_FULLPHYSICS
        pool = mujoco.rollout.Rollout(nthread=threads)

        def play(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            state = np.empty((count, mujoco.mj_stateSize(model, full)))
            warm = np.empty((count, model.nv))
            for number, env in enumerate(envs):
                env.reset(seed=SEED + number)
                mujoco.mj_getState(model, env.data, state[number], full)
                warm[number] = env.data.qacc_warmstart
            seen, rewards = [], []
            for now in actions:
                control = np.repeat(now[:, None].astype(np.float64), frames, axis=1)
                x = state[:, 1]
                states = pool.rollout([model] * count, data, state, control, initial_warmstart=warm)[0]
                state = states[:, -1].copy()
                rewards.append((state[:, 1] - x) / dt - weight * np.square(now).sum(axis=1))
                seen.append(state[:, 2 : 1 + model.nq + model.nv])
            return np.array(seen), np.array(rewards)

        play.close = pool.close  # type: ignore[attr-defined]
        return play

    return made


def envpools(count: int) -> Way:
    """Step by EnvPool, a library of environments in C++ with threads of its own."""
    import envpool

    envs = envpool.make_gymnasium(GYM_ID, num_envs=count, num_threads=2, seed=SEED)

    def play(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        envs.reset()
        seen, rewards = zip(*(envs.step(now)[:2] for now in actions), strict=True)
        return np.array(seen), np.array(rewards)

    return play


WAYS: dict[str, Callable[[int], Way]] = {
    "the evaluator, one after the other": evaluator,
    "Gymnasium's SyncVectorEnv": gymnasiums(gymnasium.vector.SyncVectorEnv),
    "Gymnasium's AsyncVectorEnv": gymnasiums(gymnasium.vector.AsyncVectorEnv),
    "`mujoco.rollout`, 1 thread": mujocos(1),
    "`mujoco.rollout`, 2 threads": mujocos(2),
}
if importlib.util.find_spec("envpool"):
    WAYS["EnvPool, 2 threads"] = envpools


def processor() -> float:
    """Return the processor seconds of this process, its threads and its child processes."""
    own = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True)))


def compare(count: int, rounds: int) -> list[str]:
    """Time every way for a number of environments; return the rows of the table."""
    steps = min(1000, max(50, 4000 // count))
    actions = np.random.default_rng(SEED).uniform(-1, 1, (steps, count, 6)).astype(np.float32)
    ways = {name: make(count) for name, make in WAYS.items()}
    played = {name: play(actions) for name, play in ways.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, play in ways.items():
            begin = processor(), time.perf_counter()
            play(actions)
            times[name].append((processor() - begin[0], time.perf_counter() - begin[1]))
    for play in ways.values():
        getattr(play, "close", bool)()
    rows, first = [], next(iter(ways))
    for name, taken in times.items():
        (spent, passed), (least, fastest) = (zip(*t, strict=True) for t in (taken, times[first]))
        speed = " | ".join(f"{count * steps / statistics.median(t):,.0f}" for t in (spent, passed))
        ratios = f"{ratio(list(least), list(spent)):.2f} | {ratio(list(fastest), list(passed)):.2f}"
        rows.append(f"| {count} | {name} | {speed} | {ratios} | {same(name, played[name], played[first])} |")
    return rows


def same(name: str, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> str:
    """Say whether two ways gave the same observations and rewards."""
    if "EnvPool" in name:
        return "-"
    equal = np.array_equal(one[0].astype(np.float32), other[0]) and np.array_equal(one[1], other[1])
    return "yes" if equal else f"no, by {np.abs(one[0] - other[0]).max():.2g} at most"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 16, 100])
    arguments = parser.parse_args()
    print(heading("Environment steps", f"python -m benchmarks.env_steps.run --rounds {arguments.rounds}", 1))
    print(f"{psutil.cpu_count()} cores, MuJoCo {mujoco.__version__}, Gymnasium {gymnasium.__version__}\n")
    columns = [
        "environments",
        "way",
        "steps a processor second",
        "steps a second",
        "times the evaluator's",
        "on the wall",
    ]
    print(f"| {' | '.join(columns)} | same |\n{'|---' * 7}|")
    for count in arguments.counts:
        print("\n".join(compare(count, arguments.rounds)), flush=True)


if __name__ == "__main__":
    run_script(main)
