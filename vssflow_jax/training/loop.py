"""The training loop: restore, step, log, validate and save, in a run's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from vssflow_jax.data import pipeline
from vssflow_jax.training import (
    checkpoint,
    chips,
    distributed,
    preemption,
    profiling,
    resources,
    sharding,
)
from vssflow_jax.training.feed import DeviceFeed
from vssflow_jax.training.flops import count_flops, count_traced_flops
from vssflow_jax.training.flow_step import flow_task
from vssflow_jax.training.hook_runner import Hook, HookRunner, StepJob
from vssflow_jax.training.init_from import find_first_weights, init_from_weights
from vssflow_jax.training.log import MetricsWriter, NullWriter
from vssflow_jax.training.nan_guard import NanGuard
from vssflow_jax.training.state import TrainState
from vssflow_jax.training.step import Task

RUN_KEY = "run"  # beside the data iterator's position: what else a run resumes with


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run reads.

    Attributes:
      batches: Grain iterator of training batches, its position still at the start.
      spec: shapes of a batch.
      num_examples: of the training split.
      validation: () -> the batches of the validation loss; None: there are none.
    """

    batches: Any
    spec: pipeline.BatchSpec
    num_examples: int
    validation: Callable[[], Iterable[dict]] | None = None


class Run:
    """A run in a folder: everything that a step needs, restored from the newest checkpoint.

    Args:
      config: the run's config.
      workdir: the run's folder.
      mesh: the devices.
      codec: waveform to latent.
      data: what is read.
      identity: what the checkpoints of this run are made with; see `checkpoint.check_identity`.
      make_task: makes the task from config, spec, codec and mesh.

    Attributes:
      step: how many steps have been taken.
      state: after them; it may still be being computed.
    """

    def __init__(
        self,
        config,
        workdir: Path,
        mesh,
        codec,
        data: TrainingData,
        identity: dict,
        make_task: Callable[..., Task] = flow_task,
    ):
        self.config, self.workdir, self.mesh, self.data = config, workdir, mesh, data
        self.codec = jax.device_put(codec, jax.NamedSharding(mesh, jax.P()))
        task = make_task(config, data.spec, self.codec, mesh)
        self.identity = {**identity, **task.identity}
        self.frozen = self.codec if task.frozen is None else task.frozen
        places = sharding.make_shardings(jax.eval_shape(task.init_state), mesh)
        self.checkpoints = checkpoint.Checkpoints(
            workdir, config.train.keep_checkpoints, writes=True
        )
        newest = self.checkpoints.latest_step()
        self.step = self._saved_step = (
            newest or 0
        )  # not asked of the state, which is not waited for
        self.state, saved = self._restore(task.init_state, places, newest)
        max_corrupt = config.data.max_corrupt_fraction * data.num_examples
        self.nan_guard = NanGuard(
            config.train.max_skipped_steps, max_corrupt, saved.get("nan_guard", saved.get("tally"))
        )
        self.checkpoints.best = saved.get("best")
        self._feed = DeviceFeed(
            data.batches,
            lambda batch: sharding.place_batch(batch, mesh, config.data.batch_size),
        )
        self._in_flight: jax.Array | None = None  # a result of the newest step
        self._make_task = lambda config: make_task(config, data.spec, self.codec, mesh)
        self._train_step = jax.jit(
            task.train_step,
            donate_argnums=0,
            out_shardings=(places, jax.NamedSharding(mesh, jax.P())),
        )
        self._validation_loss = jax.jit(task.validation_loss)

    def _restore(self, init_state: Callable, places, newest: int | None) -> tuple[TrainState, dict]:
        """The newest checkpoint's state and what the run saved beside it, or the first state."""
        if newest is None:
            state, (field, folder) = init_state(), find_first_weights(self.config)
            if folder:
                state = init_from_weights(state, folder, self.identity["codec"], field)
            return state, {}
        location = f"{self.workdir}: checkpoint {newest}"
        with checkpoint.refusing_damage(location):
            saved = self.checkpoints.read_identity(newest)
        checkpoint.check_identity(saved, self.identity, location)
        like = checkpoint.abstract_arrays(jax.eval_shape(init_state), places)
        with checkpoint.refusing_damage(location):
            state, position = self.checkpoints.restore(newest, like)
            run = position.pop(RUN_KEY, {})
            self.data.batches.set_state(position)
        return state, run

    def save(self) -> None:
        """Saves the state and the data position, unless this step is saved already."""
        if self.step == self._saved_step:
            return
        self._saved_step = self.step
        run = {"nan_guard": self.nan_guard.state(), "best": self.checkpoints.best}
        position = {**self._feed.position, RUN_KEY: run}
        self.checkpoints.save(self.step, self.state, position, self.identity)

    def train(self, hook: Hook, missed: StepJob | None = None) -> None:
        """Steps to the end, logging and saving on the way, or until a signal.

        Args:
          hook: called after each step. The results of a job that it returns go into the log as a
            line of their own. Of several processes, the main one does it while all go on.
          missed: a job of the main process, from before the first step.
        """
        main = distributed.is_main_process()
        log = MetricsWriter(self.workdir, self.step) if main else NullWriter()
        hook_runner = HookRunner(hook, log, in_background=jax.process_count() > 1)
        bar = tqdm(total=self.config.train.steps, initial=self.step, unit="step", desc="train")
        bar.disable = bar.disable or not main
        with preemption.watch_signals() as stop_signal, contextlib.closing(log), bar:
            with (
                self.checkpoints.completing_saves(),
                profiling.profile_steps(
                    self.workdir, self.step, self.config.train.profile_steps
                ) as profile,
            ):
                if missed is not None:
                    hook_runner.make_up(missed)
                self._take_steps(hook_runner, stop_signal, log, bar, profile)
                self.nan_guard.check_pending()
            number = stop_signal(self.step)
            if not number:
                hook_runner.finish()
            unfinished = hook_runner.write_finished()
        if number:
            left_out = f", samples or scores of step {unfinished} are not" if unfinished else ""
            preemption.exit_for_restart(number, f"step {self.step} is saved{left_out}")

    def _take_steps(self, hook_runner: HookRunner, stop_signal, log, bar, profile) -> None:
        """Steps until the last, or until `stop_signal` says to stop."""
        train = self.config.train
        if self.step >= train.steps:
            return
        traced = self._compile_step()
        distributed.barrier("compiled")  # devices wait for each other for less long
        usage = DeviceUsage(flops=self._count_flops(traced), peak=self._peak_flops())
        timer = StepTimer(self.config.data.batch_size, log.logged_seconds, usage)
        while self.step < train.steps:
            profile(self.step, self._in_flight)
            metrics = self._take_step(timer)
            bar.update()
            last = self.step == train.steps
            validates = self._validates(last)
            if self.step % train.log_every == 0 or last or validates:
                self._log(metrics, validates, timer, log, bar)
            stops = stop_signal(self.step)
            if self.step % train.checkpoint_every == 0 or last or stops:
                self.save()
            if stops:
                return
            with timer.paused():
                hook_runner.call(self.step, self.state, timer.seconds)

    def _compile_step(self) -> jax.stages.Traced:
        """Compiles the step and says what memory it needs; its trace."""
        traced = self._train_step.trace(self.state, self.frozen, self._feed.peek().placed)
        self._train_step = traced.lower().compile()
        if distributed.is_main_process():
            memory = resources.StepMemory.from_compiled(
                self._train_step, self.state, self.frozen, jax.local_devices()[0]
            )
            multiple = sharding.batch_multiple(self.config, self.mesh)
            tqdm.write(memory.describe(self.config.data.batch_size, multiple))
        return traced

    def _count_flops(self, traced: jax.stages.Traced) -> int:
        """FLOPs of a step's matrix products over all devices, with nothing recomputed."""
        on_tpus = self.mesh.devices.flat[0].platform == "tpu"  # kernels compute things again, too
        if self.config.model.remat == "none" and not on_tpus:
            return count_flops(traced.jaxpr.jaxpr)
        config = self.config.copy_and_resolve_references()
        config.model.remat, config.model.tpu_kernels = "none", False
        step, batch = self._make_task(config).train_step, self._feed.peek().placed
        return count_traced_flops(step, self.state, self.frozen, batch)

    def _peak_flops(self) -> float | None:
        """FLOPs a second of all devices at best; None: not known."""
        peak = chips.find_peak_flops(self.mesh.devices.flat[0].device_kind)
        return peak and peak * self.mesh.size

    def _take_step(self, timer: StepTimer) -> dict:
        """One step; its metrics, on the devices. The step before it is done when it returns."""
        with timer.waiting():
            batch = self._feed.take()
        self.nan_guard.add_corrupt(pipeline.list_corrupt_records(batch.host))
        self.state, metrics = self._train_step(self.state, self.frozen, batch.placed)
        self.step += 1
        timer.steps += 1
        ids = batch.host[pipeline.IDS].tolist()
        self.nan_guard.add_step(self.step, metrics.pop("skipped"), ids)
        if self.step < self.config.train.steps:
            with timer.waiting():
                self._feed.load_next()
        jax.block_until_ready(self._in_flight)
        self._in_flight = metrics["loss"]
        return metrics

    def _validates(self, last: bool) -> bool:
        """Whether the validation loss is due after this step."""
        every = self.config.train.validate_every
        return bool(self.data.validation and every and (last or self.step % every == 0))

    def _log(self, metrics: Mapping, validates: bool, timer: StepTimer, log, bar) -> None:
        """Writes a line of the log."""
        values = {name: float(value) for name, value in metrics.items()}
        self.nan_guard.check_pending()
        values |= self.nan_guard.metrics() | timer.measure()
        if validates:
            values["valid_loss"] = self._validate()
            timer.restart()
        log.write(self.step, values)
        rate = f"{values['clips_per_second']:.1f}"
        bar.set_postfix(loss=f"{values['loss']:.3f}", clips_per_second=rate)

    def _validate(self) -> float:
        """The loss of the weights to sample with; remembers the step if it is the least so far."""
        losses = []
        for number, batch in enumerate(self.data.validation()):
            self.nan_guard.add_corrupt(pipeline.list_corrupt_records(batch))
            placed = sharding.place_batch(batch, self.mesh, self.config.data.batch_size)
            losses.append(self._validation_loss(self.state.weights, self.frozen, placed, number))
        loss = sum(map(float, losses)) / len(losses)
        if self.checkpoints.best is None or loss < self.checkpoints.best[0]:
            self.checkpoints.best = [loss, self.step]
        return loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceUsage:
    """What a step uses of the devices.

    Attributes:
      flops: of the model, a step, over all devices.
      peak: that all devices compute a second at best; None: not known.
    """

    flops: int = 0
    peak: float | None = None

    def rates(self, steps_per_second: float) -> dict[str, float]:
        """Model FLOPs a second and their share of the peak, if that is known."""
        rate = self.flops * steps_per_second
        mfu = {} if self.peak is None else {"mfu": rate / self.peak}
        return {"model_flops_per_second": rate, **mfu}


class StepTimer:
    """Times the steps between two lines of the log.

    Args:
      batch_size: examples a step.
      seconds: of training so far.
      usage: of the devices, by a step.

    Attributes:
      steps: since the last line.
      seconds: of training, validation and hooks left out, up to the last line.
    """

    def __init__(self, batch_size: int, seconds: float, usage: DeviceUsage):
        self.batch_size, self.seconds, self.usage = batch_size, seconds, usage
        self.steps, self._waited, self._start = 0, 0.0, time.perf_counter()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A block whose time counts as waiting for input."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A block whose time does not count."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def measure(self) -> dict[str, float]:
        """Rates since the last line; starts anew."""
        elapsed = time.perf_counter() - self._start
        self.seconds += elapsed
        rates = {
            "clips_per_second": self.steps * self.batch_size / elapsed,
            "input_wait_fraction": self._waited / elapsed,
            "seconds": self.seconds,
            **self.usage.rates(self.steps / elapsed),
        }
        self.steps, self._waited = 0, 0.0
        self.restart()
        return rates

    def restart(self) -> None:
        """Leaves the time since the last line out."""
        self._start = time.perf_counter()
