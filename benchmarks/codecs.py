"""Scores of codecs: `python -m benchmarks.codecs --shards=SHARDS --codecs=CODEC,CODEC`.

Each CODEC is a folder as `--config.codec.folder` takes it. The test split's ground truth is encoded
and decoded by it and scored like a model's sound (docs/evaluation.md), by reference models fitted
without a codec: by default 16 clips of speech, 16 of speech and sound, 16 of sound. DNSMOS needs
`pip install "vssflow_jax[mos]"`; it scores the clips with speech. The last column is the time to
decode a second of sound, of the fastest of three times, one clip after another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags
from speechmos import dnsmos

from vssflow_jax.codecs.interface import Codec, load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.evaluation.evaluator import Evaluator, reconstruct_waves

CLIPS = 16
MOS = ("ovrl_mos", "sig_mos", "bak_mos")
SCORES = ("wer", "onset_f1", "sound_class_accuracy", "mcd")
HEAD = (
    "| codec | clips | word errors | onset F1 | class | mcd, dB | DNSMOS overall | speech "
    "| background | decoding, ms/s |"
)


def mean_dnsmos(waves: Sequence[np.ndarray]) -> list[float]:
    """Means of DNSMOS over waves."""
    scores = [dnsmos.run(np.clip(wave, -1, 1), 16_000) for wave in waves]
    return [float(np.mean([score[name] for score in scores])) for name in MOS]


def measure_decoding(codec: Codec, wave: np.ndarray) -> float:
    """Milliseconds to decode a second of sound."""
    latent = jax.jit(codec.encode)(wave[None])[0]
    decode = jax.jit(lambda codec, latent: codec.decode(latent))
    decode(codec, latent).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        decode(codec, latent).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds) / (latent.shape[1] / codec.rate)


def table_row(name: str, task: str, evaluator: Evaluator, codec: Codec | None) -> str:
    """A row of the table; without a codec that of the ground truth."""
    examples = evaluator.examples[task]
    waves = [read_wave(example) for example in examples]
    milliseconds = None if codec is None else measure_decoding(codec, waves[0])
    waves = waves if codec is None else reconstruct_waves(codec, waves)
    scores = evaluator.score(examples, waves, task).summary()
    numbers = [scores.get(key) for key in SCORES]
    numbers += mean_dnsmos(waves) if task != "sound" else [None] * len(MOS)
    numbers.append(milliseconds)
    cells = " | ".join("" if number is None else f"{number:.3f}" for number in numbers)
    return f"| {name} | {len(waves)} of {task} | {cells} |"


def main() -> None:
    """Prints the table."""
    if flags.FLAGS.shards is None:
        raise InputError("expected --shards=SHARDS")
    evaluator = Evaluator.from_shards(flags.FLAGS.shards, "test", flags.FLAGS.clips)
    print(f"{HEAD}\n|{'---|' * HEAD.count(' |')}", flush=True)
    for name in ("none", *flags.FLAGS.codecs):
        codec = None if name == "none" else load_codec(name)
        for task, examples in evaluator.examples.items():
            if examples:
                print(table_row(name, task, evaluator, codec), flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("shards", None, "Prepared shards.")
    flags.DEFINE_list("codecs", [], "Folders of codecs.")
    flags.DEFINE_integer("clips", CLIPS, "Clips a task.", lower_bound=1)


if __name__ == "__main__":
    command_line.run(main, define_flags)
