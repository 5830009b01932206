#!/usr/bin/env bash
# Trains on a Cloud TPU slice: asks for it as a queued resource, waits until it is there, copies
# this checkout to its machines, installs it, trains, and leaves the slice to you to delete.
#   NAME=mine ZONE=us-west4-a TYPE=v5litepod-64 launch/tpu_vm.sh --config=... --workdir=/mnt/shared/run
# NAME, ZONE, TYPE (accelerator type) are needed; VERSION is the machines' image, SPOT=1 asks for
# preemptible ones, PROJECT is Google Cloud's. The folder of the run must be shared by all machines
# (Filestore, or a mounted bucket). Started again, it goes on with the slice that NAME has.
# --dry-run, as the first argument, prints the commands instead.
set -euo pipefail
dry=0
if [[ ${1:-} == --dry-run ]]; then
  dry=1
  shift
fi
: "${NAME:?error: NAME is empty, expected a name for the slice}"
: "${ZONE:?error: ZONE is empty, expected a zone such as us-west4-a}"
: "${TYPE:?error: TYPE is empty, expected an accelerator type such as v5litepod-64}"
where=(--zone="$ZONE")
[[ -z ${PROJECT:-} ]] || where+=(--project="$PROJECT")
spot=()
[[ -z ${SPOT:-} ]] || spot=(--spot)

# Runs a command, or prints it.
do_or_say() {
  if [[ $dry == 1 ]]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

# Runs a command on every machine of the slice.
on_all() {
  do_or_say gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=all --command="$1"
}

state() {
  gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" \
    --format='value(state.state)' 2>/dev/null || true
}

if [[ $dry == 1 || -z $(state) ]]; then
  do_or_say gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" "${where[@]}" \
    --accelerator-type="$TYPE" --runtime-version="${VERSION:-v2-alpha-tpuv5-lite}" "${spot[@]}"
fi
while [[ $dry == 0 ]]; do
  phase=$(state)
  case $phase in
    ACTIVE) break ;;
    FAILED | SUSPENDED | SUSPENDING)
      echo "error: slice $NAME is $phase; delete it and start again" >&2
      exit 1
      ;;
  esac
  echo "slice $NAME: ${phase:-unknown}, waiting" >&2
  sleep 30
done

packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
do_or_say git archive --format=tar.gz --output="$packed/vssflow_jax.tar.gz" HEAD
do_or_say gcloud compute tpus tpu-vm scp "$packed/vssflow_jax.tar.gz" "$NAME:" \
  "${where[@]}" --worker=all
on_all 'mkdir -p vssflow_jax && tar -xzf vssflow_jax.tar.gz -C vssflow_jax &&
  python3 -m venv vssflow_jax/.venv && vssflow_jax/.venv/bin/pip install -q \
  -c vssflow_jax/launch/constraints.txt -e "vssflow_jax[tpu]"'
training=$(printf ' %q' --coordinator_address=auto "$@")
on_all "cd vssflow_jax && PATH=\$PWD/.venv/bin:\$PATH launch/local.sh$training"
