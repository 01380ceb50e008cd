#!/usr/bin/env bash
# Compare five ways to make a ViT of 256 x 6 on digits, with the rates of benchmarks/digits-vit.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

cp benchmarks/digits-vit/rates.csv benchmarks/digits-256x6/
python -m weit_rl.benchmark task=classification data=digits model=vit precision=medium run_dir=benchmarks/digits-256x6 \
    "sizes=[256x6]" "budgets=[0, 10, 30, 100, 300]" "seeds=[0]" \
    "methods=[weit, hypercloning, ligo, bot, scratch]"
python -m benchmarks._shared.result_page benchmarks/digits-256x6
