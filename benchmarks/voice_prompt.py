"""Similarity to a voice with its embedding, with a voice prompt, and with both.

    python -m benchmarks.voice_prompt --workdir=RUN --voices=hibari --recognizer=whisper:FOLDER

Each held-out voice of the set has four recordings. The first one is the reference: its embedding,
its latent and its words are what the model gets. Test sentences of the package are generated at
predicted times; their d-vectors are compared with the mean d-vector of the other three recordings,
which the model does not get. Intervals are of the mean over voices (bootstrap, 95 %).
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.claims.tables import format_markdown
from vssflow_jax import bundled, media
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.config import command_line
from vssflow_jax.corpus import sentences, voices
from vssflow_jax.evaluation.metrics import asr, speaker, word_errors
from vssflow_jax.evaluation.metrics.common import Values
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.sampling import SamplingOptions

EMBEDDING, PROMPT, BOTH = "embedding", "prompt", "embedding and prompt"


def make_requests(text: str, reference: Path) -> dict[str, Request]:
    """The requests that are compared, by name."""
    both = Request.parse(text=text, prompt_audio=reference, prompt_text=voices.REFERENCES[0])
    return {
        EMBEDDING: dataclasses.replace(both, prompt=None),
        PROMPT: dataclasses.replace(both, speaker=None),
        BOTH: both,
    }


def main() -> None:
    """Prints the table."""
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    recognizer = asr.load(flags.FLAGS.recognizer)
    voice_set = voices.load_voices(flags.FLAGS.voices)
    held_out = [voice for voice in voice_set.voices if voice.held_out][: flags.FLAGS.num_voices]
    texts = sentences.list_test_sentences()[: flags.FLAGS.clips]
    options = SamplingOptions(steps=flags.FLAGS.steps, guidance=flags.FLAGS.guidance)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for voice in tqdm(held_out, desc="voices"):
            recordings = [
                np.float32(voices.record_reference(voice_set, voice, number))
                for number in range(len(voices.REFERENCES))
            ]
            media.write_wav(Path(folder) / "reference.wav", recordings[0])
            target = np.mean(speaker.embed_voices(recordings[1:]), axis=0)
            similarity = speaker.cosine(speaker.embed_voice(recordings[0]), target)
            row = {"reference recording": ([similarity], [])}
            for name in (EMBEDDING, PROMPT, BOTH):
                outputs = [
                    generator.generate_candidates(request, [0], options)[0]
                    for text in texts
                    for request in [make_requests(text, Path(folder) / "reference.wav")[name]]
                ]
                waves = [to_mono(x.wave, x.sample_rate, SAMPLE_RATE) for x in outputs]
                pairs = zip(texts, recognizer.transcribe(waves), strict=True)
                row[name] = (
                    [speaker.cosine(vector, target) for vector in speaker.embed_voices(waves)],
                    [word_errors.count_word_errors(*pair) for pair in pairs],
                )
            results.append(row)
    print_table(results)


def print_table(results: list[dict]) -> None:
    """Prints mean similarities, gains over the embedding alone, and word errors."""
    rows = []
    for name in results[0]:
        means = [np.mean(row[name][0]) for row in results]
        gains = [np.mean(row[name][0]) - np.mean(row[EMBEDDING][0]) for row in results]
        errors = [one for row in results for one in row[name][1]]
        cells = [name, format_interval(means)]
        cells.append(format_interval(gains, "+") if name in (PROMPT, BOTH) else "")
        wrong, words = (sum(getattr(one, key) for one in errors) for key in ("errors", "words"))
        rows.append([*cells, f"{wrong / words:.3f}" if words else ""])
    head = [f"{len(results)} voices", "d-vector similarity", "gain", "word errors"]
    print(format_markdown(head, rows), flush=True)


def format_interval(numbers: list[float], sign: str = "") -> str:
    """The mean of numbers, one a voice, and its interval."""
    values = Values.of(numbers)
    low, high = values.interval()
    return f"{values.mean():{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string(
        "workdir", bundled.DEFAULT, "Folder of a run, or the name of a bundled model."
    )
    flags.DEFINE_string("voices", "hibari", "Set of voices (corpus.voices).")
    flags.DEFINE_string("recognizer", asr.DEFAULT, "Of speech.")
    flags.DEFINE_integer("num_voices", 24, "Held-out voices.")
    flags.DEFINE_integer("clips", 4, "Sentences a voice.")
    flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
    flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
