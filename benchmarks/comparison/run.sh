#!/usr/bin/env bash
# Compare every way to make a network of a new size: HalfCheetah, expert data. Tuning comes first; all commands resume.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.benchmark env=HalfCheetah precision=medium run_dir=benchmarks/comparison \
    mode=tune
python -m weit_rl.benchmark env=HalfCheetah precision=medium run_dir=benchmarks/comparison \
    profile=core "seeds=[0, 1, 2]"
python -m benchmarks._shared.result_page benchmarks/comparison
