#!/usr/bin/env bash
# Compare six ways on the data of another agent in Hopper, with the rates of benchmarks/comparison.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

cp benchmarks/comparison/rates.csv benchmarks/hopper-tqc/
python -m weit_rl.benchmark env=Hopper data=../shared/data/control/hopper-tqc.hdf5 pretrain_steps=3000 precision=medium run_dir=benchmarks/hopper-tqc \
    "seeds=[0]" "sizes=[32x3, 96x4, 160x5]" \
    "methods=[weit, supernet, scratch, bot, weight_selection, bc10]"
python -m benchmarks._shared.result_page benchmarks/hopper-tqc
