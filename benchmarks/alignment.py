"""Errors of phoneme times without an alignment file, against MiniAV's true times.

    python -m vssflow_jax.corpus --out=miniav --clips=400
    python -m benchmarks.alignment --corpus=miniav

For clips of the valid and the test split, by task: the error of every phoneme's start and end by
the aligner, and by durations (means of the training split, in context) scaled to the sound.
"""

import itertools
import pathlib
import time

import numpy as np
from absl import flags

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.data import manifest as manifests
from vssflow_jax.features import speaker
from vssflow_jax.text import aligner, alignment, normalize
from vssflow_jax.text.durations import measure_durations


def edges(intervals) -> np.ndarray:
    """Starts and ends, seconds."""
    return np.array([interval[:2] for interval in intervals]).ravel()


def print_row(name: str, errors: list[np.ndarray]) -> None:
    """Prints a row of the table, in milliseconds."""
    size = np.abs(np.concatenate(errors)) * 1000
    print(f"{name:18s} {np.median(size):8.1f} {np.percentile(size, 95):8.1f} {len(size):8d}")


def main() -> None:
    """Prints the table."""
    rows = manifests.read_manifest(pathlib.Path(flags.FLAGS.corpus) / "clips.csv")
    spoken = [row for row in rows if row.alignment]
    training = [alignment.read_alignment(r.alignment) for r in spoken if r.split == "train"]
    durations = measure_durations(training)
    print(f"{'milliseconds':18s} {'median':>8s} {'95 %':>8s} {'edges':>8s}")
    for task in ("speech", "joint"):
        aligned_errors, predicted_errors, failed, seconds = [], [], [], 0.0
        selected = (row for row in spoken if row.split != "train" and row.task == task)
        for row in itertools.islice(selected, flags.FLAGS.clips):
            wave, truth = media.read_audio(row.video), alignment.read_alignment(row.alignment)
            predicted = alignment.place_phonemes(
                [i.symbol for i in truth], *speaker.find_voiced_span(wave), durations
            )
            predicted_errors.append(edges(predicted) - edges(truth))
            start = time.perf_counter()
            try:
                aligned = aligner.align_words(wave, normalize.words(row.text))
            except InputError:
                failed.append(row.id)
                continue
            seconds += time.perf_counter() - start
            aligned_errors.append(edges(aligned) - edges(truth))
        print_row(f"{task}, aligned", aligned_errors)
        print_row(f"{task}, predicted", predicted_errors)
        print(f"{task}: {len(failed)} of {len(predicted_errors)} not aligned {failed}; "
              f"{seconds / max(len(aligned_errors), 1) * 1000:.0f} ms a clip")  # fmt: skip


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("corpus", None, "Folder of the corpus.", required=True)
    flags.DEFINE_integer("clips", 60, "Clips a task.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
