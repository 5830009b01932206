"""Writes MiniAV, the built-in corpus.

    python -m vssflow_jax.corpus --out=DIR [--clips=N --seed=0]
    python -m vssflow_jax.corpus --out=DIR --voices=hibari --sentences=open --audio_clips=N

A build that was stopped goes on where it was.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.corpus import build, voices


def define_flags() -> None:
    """The flags of the command."""
    usual = build.CorpusSettings()
    command_line.define_path("out", None, "Folder for clips and manifest.")
    flags.DEFINE_integer("clips", usual.clips, "Videos; the three tasks alternate.")
    flags.DEFINE_integer(
        "audio_clips", usual.audio_clips, "Further clips of speech alone.", lower_bound=0
    )
    flags.DEFINE_integer("seed", usual.seed, "Another seed gives other clips.", lower_bound=0)
    flags.DEFINE_string("voices", usual.voices, f"Set of voices: {', '.join(voices.SETS)}.")
    flags.DEFINE_string("sentences", usual.sentences, "grid, open, or a file with one a line.")
    flags.DEFINE_string(
        "audio_sentences", usual.audio_sentences, "Those of --audio_clips; empty: --sentences."
    )
    flags.DEFINE_float("seconds", usual.seconds, "Length of a video.")
    flags.DEFINE_float("audio_seconds", usual.audio_seconds, "Longest clip of --audio_clips.")
    flags.DEFINE_integer("workers", None, "Processes; default: all cores.", lower_bound=1)


def main() -> None:
    """Writes the corpus that the flags ask for."""
    values = flags.FLAGS
    if not values.out:
        raise InputError("--out: found nothing, expected a folder for the corpus")
    settings = build.CorpusSettings(
        clips=values.clips,
        audio_clips=values.audio_clips,
        seed=values.seed,
        voices=values.voices,
        sentences=values.sentences,
        audio_sentences=values.audio_sentences,
        seconds=values.seconds,
        audio_seconds=values.audio_seconds,
    )
    manifest = build.build_corpus(values.out, settings, values.workers)
    print(f"next: python -m vssflow_jax.prepare --manifest={manifest} --out=SHARDS")


if __name__ == "__main__":
    command_line.run(main, define_flags)
