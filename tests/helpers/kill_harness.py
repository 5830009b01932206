"""Trains with interruptions.

    python tests/helpers/kill_harness.py SIGNAL COUNT SEED STEPS WORKDIR [flags]

This process imports the training command once and forks it for every start, so that a start
costs what the command itself does. Each start but the last gets SIGNAL, at a random moment or,
every second time, at one when a checkpoint is being written. Prints JSON: the newest complete
checkpoint and the status after each, and how many hit a checkpoint.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from helpers import tiny_configs
from vssflow_jax import train
from vssflow_jax.config import command_line

LONGEST = 600.0  # seconds that a start may take


def begin(workdir, steps, flags):
    """Forks a start of the command; its process id."""
    child = os.fork()
    if child:
        return child
    log = os.open(workdir / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(tiny_configs.ROOT)
    sys.argv = [
        "train",
        *tiny_configs.FLAGS,
        f"--workdir={workdir}",
        f"--config.train.steps={steps}",
    ]
    sys.argv += ["--config.train.checkpoint_every=25", *flags]
    try:
        command_line.run(train.main, train.define_flags)
    except SystemExit as error:
        sys.stdout.flush()
        os._exit(error.code or 0)
    os._exit(1)


def ended(child, seconds):
    """Waits at most some seconds for a process; its status, or None while it runs."""
    until = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.01)


def saving(workdir):
    """Whether a checkpoint is half written."""
    return any(workdir.glob("checkpoints/*tmp*"))


def newest(workdir):
    """The newest checkpoint's step."""
    names = [path.name for path in workdir.glob("checkpoints/*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def interrupted(number, count, seed, steps, workdir, flags=()):
    """Starts of a run that get the signal `count` times; what happened at each."""
    draw, starts, longest = random.Random(seed), [], None
    while len(starts) < count:
        before, child = newest(workdir), begin(workdir, steps, flags)
        if longest is None:  # how long a start takes until its first checkpoint
            since = time.monotonic()
            while newest(workdir) == before and ended(child, 0.05) is None:
                pass
            longest = time.monotonic() - since
        # A share of the steps each, lest a start that is faster than the first leave none.
        share = steps * (len(starts) + 1) // (count + 1)
        until = time.monotonic() + draw.uniform(0, 1.5 * longest)
        status = ended(child, 0)
        while status is None and newest(workdir) < share and time.monotonic() < until:
            status = ended(child, 0.01)
        if len(starts) % 2:
            until = time.monotonic() + LONGEST
            while status is None and not saving(workdir) and time.monotonic() < until:
                status = ended(child, 0)
        hit = saving(workdir)
        if status is not None:
            raise SystemExit(f"start {len(starts)} was over by itself with status {status}")
        os.kill(child, number)
        status = ended(child, LONGEST)
        starts.append({"status": status, "step": newest(workdir), "saving": hit})
    return starts


if __name__ == "__main__":
    name, count, seed, steps, workdir, *flags = sys.argv[1:]
    Path(workdir).mkdir(parents=True, exist_ok=True)
    number = signal.Signals[name]
    starts = interrupted(number, int(count), int(seed), int(steps), Path(workdir), flags)
    last = ended(begin(Path(workdir), int(steps), flags), LONGEST)
    print(json.dumps({"starts": starts, "last": last}))
