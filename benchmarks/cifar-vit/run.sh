#!/usr/bin/env bash
# Compare six ways to make a ViT of a new size on 12,000 images of CIFAR-10. Tuning comes first; all commands resume.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

python -m weit_rl.benchmark task=classification data=../shared/data/images/cifar10-12k.zip model=vit precision=medium \
    "options={image_size: 32, channels: 3, patch_size: 8, flip: true}" "budgets=[0, 30, 100, 300, 1000]" \
    run_dir=benchmarks/cifar-vit \
    mode=tune "methods=[weit, scratch, supernet, weight_selection, ligo, bot]"
python -m weit_rl.benchmark task=classification data=../shared/data/images/cifar10-12k.zip model=vit precision=medium \
    "options={image_size: 32, channels: 3, patch_size: 8, flip: true}" "budgets=[0, 30, 100, 300, 1000]" \
    run_dir=benchmarks/cifar-vit \
    "seeds=[0]" "methods=[weit, scratch, supernet, weight_selection, ligo, bot]"
python -m benchmarks._shared.result_page benchmarks/cifar-vit
