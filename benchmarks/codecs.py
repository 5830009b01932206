"""Scores of codecs: `python -m benchmarks.codecs --shards=SHARDS --codecs=CODEC,CODEC`.

Each CODEC is a folder as `--config.codec.folder` takes it. The test split's ground truth is encoded
and decoded by it and scored like a model's sound (docs/evaluation.md), by reference models fitted
without a codec: 16 clips of speech, 16 of speech and sound, 16 of sound. DNSMOS needs
`pip install "vssflow_jax[mos]"`; it scores the clips with speech.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import flags
from speechmos import dnsmos

from vssflow_jax.codecs.interface import load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.evaluation.evaluator import Evaluator, reconstruct_waves

CLIPS = 16
MOS = ("ovrl_mos", "sig_mos", "bak_mos")
HEAD = "| codec | clips | word errors | onset F1 | mcd, dB | DNSMOS overall | speech | background |"


def mean_dnsmos(waves: Sequence[np.ndarray]) -> list[float]:
    """Means of DNSMOS over waves."""
    scores = [dnsmos.run(np.clip(wave, -1, 1), 16_000) for wave in waves]
    return [float(np.mean([score[name] for score in scores])) for name in MOS]


def table_row(name: str, task: str, evaluator: Evaluator, waves: Sequence[np.ndarray]) -> str:
    """A row of the table."""
    scores = evaluator.score(evaluator.examples[task], waves, task).summary()
    numbers = [scores.get(key) for key in ("wer", "onset_f1", "mcd")]
    numbers += mean_dnsmos(waves) if task != "sound" else [None] * len(MOS)
    cells = " | ".join("" if number is None else f"{number:.3f}" for number in numbers)
    return f"| {name} | {len(waves)} of {task} | {cells} |"


def main() -> None:
    """Prints the table."""
    if flags.FLAGS.shards is None:
        raise InputError("expected --shards=SHARDS")
    evaluator = Evaluator.from_shards(flags.FLAGS.shards, "test", CLIPS)
    print(f"{HEAD}\n|{'---|' * HEAD.count(' |')}", flush=True)
    for name in ("none", *flags.FLAGS.codecs):
        codec = None if name == "none" else load_codec(name)
        for task, examples in evaluator.examples.items():
            if examples:
                waves = [read_wave(example) for example in examples]
                waves = waves if codec is None else reconstruct_waves(codec, waves)
                print(table_row(name, task, evaluator, waves), flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("shards", None, "Prepared shards.")
    flags.DEFINE_list("codecs", [], "Folders of codecs.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
