"""The training command, whose samples of some steps are held up or fail.

    python tests/helpers/held_samples.py FOLDER [flags]

A sample of step N touches FOLDER/begun-N. If there is a file FOLDER/hold, it then waits for
FOLDER/release; if there is a file FOLDER/fail, it raises an error. Each scores its step.
"""

import dataclasses
import sys
import time
from pathlib import Path

from vssflow_jax import train
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.generation import hooks


def hold_samples(folder: Path) -> None:
    """Has samples while training do as this folder says."""
    make_task = hooks.sampling_task

    def sampling_task(*arguments):
        task = make_task(*arguments)

        def write_samples(generator):
            step = generator.step
            (folder / f"begun-{step}").touch()
            while (folder / "hold").exists() and not (folder / "release").exists():
                time.sleep(0.02)
            if (folder / "fail").exists():
                raise InputError(f"samples of step {step}: found none")
            return {**task.run(generator), "score": float(step)}

        return dataclasses.replace(task, run=write_samples)

    hooks.sampling_task = sampling_task


if __name__ == "__main__":
    hold_samples(Path(sys.argv.pop(1)))
    command_line.run(train.main, train.define_flags)
