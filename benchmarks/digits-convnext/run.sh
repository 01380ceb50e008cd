#!/usr/bin/env bash
# Compare every way to make a ConvNeXt V2 of a new size on digits. Tuning comes first; all commands resume.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.benchmark task=classification data=digits model=convnext precision=medium run_dir=benchmarks/digits-convnext \
    mode=tune "methods=[weit, scratch, supernet, weight_selection, ligo, bot, hypercloning]"
python -m weit_rl.benchmark task=classification data=digits model=convnext precision=medium run_dir=benchmarks/digits-convnext \
    "budgets=[0, 10, 30, 100, 300]" "seeds=[0, 1, 2]" \
    "methods=[weit, scratch, supernet, weight_selection, ligo, bot, hypercloning]"
python -m weit_rl.benchmark task=classification data=digits model=convnext precision=medium run_dir=benchmarks/digits-convnext \
    "methods=[weit, scratch, supernet]" "budgets=[1000]" "seeds=[0, 1, 2]"
python -m weit_rl.benchmark task=classification data=digits model=convnext precision=medium run_dir=benchmarks/digits-convnext \
    mode=report "seeds=[0, 1, 2]"
python -m benchmarks._shared.result_page benchmarks/digits-convnext
