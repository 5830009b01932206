#!/usr/bin/env bash
# Trains on this machine and starts again after a crash, at most RESTARTS times (default 3).
# Arguments go to `python -m vssflow_jax.train`; --dry-run prints the command instead.
set -euo pipefail
command=(python -m vssflow_jax.train)
if [[ ${1:-} == --dry-run ]]; then
  shift
  printf '%q ' "${command[@]}" "$@"
  echo
  exit 0
fi
for ((attempt = 0; attempt <= ${RESTARTS:-3}; attempt++)); do
  status=0
  "${command[@]}" "$@" || status=$?
  # 0: done; 2: a mistake in the command, which trying again does not mend.
  if [[ $status == 0 || $status == 2 ]]; then
    exit "$status"
  fi
  echo "training ended with status $status, starting again" >&2
done
exit "$status"
