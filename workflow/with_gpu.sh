#!/usr/bin/env bash
# Run a command on the first GPU that nobody holds: with_gpu.sh COMMAND...
# Snakemake counts GPUs but does not say which one a job gets. A lock file per device says it here; the command itself
# holds the lock, so it is free again however the command ends. Without a GPU, or where a scheduler has chosen
# one already, the command simply runs.
set -euo pipefail

devices=0
if command -v nvidia-smi > /dev/null 2>&1; then
    devices=$(nvidia-smi --list-gpus 2> /dev/null | wc -l || true)
fi
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ] || [ -n "${SLURM_JOB_ID:-}" ] || [ "$devices" -eq 0 ]; then
    exec "$@"
fi
while true; do
    for device in $(seq 0 $((devices - 1))); do
        exec {lock}> "${TMPDIR:-/tmp}/rationales-gpu-$device.lock"
        if flock --nonblock "$lock"; then
            CUDA_VISIBLE_DEVICES=$device exec "$@"
        fi
        exec {lock}>&-
    done
    sleep 2
done
