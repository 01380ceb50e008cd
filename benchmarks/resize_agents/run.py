"""Resize actors of Stable-Baselines3's agents to half and double width: returns before and after a short stage.

    OMP_NUM_THREADS=1 python -m benchmarks.resize_agents.run

The script first trains the agents with ``"MlpPolicy"`` and the hyperparameters below, and saves them in ``agents/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3 import PPO, SAC

from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import add_out, make_parser, run_script
from weit_rl.agents.online import environments
from weit_rl.agents.recording import AgentActor, episode_statistics, play
from weit_rl.agents.resizing import collect_observations, resized
from weit_rl.comparison.tables import Table
from weit_rl.envs.registry import EnvEntry, env_entry

EPISODES, FIRST_SEED, STAGES = 20, 2_000_000, (0, 300)
FACTORS = {"half": 0.5, "double": 2}
AGENTS: dict[str, tuple[Any, str, int, int, dict[str, Any]]] = {  # class, environment, environments, steps, options
    "PPO": (PPO, "HalfCheetah", 4, 400_000, {"n_steps": 512, "batch_size": 256, "gae_lambda": 0.92, "gamma": 0.98}),
    "SAC": (SAC, "Hopper", 1, 60_000, {}),
}


def trained(name: str, folder: Path) -> Any:
    """Train an agent, or load the one of an earlier call."""
    kind, env, count, steps, options = AGENTS[name]
    envs, path = environments(env_entry(env), count), folder / f"{name}.zip"
    if not path.exists():
        kind("MlpPolicy", envs, seed=0, device="cpu", **options).learn(steps, log_interval=1000).save(path)
    return kind.load(path, env=envs, device="cpu")


def score(agent: Any, entry: EnvEntry) -> str:
    """Evaluate the mean action on episodes that nothing else uses; format the return."""
    episodes = play(AgentActor(agent, deterministic=True), entry, range(FIRST_SEED, FIRST_SEED + EPISODES))
    return "{return_mean:,.0f} +- {return_std:,.0f}".format(**episode_statistics(episodes))


def row(name: str, out: Path) -> list[str]:
    """Evaluate an agent and its resized versions; format the row."""
    agent, entry = trained(name, out / "agents"), env_entry(AGENTS[name][1])
    seen = collect_observations(agent, agent.get_env())
    new = [score(resized(agent, factor, seen, steps), entry) for factor in FACTORS.values() for steps in STAGES]
    return [f"{name}, {entry.name}", score(agent, entry), *new]


def main() -> None:
    parser = make_parser(__doc__)
    add_out(parser, Path(__file__).parent)
    arguments = parser.parse_args()
    (arguments.out / "agents").mkdir(parents=True, exist_ok=True)
    header = ["agent", "as trained", *(f"{width} width, {steps} steps" for width in FACTORS for steps in STAGES)]
    note = f"Mean and standard deviation of {EPISODES} episodes; one agent each."
    text = Table("Agents of another width", header, [row(name, arguments.out) for name in AGENTS], note).markdown()
    text = with_command(text, "OMP_NUM_THREADS=1 python -m benchmarks.resize_agents.run")
    (arguments.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    run_script(main)
