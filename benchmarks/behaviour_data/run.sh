#!/usr/bin/env bash
# Record the behaviour data that ship, then measure the experts of three environments without shipped data.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.collect env=HalfCheetah
python -m weit_rl.collect env=Hopper algorithm=PPO steps=1100000 snapshot_every=100000 levels.medium=20 levels.random=10 \
    "hyperparameters={n_steps: 512, batch_size: 128, gamma: 0.995, policy_kwargs: {log_std_init: -1}}"
python -m weit_rl.collect env=Walker2d algorithm=PPO steps=1300000 snapshot_every=100000 levels.medium=20 levels.random=10 \
    "hyperparameters={n_steps: 512, batch_size: 128, policy_kwargs: {log_std_init: -1}}"
python -m weit_rl.collect env=Swimmer algorithm=PPO steps=600000 snapshot_every=100000 levels.medium=20 levels.random=10 \
    "hyperparameters={n_steps: 1024, batch_size: 256, gamma: 0.9999, gae_lambda: 0.98, learning_rate: 6e-4}"
python -m weit_rl.collect env=Ant algorithm=PPO steps=2457000 snapshot_every=100000 levels.expert=6 levels.medium=2 \
    levels.random=3 "hyperparameters={n_steps: 512, batch_size: 256, policy_kwargs: {log_std_init: -1}}"

python -m weit_rl.collect env=Reacher algorithm=PPO steps=1000000 snapshot_every=100000 levels.expert=20 levels.medium=0 \
    levels.random=0 "hyperparameters={n_steps: 512, batch_size: 256, gamma: 0.9}"
python -m weit_rl.collect env=InvertedPendulum algorithm=PPO steps=200000 snapshot_every=50000 levels.expert=20 \
    levels.medium=0 levels.random=0
python -m weit_rl.collect env=InvertedDoublePendulum algorithm=PPO steps=500000 snapshot_every=50000 levels.expert=20 \
    levels.medium=0 levels.random=0
