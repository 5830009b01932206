#!/usr/bin/env bash
# Measures an accelerator, for docs/benchmarks.md, in at most 8 minutes on one H100:
#
#   benchmarks/device.sh          the paper's network
#   benchmarks/device.sh --tiny   a small one, to try the script where there is no accelerator
#
# It needs the package with its dependencies and no data; what it prints goes into the page as it is.
set -eu
cd "$(dirname "$0")/.."
python -m benchmarks.device --repeats=3 "$@"
echo
python -m benchmarks.input --clips=64 --batches=4 --workers=0 --rounds=1
echo
# Empty: tests would otherwise choose the processor, and programs that compile faster.
JAX_PLATFORMS="" XLA_FLAGS="" python -m pytest -q -m gpu tests/models || echo "the tests marked gpu failed, or there are none here"
