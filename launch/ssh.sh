#!/usr/bin/env bash
# Trains on machines that one can reach by ssh, one process each, and starts all of them again
# after a crash, at most RESTARTS times (default 3), or a preemption (status 75).
#   HOSTS="a b c" FOLDER=vssflow_jax launch/ssh.sh --config=... --workdir=...
# HOSTS: as ssh knows them; the first is the coordinator, at PORT (default 12321), and the others
# must reach it by this name. FOLDER: the checkout on each of them (default ~/vssflow_jax); PYTHON:
# the interpreter there. The folder of the run must be shared by all. --dry-run, as the first
# argument, prints the commands instead.
set -euo pipefail
dry=0
if [[ ${1:-} == --dry-run ]]; then
  dry=1
  shift
fi
read -ra hosts <<<"${HOSTS:?error: HOSTS is empty, expected the machines to train on}"
coordinator=${hosts[0]#*@}:${PORT:-12321}

# The command of host number $1; the rest are arguments of training.
remote() {
  local number=$1
  shift
  printf 'cd %q && exec %q -m vssflow_jax.train' "${FOLDER:-vssflow_jax}" "${PYTHON:-python}"
  printf ' %q' "--coordinator_address=$coordinator" "--num_processes=${#hosts[@]}" \
    "--process_id=$number" "$@"
}

children=() failures=0 stopping=0
stop_all() {
  kill -TERM "${children[@]}" 2>/dev/null || true
}

# One attempt: the status of the first host that fails, or 0. One that ends badly ends all.
attempt() {
  local status=0 number
  children=()
  for number in "${!hosts[@]}"; do
    # A terminal (-tt), so that the remote process ends with its connection.
    ssh -tt "${hosts[$number]}" "$(remote "$number" "$@")" </dev/null &
    children+=($!)
  done
  # A signal that came meanwhile did not find all of them.
  [[ $stopping == 0 ]] || stop_all
  for _ in "${children[@]}"; do
    wait -n || status=$?
    # 75: every host saves and ends by itself.
    if [[ $status != 0 && $status != 75 ]]; then
      stop_all
      break
    fi
  done
  wait || true
  return "$status"
}

if [[ $dry == 1 ]]; then
  for number in "${!hosts[@]}"; do
    printf 'ssh -tt %q %q\n' "${hosts[$number]}" "$(remote "$number" "$@")"
  done
  exit 0
fi
trap 'stopping=1; stop_all' TERM INT
while true; do
  status=0
  attempt "$@" || status=$?
  # 0: done; 2: a mistake in the command, which trying again does not mend.
  if [[ $status == 0 || $status == 2 || $stopping == 1 ]]; then
    exit "$status"
  fi
  if [[ $status != 75 ]] && ((++failures > ${RESTARTS:-3})); then
    exit "$status"
  fi
  echo "training ended with status $status, starting again on all hosts" >&2
done
