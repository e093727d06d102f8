#!/usr/bin/env bash
# Pretraining on one GPU (H100, H200, A100 ...): eight minutes at most, no network, JSON. Needs slonik[train].
#   benchmarks/gpu.sh [gpu.json] [options of benchmarks/pretrain_gpu.py]
#   benchmarks/gpu.sh out.json --tiny --device cpu        the same program on any machine, in seconds
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu.json}
shift || true
if command -v nvidia-smi > /dev/null; then nvidia-smi --query-gpu=name,power.limit,clocks.max.sm --format=csv,noheader; fi
PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" timeout 480 "${PYTHON:-python}" benchmarks/pretrain_gpu.py --json "$out" "$@"
