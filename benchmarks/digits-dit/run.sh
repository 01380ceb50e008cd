#!/usr/bin/env bash
# Compare six ways to make a DiT of a new size on digits by FID; seeds 1 and 2 of three of them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.benchmark task=diffusion data=digits model=dit precision=medium "budgets=[0, 30, 100, 300, 1000]" run_dir=benchmarks/digits-dit \
    mode=tune "methods=[weit, scratch, supernet, bot, weight_selection, ligo]"
python -m weit_rl.benchmark task=diffusion data=digits model=dit precision=medium "budgets=[0, 30, 100, 300, 1000]" run_dir=benchmarks/digits-dit \
    "seeds=[0]" "methods=[weit, scratch, supernet, bot, weight_selection, ligo]"
python -m weit_rl.benchmark task=diffusion data=digits model=dit precision=medium "budgets=[0, 30, 100, 300, 1000]" run_dir=benchmarks/digits-dit \
    "seeds=[1, 2]" "methods=[weit, scratch, supernet]"
python -m weit_rl.benchmark task=diffusion data=digits model=dit precision=medium "budgets=[0, 30, 100, 300, 1000]" run_dir=benchmarks/digits-dit \
    mode=report "seeds=[0, 1, 2]"
python -m benchmarks._shared.result_page benchmarks/digits-dit
