#!/usr/bin/env bash
# Compare the ways of benchmarks/cifar-vit from a bank of small networks, with its rates and its rows of scratch (seed 0).
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

cp benchmarks/cifar-vit/rates.csv benchmarks/cifar-vit-small/
python -m weit_rl.benchmark task=classification data=../shared/data/images/cifar10-12k.zip model=vit precision=medium \
    "options={image_size: 32, channels: 3, patch_size: 8, flip: true}" "budgets=[0, 30, 100, 300, 1000]" \
    "bank_options={size: 64x4, widths: [64], depths: [2, 3, 4], masks: one}" pretrain_steps=19192 \
    run_dir=benchmarks/cifar-vit-small \
    "seeds=[0]" "methods=[weit, supernet, bot, weight_selection, ligo]"
python -m weit_rl.benchmark task=classification data=../shared/data/images/cifar10-12k.zip model=vit precision=medium \
    "options={image_size: 32, channels: 3, patch_size: 8, flip: true}" "budgets=[0, 30, 100, 300, 1000]" \
    "bank_options={size: 64x4, widths: [64], depths: [2, 3, 4], masks: one}" pretrain_steps=19192 \
    run_dir=benchmarks/cifar-vit-small \
    "seeds=[1]" "methods=[weit, scratch, supernet]"
python -m benchmarks._shared.result_page benchmarks/cifar-vit-small
