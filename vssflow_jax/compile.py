"""Compiles the training step for any TPU slice, without access to one.

    python -m vssflow_jax.compile --config=configs/joint.py --topology=v5e:2x4

Prints memory, FLOPs, memory traffic and collectives of a device, and the least time that a
step can take. Exits with status 1 if the step does not fit, and says what would.
"""

from __future__ import annotations

import sys

import jax
from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line, validation
from vssflow_jax.tpu_estimate import fit, report, topology, traffic
from vssflow_jax.tpu_estimate.case import Case, suggest_config
from vssflow_jax.tpu_estimate.program import OutOfMemory, Program
from vssflow_jax.training import chips


def compile_case(case: Case, search: bool) -> tuple[fit.Search, bool]:
    """Compiles a case and, if asked, searches the largest batch; False: it does not fit."""
    result = fit.Search()
    try:
        result.fits[case.clips] = case.compile()
    except OutOfMemory as error:
        result.fails[case.clips] = error
        needed, limit = report.size(error.used), report.size(error.limit)
        print(f"{case.topology}: does not fit: a device needs {needed} of {limit}", flush=True)
        print(f"  would fit: {suggest_config(case, error) or 'nothing that was tried'}", flush=True)
        return result, False
    if search:
        case.search(result)
    return result, True


def print_report(case: Case) -> bool:
    """Prints all about one topology; False: the step does not fit."""
    sizes = " x ".join(f"{axis} {size}" for axis, size in case.mesh.shape.items())
    print(f"{case.topology}: mesh {sizes}, {case.batch} clips a step, {case.clips} a device")
    search = flags.FLAGS.largest is not False
    result, fits = compile_case(case, search)
    if fits:
        program = result.fits[case.clips]
        print(report.describe(program, case.chip, case.batch, case.clips))
        if search:
            print(f"  largest batch      {report.largest(result)}")
        print(f"  compiled in        {program.seconds:.0f} s")
        print_traffic(program)
    return fits


def print_table(cases: list[Case]) -> bool:
    """Prints a line a topology; False: the step does not fit somewhere."""
    print(report.heading(), flush=True)
    all_fit = True
    for case in cases:
        result, fits = compile_case(case, bool(flags.FLAGS.largest))
        all_fit &= fits
        if fits:
            most = result.largest if flags.FLAGS.largest else None
            shape = tuple(case.mesh.shape.values())
            program = result.fits[case.clips]
            line = report.row(case.topology, shape, case.clips, case.chip, program, most)
            print(line, flush=True)
            print_traffic(program)
    return all_fit


def print_traffic(program: Program) -> None:
    """Prints what moves most bytes, if asked."""
    if flags.FLAGS.traffic:
        print(f"\n{traffic.describe_traffic(program.transfers)}\n", flush=True)


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_config(None, "Recipe, a file in configs/.")
    flags.DEFINE_list(
        "topology", [], "TPUs as chip:grid (v5e:2x4, v6e:2x4, v5p:2x2x2); several make a table."
    )
    flags.DEFINE_integer(
        "clips", 0, "Clips a device, instead of the config's batch.", lower_bound=0
    )
    flags.DEFINE_bool(
        "largest", None, "Search the largest batch that fits; default: only for a single topology."
    )
    flags.DEFINE_bool(
        "traffic", False, "List what moves bytes from and to the memory, by part of the network."
    )


def main() -> None:
    """Flags in, tables out."""
    if flags.FLAGS.config is None or not flags.FLAGS.topology:
        raise InputError("expected --config=FILE and --topology=CHIP:GRID")
    config = command_line.require_config(flags.FLAGS.config)
    validation.check(config)
    for name in flags.FLAGS.topology:
        chips.parse_topology(name)
    topology.require_compiler()
    jax.config.update("jax_platforms", "cpu")  # what is compiled for is not looked for here
    cases = [Case.from_config(config, name, flags.FLAGS.clips) for name in flags.FLAGS.topology]
    if not (print_report(*cases) if len(cases) == 1 else print_table(cases)):
        sys.exit(1)


if __name__ == "__main__":
    command_line.run(main, define_flags)
