#!/usr/bin/env bash
#SBATCH --job-name=vssflow
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=TERM@180
#SBATCH --open-mode=append
# Trains on the nodes of a Slurm job, one process a GPU, and queues the job again where it was
# preempted or ran out of time (status 75: state saved on SIGTERM, 180 s before the end).
#   sbatch --nodes=4 --gpus-per-node=8 --ntasks-per-node=8 --time=12:00:00 launch/slurm.sh \
#     --config=... --workdir=...
# The folder of the run must lie on a file system that all nodes share. --dry-run, as the first
# argument, prints the command instead.
set -euo pipefail
command=(srun --kill-on-bad-exit=1 python -m vssflow_jax.train --coordinator_address=auto)
if [[ ${1:-} == --dry-run ]]; then
  shift
  printf '%q ' "${command[@]}" "$@"
  echo
  exit 0
fi
status=0
"${command[@]}" "$@" || status=$?
if [[ $status == 75 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
