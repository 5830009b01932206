"""Trains the built-in audio embedding: `python -m benchmarks.fit_embedding`.

A small network classifies the sounds and the voices of training clips, with one sigmoid a class, so
that a clip may have both; see `metrics.embedding`.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import write_arrays
from vssflow_jax.config import command_line
from vssflow_jax.data import shards
from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.evaluation.metrics import common, embedding

WIDTHS = (16, 32, 48, 64)
FEATURES = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
BATCH_SIZE = 32
GAIN = 0.7  # nepers, either way
SHIFT = 40  # log-mel frames that a clip is rolled by, at most


def labels(records: Sequence, names: Sequence[str]) -> np.ndarray:
    """Which classes each record contains: float32 [n, K]."""
    notes = [record["meta"].get("annotation", {}) for record in records]
    present = [{note.get("sound_class"), note.get("speaker")} for note in notes]
    return np.array([[name in some for name in names] for some in present], np.float32)


def class_names(records: Sequence) -> list[str]:
    """The sound classes, then the voices of the records."""
    notes = [record["meta"].get("annotation", {}) for record in records]
    keys = ("sound_class", "speaker")
    return [name for key in keys for name in sorted({n[key] for n in notes if n.get(key)})]


def fit(mels: Sequence[np.ndarray], truth: np.ndarray, epochs: int, seed: int = 0) -> dict:
    """Parameters trained on log-mels [T, 64] of one length, with labels `truth` [n, K].

    Level, position and a little noise are random augmentations.
    """
    batch, frames = embedding.pad_mels(mels)
    steps = epochs * (len(mels) // BATCH_SIZE)
    tx = optax.adamw(optax.cosine_decay_schedule(LEARNING_RATE, steps), weight_decay=WEIGHT_DECAY)
    params = embedding.init_params(jax.random.key(seed), WIDTHS, FEATURES, truth.shape[1])
    state = tx.init(params)

    def loss(params, x, count, y):
        logits = embedding.network(params, x, count)[1]
        return optax.sigmoid_binary_cross_entropy(logits, y).mean()

    @jax.jit
    def step(params, state, x, count, y):
        value, grads = jax.value_and_grad(loss)(params, x, count, y)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    rng = np.random.default_rng(seed)
    floor = np.float32(np.log(common.FLOOR))
    for _ in range(epochs):
        order = rng.permutation(len(mels))
        for first in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            rows = order[first : first + BATCH_SIZE]
            x = np.roll(batch[rows], rng.integers(-SHIFT, SHIFT + 1), axis=1)
            x = x + rng.uniform(-GAIN, GAIN, (BATCH_SIZE, 1, 1)) + rng.normal(0, 0.1, x.shape)
            x = np.maximum(x, floor).astype(np.float32)
            params, state, value = step(params, state, x, frames[rows], truth[rows])
        print(f"loss {float(value):.4f}", flush=True)
    return params


def main() -> None:
    """Flags in, a file of weights out, and its accuracy on the test split."""
    args = flags.FLAGS
    if args.shards is None or args.out is None:
        raise InputError("expected --shards=DATA and --out=FILE")
    records = shards.open_split(args.shards, "train", with_wave=True)
    rows = np.random.default_rng(0).permutation(len(records))[: args.clips]
    if len(rows) < BATCH_SIZE:
        raise InputError(
            f"{args.shards}: found {len(rows)} clips with sound for training, expected a batch of "
            f"{BATCH_SIZE} at least"
        )
    chosen = [records[int(row)] for row in rows]
    names = class_names(chosen)
    if not names:
        raise InputError(f"{args.shards}: found no sound_class nor speaker in the annotations")
    params = fit(
        common.log_mels([read_wave(record) for record in chosen]),
        labels(chosen, names),
        args.epochs,
    )
    write_arrays(args.out, {name: np.asarray(array) for name, array in params.items()})
    held = shards.open_split(args.shards, "test", with_wave=True)
    unseen = [held[row] for row in range(len(held))]
    network = embedding.load(args.out)
    _, logits = network([read_wave(record) for record in unseen])
    right = (np.asarray(jnp.asarray(logits) > 0) == labels(unseen, names)).mean()
    print(
        f"{args.out}: hash {network.hash}, names {names}, {right:.4f} of them right on test clips"
    )


if __name__ == "__main__":
    flags.DEFINE_string("shards", None, "Prepared shards with annotations.")
    flags.DEFINE_string("out", None, "File of weights to write (.safetensors).")
    flags.DEFINE_integer("clips", 1500, "Training clips to learn from.")
    flags.DEFINE_integer("epochs", 12, "Passes over them.")
    command_line.run(main)
