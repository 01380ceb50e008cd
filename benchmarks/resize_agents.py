"""Agents of Stable-Baselines3 with an actor of half and of double width: returns before and after the short stage.

    OMP_NUM_THREADS=1 python benchmarks/resize_agents.py --out benchmarks/results/resize_agents

First trains the agents, with ``"MlpPolicy"`` and the hyperparameters below, and keeps them in ``--out``/agents.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO, SAC

from weit_rl.agents.online import environments
from weit_rl.agents.recording import AgentActor, play, summary
from weit_rl.agents.resizing import resized, seen_by
from weit_rl.comparison.tables import Table
from weit_rl.envs.registry import EnvEntry, env_entry

EPISODES, FIRST_SEED, STAGES = 20, 2_000_000, (0, 300)
FACTORS = {"half": 0.5, "double": 2}
AGENTS: dict[str, tuple[Any, str, int, int, dict[str, Any]]] = {  # class, environment, its number, steps, options
    "PPO": (PPO, "HalfCheetah", 4, 400_000, {"n_steps": 512, "batch_size": 256, "gae_lambda": 0.92, "gamma": 0.98}),
    "SAC": (SAC, "Hopper", 1, 60_000, {}),
}


def trained(name: str, folder: Path) -> Any:
    """The agent, trained now or before."""
    kind, env, count, steps, options = AGENTS[name]
    envs, path = environments(env_entry(env), count), folder / f"{name}.zip"
    if not path.exists():
        kind("MlpPolicy", envs, seed=0, device="cpu", **options).learn(steps, log_interval=1000).save(path)
    return kind.load(path, env=envs, device="cpu")


def score(agent: Any, entry: EnvEntry) -> str:
    """Return of the mean action on episodes that nothing else uses."""
    episodes = play(AgentActor(agent, deterministic=True), entry, range(FIRST_SEED, FIRST_SEED + EPISODES))
    return "{return_mean:,.0f} +- {return_std:,.0f}".format(**summary(episodes))


def row(name: str, out: Path) -> list[str]:
    """The agent's return, and that of the resized ones."""
    agent, entry = trained(name, out / "agents"), env_entry(AGENTS[name][1])
    seen = seen_by(agent, agent.get_env())
    new = [score(resized(agent, factor, seen, steps), entry) for factor in FACTORS.values() for steps in STAGES]
    return [f"{name}, {entry.name}", score(agent, entry), *new]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    (arguments.out / "agents").mkdir(parents=True, exist_ok=True)
    header = ["agent", "as trained", *(f"{width} width, {steps} steps" for width in FACTORS for steps in STAGES)]
    note = f"Mean and standard deviation of {EPISODES} episodes; one agent each."
    text = Table("Agents of another width", header, [row(name, arguments.out) for name in AGENTS], note).markdown()
    (arguments.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
