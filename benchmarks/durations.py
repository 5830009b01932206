"""How well phoneme times are predicted: a Markdown table.

    python benchmarks/durations.py SHARDS

SHARDS are those of MiniAV (`python -m vssflow_jax.corpus`, then `prepare`), whose alignments are
exact. Times of the test split's texts are predicted from the true start on, as for a text
without a video, and between the true start and end. The networks are trained here, on the batches,
by the loss and the rule that training has, alone; `--steps` says for how many steps of
`configs/quickstart.py`, several for several networks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from vssflow_jax.config import load_recipe
from vssflow_jax.data import pipeline, shards
from vssflow_jax.models import duration_model
from vssflow_jax.text.alignment import Interval, align_text, predict_alignment
from vssflow_jax.text.durations import DurationFunction, DurationModel, measure_durations
from vssflow_jax.training import optim

STEPS = flags.DEFINE_list("steps", ["1160"], "Steps of training, several for several networks.")
SEED = flags.DEFINE_integer("seed", 0, "Of weights and batches.")


class Clip(NamedTuple):
    """What of a record has to do with time: what training sees, and the meta."""

    example: dict
    meta: dict


class Score(NamedTuple):
    """Mean absolute errors in ms: of boundaries, durations, the end; of boundaries between ends."""

    boundary: float
    phoneme: float
    end: float
    filled: float


def read(folder: str, split: str) -> list[Clip]:
    """The clips of a split."""
    spec = pipeline.BatchSpec.from_duration(load_recipe("quickstart").data.duration, {})
    records, clips = shards.open_split(folder, split), []
    for record in (records[row] for row in range(len(records))):
        names = ("phonemes", "speaker", "wave", "meta")
        made = pipeline.make_example({n: record[n] for n in names if n in record}, spec)
        features = {name: made["features"][name] for name in ("phonemes", "speaker")}
        example = {"features": features, "present": made["present"], "frames": made["frames"]}
        clips.append(Clip(example, record["meta"]))
    return clips


def train(clips: Sequence[Clip], steps: int, seed: int) -> DurationFunction:
    """A network after some steps on batches of the clips."""
    config = load_recipe("quickstart")
    config.train.steps = steps
    network, rule = duration_model.build_network(config), optim.make_optimizer(config)
    params = {duration_model.PARAMS_KEY: duration_model.init_params(network, jax.random.key(seed))}
    state, rng = (params, params, rule.init(params)), np.random.default_rng(seed)

    @jax.jit
    def advance(state, batch, number):
        params, ema, rest = state
        key = jax.random.fold_in(jax.random.key(seed), number)
        loss = functools.partial(duration_model.duration_loss, network, batch=batch, key=key)
        gradient = {duration_model.PARAMS_KEY: jax.grad(loss)(params[duration_model.PARAMS_KEY])}
        updates, rest = rule.update(gradient, rest, params)
        params = optax.apply_updates(params, updates)
        return params, optim.update_ema(ema, params, number, config.optim.ema_decay), rest

    for number in range(steps):
        rows = rng.integers(len(clips), size=config.data.batch_size)
        batch = pipeline.stack_examples([clips[row].example for row in rows])
        state = advance(state, batch, jnp.asarray(number))
    return duration_model.make_predictor(network, state[1][duration_model.PARAMS_KEY])


def score(clips: Sequence[Clip], pace: Mapping[str, float], voices: bool = True) -> Score:
    """The errors on clips with a text; `voices`: whether their voices are known."""
    errors = Score([], [], [], [])
    for example, meta in clips:
        voice = example["features"]["speaker"] if voices else None
        truth = meta["alignment"]
        ends = np.array([end for _, end, _ in truth])
        gap = np.array([i.end for i in predict_alignment(meta, pace, voice)]) - ends
        errors.boundary.extend(abs(gap))
        errors.phoneme.extend(abs(np.diff(gap, prepend=0.0)))
        errors.end.append(abs(gap[-1]))
        paced = pace.with_voice(voice) if isinstance(pace, DurationModel) else pace
        between, _ = align_text(meta["text"], truth[0][0], ends[-1], meta["duration"], paced)
        errors.filled.extend(abs(np.array([i.end for i in between]) - ends))
    return Score(*(1000 * float(np.mean(values)) for values in errors))


def main(arguments: list[str]) -> None:
    """Prints the table."""
    folder = arguments[1]
    training = read(folder, "train")
    said = [[Interval(*row) for row in clip.meta.get("alignment", ())] for clip in training]
    table = measure_durations(said)
    means = {name: seconds for name, seconds in table.items() if " " not in name}
    test = [clip for clip in read(folder, "test") if clip.meta.get("alignment")]
    print("| durations | boundary, ms | phoneme, ms | end, ms | boundary between given ends, ms |")
    print("|---|---|---|---|---|", flush=True)

    def line(name: str, found: Score) -> None:
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in found)} |", flush=True)

    for name, pace in {
        "typical": {}, "mean of the phoneme": means, "mean in context": table
    }.items():  # fmt: skip
        line(name, score(test, pace))
    for steps in map(int, STEPS.value):
        pace = DurationModel({}, network=train(training, steps, SEED.value))
        line(f"network, {steps} steps, voice known", score(test, pace))
        line(f"network, {steps} steps, voice unknown", score(test, pace, voices=False))
    print(f"\n{len(test)} clips")


if __name__ == "__main__":
    app.run(main)
