"""The training loop: restore, step, log, save, in a run's folder."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from tqdm import tqdm

from vssflow_jax import conditions
from vssflow_jax.errors import InputError
from vssflow_jax.models import vssflow
from vssflow_jax.training import checkpoint, sharding, state, step
from vssflow_jax.training.log import MetricsLog

Hook = Callable[[int, state.TrainState], None]


def initial_state(model, config, spec, channels: int, mesh):
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

    def init():
        x = jnp.zeros((1, spec.latent_frames, channels))
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        return state.initial(model.init(key, x, jnp.zeros(1), features, keep)["params"], config)

    places = sharding.shardings(jax.eval_shape(init), mesh)
    return jax.jit(init, out_shardings=places)


class Run:
    """A run in a folder: everything that a step needs, restored from the newest checkpoint.

    Args:
      config: the run's config.
      workdir: the run's folder.
      codec: waveform to latent.
      batches: Grain iterator of batches, its position still at the start.
      spec: shapes of a batch.
      identity: hashes that the checkpoints of this run carry.
    """

    def __init__(self, config, workdir: Path, codec, batches, spec, identity: dict):
        self.config, self.workdir, self.batches = config, workdir, batches
        self.identity = identity
        self.mesh = sharding.make_mesh(dict(config.mesh))
        sharding.check_batch(config.data.batch_size, self.mesh)
        self.codec = jax.device_put(codec, jax.NamedSharding(self.mesh, jax.P()))
        self.model = vssflow.build(config, codec.channels)
        self._make = initial_state(self.model, config, spec, codec.channels, self.mesh)
        self.checkpoints = checkpoint.Checkpoints(workdir, config.train.keep)
        self.state = self._restore()
        self._step = jax.jit(step.make_step(self.model, config), donate_argnums=0)
        self._saved = int(self.state.step)

    def _restore(self) -> state.TrainState:
        newest = self.checkpoints.latest()
        if newest is None:
            made, start = self._make(), self.config.train.start
            return started(made, start, self.identity["codec"]) if start else made
        found = self.checkpoints.identity(newest)
        checkpoint.check_identity(found, self.identity, f"{self.workdir}: checkpoint {newest}")
        shapes = jax.eval_shape(self._make)
        like = checkpoint.shapes(shapes, sharding.shardings(shapes, self.mesh))
        restored, position = self.checkpoints.restore(newest, like)
        self.batches.set_state(position)
        return restored

    @property
    def done(self) -> int:
        """Steps done."""
        return int(self.state.step)

    def save(self) -> None:
        """Saves the state and the data position, unless this step is saved already."""
        if self.done == self._saved:
            return
        self._saved = self.done
        self.checkpoints.save(self.done, self.state, self.batches.get_state(), self.identity)

    def train(self, hook: Hook) -> None:
        """Steps to the end, logging and saving on the way; `hook` is called after each step."""
        train = self.config.train
        log = MetricsLog(self.workdir, self.done)
        window = Window(self.config.data.batch_size, already(self.workdir / "metrics.jsonl"))
        bar = tqdm(total=train.steps, initial=self.done, unit="step", desc="train")
        with contextlib.closing(log), bar:
            for number in range(self.done + 1, train.steps + 1):
                with window.waiting():
                    batch = sharding.place_batch(next(self.batches), self.mesh)
                self.state, metrics = self._step(self.state, self.codec, batch)
                window.steps += 1
                bar.update()
                if number % train.log_every == 0 or number == train.steps:
                    values = {name: float(value) for name, value in metrics.items()}
                    values |= window.close()
                    log.write(number, values)
                    rate = f"{values['clips_per_second']:.1f}"
                    bar.set_postfix(loss=f"{values['loss']:.3f}", clips_per_second=rate)
                if number % train.checkpoint_every == 0 or number == train.steps:
                    self.save()
                hook(number, self.state)
        self.checkpoints.wait()
        self.checkpoints.close()


def started(made: state.TrainState, folder: str, codec: str) -> state.TrainState:
    """The first state with the weights of the run or conversion in `folder`.

    Args:
      made: the first state from the config's seed.
      folder: of the run; its averaged weights are taken.
      codec: hash of this run's codec, which must be that run's.

    Raises:
      InputError: no weights there, of another shape, or made for another codec.
    """
    try:
        weights, number, identity = checkpoint.load_weights(folder)
    except InputError as error:
        raise InputError(f"train.start: {error}") from None
    if identity:  # published weights do not say what codec is theirs
        where = f"train.start={folder}: checkpoint {number}"
        checkpoint.check_identity(identity, {"codec": codec}, where)
    found, expected = (shapes(tree) for tree in (weights, made.params))
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise InputError(
                f"train.start={folder}: parameter {name}: found {found.get(name, 'none')}, "
                f"expected {expected.get(name, 'none')}"
            )
    params = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), weights, made.params)
    return made.replace(params=params, ema=jax.tree.map(jnp.copy, params))


def shapes(params) -> dict[str, tuple[int, ...]]:
    """Shapes of a tree's arrays by path."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): a.shape for path, a in leaves}


class Window:
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
    def __init__(self, window: Window):
        self._window = window

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._window.waited += time.perf_counter() - self._start


def already(log: Path) -> float:
    """Seconds of training that the log of a resumed run has counted."""
    lines = log.read_text().splitlines()
    return json.loads(lines[-1])["seconds"] if lines else 0.0
