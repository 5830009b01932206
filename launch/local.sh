#!/usr/bin/env bash
# Trains on this machine and starts again after a crash, at most RESTARTS times (default 3), and
# after every preemption (status 75: state saved on SIGTERM).
# Arguments go to `python -m vssflow_jax.train`; --dry-run prints the command instead.
set -euo pipefail
command=(python -m vssflow_jax.train)
if [[ ${1:-} == --dry-run ]]; then
  shift
  printf '%q ' "${command[@]}" "$@"
  echo
  exit 0
fi

# A SIGTERM or Ctrl-C goes on to training, which saves; then nothing is started again.
stopping=0 child=""
pass_on() {
  stopping=1
  [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true
}
trap pass_on TERM INT

attempt=0
while true; do
  status=0
  "${command[@]}" "$@" &
  child=$!
  # A signal that came before the line above found no child.
  [[ $stopping == 0 ]] || pass_on
  # A trapped signal ends `wait` early: wait until the child is gone, then for its status.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child" || true
  done
  wait "$child" || status=$?
  child=""
  # 0: done; 2: a mistake in the command, which trying again does not mend.
  if [[ $status == 0 || $status == 2 || $stopping == 1 ]]; then
    exit "$status"
  fi
  if [[ $status != 75 ]] && ((++attempt > ${RESTARTS:-3})); then
    exit "$status"
  fi
  echo "training ended with status $status, starting again" >&2
done
