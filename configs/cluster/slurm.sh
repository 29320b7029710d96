#!/bin/bash
# Purpose:  train on a SLURM cluster, on several nodes, through time limits and preemption.
# Command:  sbatch configs/cluster/slurm.sh --config configs/distill.yaml      (from the root of the clone)
# Seeds:    sbatch --array=42-44 configs/cluster/slurm.sh --config configs/distill.yaml
# Expected: before its time is up, and when it is preempted, the run saves and goes back into the queue; it goes on in
#           its own folder and W&B run. What follows the script's name is for fit; sbatch's own options come before it.
#
# Start one task for each GPU of a node, and ask for the GPUs with --gpus-per-node.
#SBATCH --job-name=distill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out
set -euo pipefail

# The job goes back into the queue below, once every process has ended and W&B has all of it.
options=("$@" --ckpt_path auto --stop.requeue false)
if [[ -n "${SLURM_ARRAY_TASK_ID:-}" ]]; then
    options+=(--seed_everything "$SLURM_ARRAY_TASK_ID")
fi

# Older srun does not take this over from the job.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
# A process that has died takes the others with it, but not those that are still writing the result.
status=0
srun --wait=300 python train.py fit "${options[@]}" || status=$?
if [[ "$status" == 138 ]]; then # 128 + SIGUSR1: saved and stopped
    scontrol requeue "$SLURM_JOB_ID"
    sleep 120 # SLURM ends this script; one that ends by itself meanwhile may count as failed
fi
exit "$status"
