"""The hook of a run: what it returns is done beside the steps, or between two of them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Mapping

from tqdm import tqdm

from vssflow_jax.training.log import MetricsWriter, NullWriter, Sound
from vssflow_jax.training.state import TrainState

Results = Mapping[str, float | Sound]
Job = Callable[[], Results]
Hook = Callable[[int, TrainState], Job | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepJob:
    """A job and the step that it is about.

    Attributes:
      step: whose weights it reads.
      seconds: of training up to this step.
      job: to do.
    """

    step: int
    seconds: float
    job: Job


class HookRunner:
    """Calls the hook of a run, and writes the results of its jobs into the log.

    Args:
      hook: called after each step, in all processes; may return a job, which owns what it reads.
      log: of the run.
      in_background: whether a job runs in a thread while the run takes further steps. Then one
        runs at a time: those that come meanwhile are left out, each with a line that says so.
        Otherwise a job is done before the next step.
    """

    def __init__(self, hook: Hook, log: MetricsWriter | NullWriter, in_background: bool):
        self._hook, self._log, self._in_background = hook, log, in_background
        self._started: tuple[StepJob, concurrent.futures.Future[Results]] | None = None

    def call(self, step: int, state: TrainState, seconds: float) -> None:
        """Calls the hook after a step, and raises what a job has raised.

        Args:
          step: how many steps have been taken.
          state: after them.
          seconds: of training so far.
        """
        job = self._hook(step, state)
        self.write_finished()
        if job is None:
            return
        if self._started is not None:
            tqdm.write(
                f"note: no samples or scores of step {step}: "
                f"those of step {self._started[0].step} are not finished"
            )
            return
        self._start(StepJob(step=step, seconds=seconds, job=job))

    def make_up(self, missed: StepJob) -> None:
        """Starts a job that an earlier start of the run did not finish, before the first step."""
        tqdm.write(
            f"samples or scores of step {missed.step}, which were not finished, are made now"
        )
        self._start(missed)

    def _start(self, work: StepJob) -> None:
        self._started = work, _start(work.job, self._in_background)
        self.write_finished()

    def write_finished(self) -> int | None:
        """Writes the results of a job that is finished; the step of one that is not, or None."""
        if self._started is not None:
            work, future = self._started
            if not future.done():
                return work.step
        self.finish()
        return None

    def finish(self) -> None:
        """Waits for the job that was started, and writes its results or raises its error."""
        if self._started is None:
            return
        (work, future), self._started = self._started, None
        results = future.result()
        sounds = {name: value for name, value in results.items() if isinstance(value, Sound)}
        scores = {name: value for name, value in results.items() if name not in sounds}
        if sounds:
            self._log.write_sounds(work.step, sounds)
        if scores:
            self._log.write(work.step, {**scores, "seconds": work.seconds})


def _start(job: Job, in_background: bool) -> concurrent.futures.Future[Results]:
    """Runs a job, in a thread or at once; its results or its error."""
    future: concurrent.futures.Future[Results] = concurrent.futures.Future()

    def run():
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)

    if in_background:  # a daemon, since a run that is stopped does not wait for it
        threading.Thread(target=run, name="hook", daemon=True).start()
    else:
        run()
    return future
