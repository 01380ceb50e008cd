"""Play an episode with an exported policy: ONNX Runtime, NumPy and Gymnasium, without torch.

python -m weit_rl.export env=HalfCheetah limit=1MB out=policy.onnx
python examples/onnx_episode.py policy.onnx [SEED]
"""

import sys

import gymnasium

from weit_rl.deploy.onnx_policy import OnnxPolicy

policy = OnnxPolicy(sys.argv[1])
env = gymnasium.make(policy.card["env_id"])
observation, _ = env.reset(seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
steps, total, reward, over = 0, 0.0, None, False
while not over:
    observation, reward, terminated, truncated, _ = env.step(policy.act(observation, reward))
    steps, total, over = steps + 1, total + float(reward), terminated or truncated
print(f"{policy.card['model']} {policy.card['size']}: {steps} steps, return {total:.0f}")
