"""Read a run folder: its scores, its metrics, and its policy, which acts step by step.

python examples/read_a_run.py [RUN]       (default: the newest folder in runs/)
"""

import json
import sys
from pathlib import Path

import torch

from weit_rl.agents.evaluation import WindowMemory
from weit_rl.envs.registry import env_entry
from weit_rl.training.checkpoint import load_network
from weit_rl.training.run_folder import RunFolder

runs = [Path(word) for word in sys.argv[1:]] or sorted(Path("runs").glob("train-*"), key=lambda p: p.stat().st_mtime)
if not runs:
    sys.exit("no run in runs/; make one with: python -m weit_rl.train")
run = RunFolder.open(runs[-1])
report = json.loads((run.path / "evaluation.json").read_text())
print(
    f"{report['env']} {report['size']}: {report['return_mean']:.0f} +- {report['return_std']:.0f}, config {run.config}"
)
for name, points in run.metrics().items():
    print(f"  {name}: {len(points)} values, the last {points[-1][1]:.4g} at step {points[-1][0]}")

net, card = load_network(run.checkpoint_path("last"))  # normaliser and target return are inside
env = env_entry(card["env"]).make()
observation, _ = env.reset(seed=0)
history = WindowMemory(net, observation[None], net.max_steps)  # of one episode; it keeps the return still to be earned
total, over = 0.0, False
while not over:
    with torch.no_grad():
        action = net(*history.window(torch.tensor([0])))[:, -1]
    observation, reward, terminated, truncated, _ = env.step(action[0].numpy())
    history.push(torch.tensor([0]), action, observation[None], torch.tensor([reward]).numpy())
    total, over = total + float(reward), terminated or truncated
print(f"one episode: {history.t} steps, return {total:.0f}")
