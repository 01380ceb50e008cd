#!/usr/bin/env bash
# Compare eight ways on medium and expert data of HalfCheetah together, with the rates of benchmarks/comparison.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

cp benchmarks/comparison/rates.csv benchmarks/mixed/
python -m weit_rl.benchmark env=HalfCheetah data=medium+expert pretrain_steps=3000 precision=medium run_dir=benchmarks/mixed \
    "seeds=[0]" "sizes=[32x3, 96x4, 160x5]" "budgets=[0, 100, 300]" workers=1 \
    "methods=[weit, supernet, scratch, bot, weight_selection, ligo, bc10, bc]"
python -m benchmarks._shared.result_page benchmarks/mixed
