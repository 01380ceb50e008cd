#!/usr/bin/env bash
# Train and evaluate a decision transformer with full attention and with attention over a band, two seeds each.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.train env=HalfCheetah size=small init=scratch train_steps=1000 threads=1 precision=medium \
    seed=0 run_dir=runs/full-0
python -m weit_rl.train env=HalfCheetah size=small init=scratch train_steps=1000 threads=1 precision=medium \
    attention=band positions=none seed=0 run_dir=runs/band-0
python -m weit_rl.evaluate run=runs/full-0 checkpoint=last episodes=10
python -m weit_rl.evaluate run=runs/band-0 checkpoint=last episodes=10
python -m weit_rl.train env=HalfCheetah size=small init=scratch train_steps=1000 threads=1 precision=medium \
    seed=1 run_dir=runs/full-1
python -m weit_rl.train env=HalfCheetah size=small init=scratch train_steps=1000 threads=1 precision=medium \
    attention=band positions=none seed=1 run_dir=runs/band-1
python -m weit_rl.evaluate run=runs/full-1 checkpoint=last episodes=10
python -m weit_rl.evaluate run=runs/band-1 checkpoint=last episodes=10
