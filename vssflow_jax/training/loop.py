"""The training loop: restore, step, log, validate, save, in a run's folder."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from tqdm import tqdm

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import pipeline
from vssflow_jax.models import duration_model, vssflow
from vssflow_jax.training import checkpoint, distributed, preemption, sharding, state, step
from vssflow_jax.training.log import MetricsWriter, NullWriter
from vssflow_jax.training.nan_guard import NanGuard

RUN_KEY = "run"  # beside the data iterator's position: what else a run goes on with
Hook = Callable[[int, state.TrainState], Mapping[str, float] | None]


def make_init_state(model, config, spec, channels: int, mesh):
    """The jitted function that makes the first state from the config's seed, in its places.

    Args:
      model: the network.
      config: the run's config.
      spec: shapes of a batch.
      channels: of the latent.
      mesh: where the state lies.
    """
    features = {
        c.name: jnp.zeros((1, spec.frames[c.name]), jnp.int32)
        if c.ids
        else jnp.zeros(
            (1, *([] if c.align == conditions.TOKEN else [spec.frames[c.name]]), c.width)
        )
        for c in conditions.CONDITIONS
    }
    keep = {name: jnp.ones(1) for name in conditions.NAMES}
    timer = duration_model.build_network(config)

    def init():
        x = jnp.zeros((1, spec.latent_frames, channels))
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        params = model.init(key, x, jnp.zeros(1), features, keep)["params"]
        if timer is not None:
            params[duration_model.PARAMS_KEY] = duration_model.init_params(
                timer, jax.random.fold_in(key, 1)
            )
        return state.init_state(params, config)

    places = sharding.make_shardings(jax.eval_shape(init), mesh)
    return jax.jit(init, out_shardings=places)


def flow_task(config, spec, codec, mesh) -> step.Task:
    """The task of a run that trains the model of the flow."""
    model = vssflow.build_model(config, codec.channels)
    return step.Task(
        make=make_init_state(model, config, spec, codec.channels, mesh),
        step=step.make_flow_train_step(model, config, mesh),
        validation=step.make_validation_loss(model, config, mesh),
    )


class Run:
    """A run in a folder: everything that a step needs, restored from the newest checkpoint.

    Args:
      config: the run's config.
      workdir: the run's folder.
      mesh: the devices.
      codec: waveform to latent.
      batches: Grain iterator of batches, its position still at the start.
      spec: shapes of a batch.
      identity: hashes that the checkpoints of this run carry.
      clips: of the training split.
      trains: makes the task from config, spec, codec and mesh.
    """

    def __init__(
        self,
        config,
        workdir: Path,
        mesh,
        codec,
        batches,
        spec,
        identity: dict,
        clips: int,
        trains: Callable[..., step.Task] = flow_task,
    ):
        self.config, self.workdir, self.mesh, self.batches = config, workdir, mesh, batches
        self.identity = identity
        self.codec = jax.device_put(codec, jax.NamedSharding(mesh, jax.P()))
        task = trains(config, spec, self.codec, mesh)
        self._make = task.make
        self._places = sharding.make_shardings(jax.eval_shape(self._make), mesh)
        self.checkpoints = checkpoint.Checkpoints(
            workdir, config.train.keep_checkpoints, writes=True
        )
        newest = self.checkpoints.latest()
        self.done = self._saved = newest or 0  # not asked of the state: it may be in the making
        self.state, found = self._restore(newest)
        most = config.data.max_corrupt_fraction * clips
        self.tally = NanGuard(config.train.max_skipped_steps, most, found.get("tally"))
        self.checkpoints.best = found.get("best")
        self._step = jax.jit(
            task.step,
            donate_argnums=0,
            out_shardings=(self._places, jax.NamedSharding(mesh, jax.P())),
        )
        self._validation = jax.jit(task.validation)

    def _restore(self, newest: int | None) -> tuple[state.TrainState, dict]:
        if newest is None:
            made, start = self._make(), self.config.train.init_from
            return (init_from_weights(made, start, self.identity["codec"]) if start else made), {}
        found = self.checkpoints.identity(newest)
        checkpoint.check_identity(found, self.identity, f"{self.workdir}: checkpoint {newest}")
        like = checkpoint.abstract_arrays(jax.eval_shape(self._make), self._places)
        restored, position = self.checkpoints.restore(newest, like)
        found = position.pop(RUN_KEY, {})
        self.batches.set_state(position)
        return restored, found

    def save(self) -> None:
        """Saves the state and the data position, unless this step is saved already."""
        if self.done == self._saved:
            return
        self._saved = self.done
        run = {"tally": self.tally.state(), "best": self.checkpoints.best}
        position = {**self.batches.get_state(), RUN_KEY: run}
        self.checkpoints.save(self.done, self.state, position, self.identity)

    def train(self, hook: Hook, validation: Callable[[], Iterable[dict]] | None = None) -> None:
        """Steps to the end, logging and saving on the way, or to a signal.

        Args:
          hook: called after each step; what it gives goes into the log as a line of its own.
          validation: gives the batches of the validation loss; None: there are none.
        """
        train = self.config.train
        log = (
            MetricsWriter(self.workdir, self.done)
            if distributed.is_main_process()
            else NullWriter()
        )
        bar = tqdm(total=train.steps, initial=self.done, unit="step", desc="train")
        bar.disable = bar.disable or not distributed.is_main_process()
        with preemption.watch_signals() as asked, contextlib.closing(log), bar:
            with self.checkpoints.finishing():
                self._steps(hook, validation, asked, log, bar)
                self.tally.settle()
            stop = asked(self.done)
        if stop:
            preemption.exit_for_restart(stop, f"step {self.done} is saved")

    def _steps(self, hook: Hook, validation, asked, log, bar) -> None:
        """Steps until the last, or until `asked` to stop."""
        train = self.config.train
        window = StepTimer(
            self.config.data.batch_size, logged_seconds(self.workdir / "metrics.jsonl")
        )
        for number in range(self.done + 1, train.steps + 1):
            metrics = self._advance(window)
            bar.update()
            last = number == train.steps
            validate = validation and train.validate_every
            validate = validate and (last or number % train.validate_every == 0)
            if number % train.log_every == 0 or last or validate:
                values = self._values(metrics, window)
                if validate:
                    values["valid_loss"] = self._validate(validation())
                    window.since = time.perf_counter()
                log.write(number, values)
                rate = f"{values['clips_per_second']:.1f}"
                bar.set_postfix(loss=f"{values['loss']:.3f}", clips_per_second=rate)
            stop = asked(number)
            if number % train.checkpoint_every == 0 or last or stop:
                self.save()
            if stop:
                return
            scores = hook(number, self.state)
            if scores:
                log.write(number, {**scores, "seconds": window.seconds})
                window.since = time.perf_counter()

    def _advance(self, window: StepTimer) -> dict:
        """One step; its metrics, on the devices."""
        with window.waiting():
            read = next(self.batches)
            batch = sharding.place_batch(read, self.mesh, self.config.data.batch_size)
        self.tally.records(pipeline.list_corrupt_records(read))
        self.state, metrics = self._step(self.state, self.codec, batch)
        self.done += 1
        window.steps += 1
        self.tally.step(self.done, metrics.pop("skipped"), read[pipeline.IDS].tolist())
        return metrics

    def _values(self, metrics: dict, window: StepTimer) -> dict[str, float]:
        """A line of the log."""
        values = {name: float(value) for name, value in metrics.items()}
        self.tally.settle()
        return values | self.tally.values() | window.close()

    def _validate(self, batches: Iterable[dict]) -> float:
        """The loss of the weights to sample with; remembers the step if it is the least so far."""
        losses = []
        for number, read in enumerate(batches):
            self.tally.records(pipeline.list_corrupt_records(read))
            batch = sharding.place_batch(read, self.mesh, self.config.data.batch_size)
            losses.append(self._validation(self.state.weights, self.codec, batch, number))
        loss = sum(map(float, losses)) / len(losses)
        if self.checkpoints.best is None or loss < self.checkpoints.best[0]:
            self.checkpoints.best = [loss, self.done]
        return loss


def init_from_weights(made: state.TrainState, folder: str, codec: str) -> state.TrainState:
    """The first state with the weights of the run or conversion in `folder`.

    Args:
      made: the first state from the config's seed.
      folder: of the run; its averaged weights are taken. A network of durations that it does
        not have begins anew.
      codec: hash of this run's codec, which must be that run's.

    Raises:
      InputError: no weights there, of another shape, or made for another codec.
    """
    try:
        weights, number, identity = checkpoint.load_weights(folder)
    except InputError as error:
        raise InputError(f"train.init_from: {error}") from None
    if identity:  # published weights do not say what codec is theirs
        where = f"train.init_from={folder}: checkpoint {number}"
        checkpoint.check_identity(identity, {"codec": codec}, where)
    own = made.params.get(duration_model.PARAMS_KEY)  # which the other run may lack, or have alone
    weights = {
        name: part for name, part in weights.items() if name != duration_model.PARAMS_KEY or own
    }
    if own:
        weights.setdefault(duration_model.PARAMS_KEY, own)
    found, expected = (parameter_shapes(tree) for tree in (weights, made.params))
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise InputError(
                f"train.init_from={folder}: parameter {name}: found {found.get(name, 'none')}, "
                f"expected {expected.get(name, 'none')}"
            )
    params = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), weights, made.params)
    ema = None if made.ema is None else jax.tree.map(jnp.copy, params)
    return made.replace(params=params, ema=ema)


def parameter_shapes(params) -> dict[str, tuple[int, ...]]:
    """Shapes of a tree's arrays by path."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): a.shape for path, a in leaves}


class StepTimer:
    """Times the steps between two lines of the log."""

    def __init__(self, clips: int, seconds: float):
        self.clips, self.seconds = clips, seconds
        self.steps, self.waited, self.since = 0, 0.0, time.perf_counter()

    def waiting(self):
        """Context whose time counts as waiting for input."""
        return _Stopwatch(self)

    def close(self) -> dict[str, float]:
        """Rates of the window; starts the next."""
        took = time.perf_counter() - self.since
        self.seconds += took
        values = {
            "clips_per_second": self.steps * self.clips / took,
            "input_wait_fraction": self.waited / took,
            "seconds": self.seconds,
        }
        self.steps, self.waited, self.since = 0, 0.0, time.perf_counter()
        return values


class _Stopwatch:
    def __init__(self, window: StepTimer):
        self._window = window

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._window.waited += time.perf_counter() - self._start


def logged_seconds(log: Path) -> float:
    """Seconds of training that the log of a resumed run has counted."""
    lines = log.read_text().splitlines() if log.exists() else ()
    return json.loads(lines[-1])["seconds"] if lines else 0.0
