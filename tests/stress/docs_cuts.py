"""Commands of the docs that their check leaves out, and options that shorten the others."""

from __future__ import annotations

import re

from weit_rl.options.option_table import options
from weit_rl.options.words import config_name

NOT_RUN = {  # pattern -> reason; the first that matches counts
    r"^make ": "minutes; .ci/run and the tests call it",
    r"^(pre-commit|apt-get|source) |^export ": "changes the machine or the shell",
    r"-m venv|pip install": "installs; tests/test_packaging.py makes and installs a wheel",
    r"download=true|bank=hf:|HOST:|/shared/": "needs the network or a cluster",
    r"recipe=imagenet data_root": "needs ImageNet and a GPU",
    r"devices=8|per-node 8": "8 processes",
    r"sweeper=optuna": "the plugin needs another version of Optuna",
    r"docs/gallery\.py": "ten minutes; its commands are the page's",
}
APPENDED = {  # pattern -> words behind a command that is no command of weit_rl
    r"^tensorboard ": "--inspect",
    r"-m benchmarks\.": "--help",
    r"docs/bodies\.py": "bodies.png",
}
BENCHMARK = {"pretrain_steps": "3", "sizes": "[32x1]", "seeds": "[0]", "budgets": "[0, 1]", "workers": "1"}
BENCHMARK |= {"sweep.trials": "2"}
DRAWN = {"samples": "16", "sampling_steps": "2"}
CUT: dict[str, dict[str, str]] = {  # command, and a word of it -> option -> value; the first row that fits counts
    "train": {"episodes": "1", "validation_episodes": "1", "evaluate_every": "3"},
    "pretrain": {"steps": "3", "score_sizes": "[]", "episodes": "1"},
    "evaluate": {"episodes": "1"},
    "collect mode=record": {"episodes": "2"},
    "collect mode=render": {"episodes": "2"},
    "collect env=metaworld/MT10": {"episodes": "4"},
    "collect": {"steps": "40", "n_envs": "2", "snapshot_every": "20", "selection_episodes": "1"}
    | {"evaluation_episodes": "1", "levels.expert": "1", "levels.medium": "1", "levels.random": "1"},
    "export": {"episodes": "1"},
    "benchmark run_dir=runs/tuned": BENCHMARK | {"episodes": "1", "methods": "[scratch]"},  # tunes 300 steps a trial
    "benchmark": BENCHMARK | {"episodes": "1"},
    "vision_benchmark task=diffusion": BENCHMARK | DRAWN,
    "vision_benchmark": BENCHMARK,
    "vision_train task=diffusion": {"evaluate_every": "3"} | DRAWN,
    "vision_train": {"evaluate_every": "3"},
    "vision_pretrain": {"steps": "3", "score_sizes": "[]"},
    "vision_evaluate features=RUN": {"steps": "2", "samples": "16"},
    "vision_sample": {"steps": "2", "images": "2"},
}
EVERYWHERE = {"scaler_steps": "2", "train_steps": "3", "batch_size": "4", "threads": "1"}
SHORTENED = {"agent_steps": "20", "grow": "[[0, 64x2], [2, 128x3]]", "budgets": "[0, 1]", "seeds": "[0]"}  # if named
EPISODES = """import gymnasium
for spec in gymnasium.registry.values():
    if "mujoco" in str(spec.entry_point):
        spec.max_episode_steps = 60
"""  # what Python runs before a command
WHOLE = re.compile(r"\w+ (resume=|--help|--info|mode=describe|mode=inspect)|export run=")  # these take no further words


def cut(verb: str, words: list[str]) -> list[str]:
    """Choose the words that cut the work of a command of weit_rl.

    Args:
        verb: of the command.
        words: its own.

    Returns:
        Options that the command has, each with a number that is not above the docs'.
    """
    said = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith(("+", "-", "hydra")))
    if any(WHOLE.match(f"{verb} {word}") for word in words):
        return []
    name = config_name(verb, words)
    rows = (row for key, row in CUT.items() if key.split()[0] == name and set(key.split()[1:]) <= set(words))
    least = next(rows, {}) | EVERYWHERE
    chosen = {key: _smaller(said.get(key), value) for key, value in least.items()}
    chosen |= {key: value for key, value in SHORTENED.items() if key in said}
    return [f"{key}={value}" for key, value in chosen.items() if key in options(name) and value != said.get(key)]


def _smaller(said: str | None, value: str) -> str:
    if said is None:
        return value
    return min(said, value, key=int) if said.isdecimal() and value.isdecimal() else said
