"""Errors of predicted phoneme times: a Markdown table.

    python -m benchmarks.durations --shards=SHARDS

SHARDS are those of MiniAV (`python -m vssflow_jax.corpus`, then `prepare`), whose alignments are
exact. Times of the test split's texts are predicted from the true start on, as for a text
without a video, and between the true start and end. The networks are trained here, on the batches,
by the loss and the rule that training has, alone; `--steps` says for how many steps of
`configs/grid.py`, several for several networks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line, load_recipe
from vssflow_jax.data import pipeline, shards
from vssflow_jax.models import duration_model
from vssflow_jax.text.alignment import Interval, align_text, predict_alignment, select_voice
from vssflow_jax.text.durations import DurationFunction, DurationModel, measure_durations
from vssflow_jax.training import optim


class Example(NamedTuple):
    """The parts of a record that matter for times: the training example and the meta."""

    arrays: dict
    meta: dict


class Score(NamedTuple):
    """Mean absolute errors in ms of boundaries, durations and the end.

    `scaled`: of the boundaries, between the true start and end.
    """

    boundary: float
    phoneme: float
    end: float
    scaled: float


def read_examples(folder: str, split: str) -> list[Example]:
    """The examples of a split."""
    spec = pipeline.BatchSpec.from_duration(load_recipe("grid").data.duration, {})
    records, out = shards.open_split(folder, split), []
    for record in (records[row] for row in range(len(records))):
        names = ("phonemes", "speaker", "wave", "meta")
        example = pipeline.make_example({n: record[n] for n in names if n in record}, spec)
        features = {name: example["features"][name] for name in ("phonemes", "speaker")}
        arrays = {"features": features, "present": example["present"], "frames": example["frames"]}
        out.append(Example(arrays, record["meta"]))
    return out


def train_network(examples: Sequence[Example], steps: int, seed: int) -> DurationFunction:
    """A network after some steps on batches of the examples."""
    config = load_recipe("grid")
    config.train.steps = steps
    network, rule = duration_model.build_network(config), optim.make_optimizer(config)
    params = {duration_model.PARAMS_KEY: duration_model.init_params(network, jax.random.key(seed))}
    state, rng = (params, params, rule.init(params)), np.random.default_rng(seed)

    @jax.jit
    def train_step(state, batch, number):
        params, ema, rest = state
        key = jax.random.fold_in(jax.random.key(seed), number)
        loss = functools.partial(duration_model.duration_loss, network, batch=batch, key=key)
        gradient = {duration_model.PARAMS_KEY: jax.grad(loss)(params[duration_model.PARAMS_KEY])}
        updates, rest = rule.update(gradient, rest, params)
        params = optax.apply_updates(params, updates)
        return params, optim.update_ema(ema, params, number, config.optim.ema_decay), rest

    for number in range(steps):
        rows = rng.integers(len(examples), size=config.data.batch_size)
        batch = pipeline.stack_examples([examples[row].arrays for row in rows])
        state = train_step(state, batch, jnp.asarray(number))
    return duration_model.make_predictor(network, state[1][duration_model.PARAMS_KEY])


def measure_errors(
    examples: Sequence[Example], durations: Mapping[str, float], voices: bool = True
) -> Score:
    """The errors on examples with a text; `voices`: whether their voices are known."""
    errors = Score([], [], [], [])
    for arrays, meta in examples:
        voice = arrays["features"]["speaker"] if voices else None
        truth = meta["alignment"]
        ends = np.array([end for _, end, _ in truth])
        error = np.array([i.end for i in predict_alignment(meta, durations, voice)]) - ends
        errors.boundary.extend(abs(error))
        errors.phoneme.extend(abs(np.diff(error, prepend=0.0)))
        errors.end.append(abs(error[-1]))
        own = select_voice(durations, voice)
        scaled, _ = align_text(meta["text"], truth[0][0], ends[-1], meta["duration"], own)
        errors.scaled.extend(abs(np.array([i.end for i in scaled]) - ends))
    return Score(*(1000 * float(np.mean(values)) for values in errors))


def main() -> None:
    """Prints the table."""
    folder = flags.FLAGS.shards
    if folder is None:
        raise InputError("expected --shards=SHARDS")
    training = read_examples(folder, "train")
    alignments = [[Interval(*row) for row in e.meta.get("alignment", ())] for e in training]
    table = measure_durations(alignments)
    means = {name: seconds for name, seconds in table.items() if " " not in name}
    test = [example for example in read_examples(folder, "test") if example.meta.get("alignment")]
    print("| durations | boundary, ms | phoneme, ms | end, ms | boundary between true ends, ms |")
    print("|---|---|---|---|---|", flush=True)

    def print_row(name: str, errors: Score) -> None:
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in errors)} |", flush=True)

    for name, durations in {
        "typical": {}, "mean of the phoneme": means, "mean in context": table
    }.items():  # fmt: skip
        print_row(name, measure_errors(test, durations))
    for steps in map(int, flags.FLAGS.steps):
        model = DurationModel({}, network=train_network(training, steps, flags.FLAGS.seed))
        print_row(f"network, {steps} steps, voice known", measure_errors(test, model))
        errors = measure_errors(test, model, voices=False)
        print_row(f"network, {steps} steps, voice unknown", errors)
    print(f"\n{len(test)} clips")


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("shards", None, "Prepared shards of MiniAV.")
    flags.DEFINE_list("steps", ["1160"], "Steps of training, several for several networks.")
    flags.DEFINE_integer("seed", 0, "Of weights and batches.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
