#!/usr/bin/env bash
# Compare every way to make a ViT of a new size on digits. Tuning comes first; all commands resume.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.benchmark task=classification data=digits model=vit precision=medium run_dir=benchmarks/digits-vit \
    mode=tune "methods=[weit, scratch, supernet, weight_selection, ligo, bot, hypercloning]"
python -m weit_rl.benchmark task=classification data=digits model=vit precision=medium run_dir=benchmarks/digits-vit \
    "budgets=[0, 10, 30, 100, 300]" "seeds=[0, 1, 2]" \
    "methods=[weit, scratch, supernet, weight_selection, ligo, bot, hypercloning]"
python -m weit_rl.benchmark task=classification data=digits model=vit precision=medium run_dir=benchmarks/digits-vit \
    "methods=[weit, scratch, supernet]" "budgets=[1000]" "seeds=[0, 1, 2]"
python -m weit_rl.benchmark task=classification data=digits model=vit precision=medium run_dir=benchmarks/digits-vit \
    "methods=[direct]" "budgets=[1000]" "seeds=[0]"
python -m weit_rl.benchmark task=classification data=digits model=vit precision=medium run_dir=benchmarks/digits-vit \
    mode=report "seeds=[0, 1, 2]"
python -m benchmarks._shared.result_page benchmarks/digits-vit
