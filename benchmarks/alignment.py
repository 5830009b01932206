"""How well phonemes are timed where no alignment is given, against MiniAV's true times.

    python -m vssflow_jax.corpus --out=miniav --clips=400
    python benchmarks/alignment.py --corpus=miniav

For clips of the valid and the test split, by task: the error of every phoneme's start and end as
the aligner hears it, and as expected durations (means of the training split, in context), spread
over the sound.
"""

import itertools
import pathlib
import sys
import time

import numpy as np
from absl import app, flags

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import manifest as manifests
from vssflow_jax.features import speaker
from vssflow_jax.text import aligner, alignment, normalize
from vssflow_jax.text.durations import measure_durations

CORPUS = flags.DEFINE_string("corpus", None, "Folder of the corpus.", required=True)
CLIPS = flags.DEFINE_integer("clips", 60, "Clips a task.")


def edges(intervals) -> np.ndarray:
    """Starts and ends, seconds."""
    return np.array([interval[:2] for interval in intervals]).ravel()


def show(name: str, errors: list[np.ndarray]) -> None:
    """A row of the table, milliseconds."""
    size = np.abs(np.concatenate(errors)) * 1000
    print(f"{name:18s} {np.median(size):8.1f} {np.percentile(size, 95):8.1f} {len(size):8d}")


def main(_) -> None:
    """Prints the table."""
    rows = manifests.read_manifest(pathlib.Path(CORPUS.value) / "clips.csv")
    spoken = [row for row in rows if row.alignment]
    known = [alignment.read_alignment(r.alignment) for r in spoken if r.split == "train"]
    durations = measure_durations(known)
    print(f"{'milliseconds':18s} {'median':>8s} {'95 %':>8s} {'edges':>8s}")
    for task in ("speech", "joint"):
        heard, spread, failed, took = [], [], [], 0.0
        some = (row for row in spoken if row.split != "train" and row.task == task)
        for row in itertools.islice(some, CLIPS.value):
            wave, truth = media.read_audio(row.video), alignment.read_alignment(row.alignment)
            predicted = alignment.place_phonemes(
                [i.symbol for i in truth], *speaker.find_voiced_span(wave), durations
            )
            spread.append(edges(predicted) - edges(truth))
            start = time.perf_counter()
            try:
                found = aligner.align_words(wave, normalize.words(row.text))
            except InputError:
                failed.append(row.id)
                continue
            took += time.perf_counter() - start
            heard.append(edges(found) - edges(truth))
        show(f"{task}, heard", heard)
        show(f"{task}, predicted", spread)
        print(f"{task}: {len(failed)} of {len(spread)} not aligned {failed}; "
              f"{took / max(len(heard), 1) * 1000:.0f} ms a clip")  # fmt: skip
    sys.stdout.flush()


if __name__ == "__main__":
    app.run(main)
