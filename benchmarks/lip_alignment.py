"""Errors of phoneme times with and without the lips of drawn talkers: a Markdown table.

    python -m vssflow_jax.corpus --out=talkers --seed=71 --clips=150 --audio_clips=800 \
        --voices=hibari --sentences=open
    python -m benchmarks.lip_alignment --corpus=talkers

Errors of every phoneme's start and end in the videos of speech. The expected durations are means
of the clips without pictures, in context. They are placed as `sample` does it without a video, from
the true start on, between the true start and end, and by the lips. `--tracked` tracks the faces in
the videos too, in place of the corpus' tracks.
"""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import flags

from vssflow_jax import media
from vssflow_jax.config import command_line
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data.lip_track import LipTrack, read_lip_track
from vssflow_jax.features import face_tracking, lip_geometry
from vssflow_jax.features.lip_alignment import follow_lips
from vssflow_jax.text import alignment, normalize, phonemes
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.durations import measure_durations
from vssflow_jax.text.script import TimedScript, Utterance


def is_pronounced_as_written(row: manifests.ManifestRow, truth: Sequence[Interval]) -> bool:
    """Whether the voice says the phonemes that `sample` would ask for, but for stress."""
    words = phonemes.pronounce(normalize.words(row.text))
    asked = [symbol.rstrip("012") for word in words for symbol in word]
    return asked == [i.symbol.rstrip("012") for i in truth]


def track_video(row: manifests.ManifestRow) -> LipTrack | None:
    """The track that the face tracker gives."""
    mouth = face_tracking.track_mouth(media.read_video(row.video, rate=25).frames)
    return None if mouth is None else lip_geometry.measure_lips(mouth)


def place_phonemes(
    row: manifests.ManifestRow, truth: Sequence[Interval], durations: Mapping, seconds: float
) -> Iterator[tuple[str, Sequence[Interval]]]:
    """(how, times) of a clip's phonemes."""
    predicted, _ = alignment.align_text(row.text, None, None, seconds, durations)
    yield "no lips: expected durations", predicted
    started, _ = alignment.align_text(row.text, truth[0].start, None, seconds, durations)
    yield "no lips, true start", started
    symbols = [i.symbol for i in predicted]
    bounded = alignment.place_phonemes(symbols, truth[0].start, truth[-1].end, durations)
    yield "no lips, true start and end", bounded
    tracks = {"lips, the corpus' tracks": read_lip_track(row.lips)}
    if flags.FLAGS.tracked:
        tracks["lips, tracked in the video"] = track_video(row)
    timed = TimedScript(intervals=predicted, spans=[], warnings=[])
    for name, track in tracks.items():
        followed = follow_lips(timed, [Utterance(text=row.text)], track, durations)
        yield name, (followed or timed).intervals


def main() -> None:
    """Prints the table."""
    rows = manifests.read_manifest(pathlib.Path(flags.FLAGS.corpus) / "clips.csv")
    heard = [row for row in rows if row.video is None]
    durations = measure_durations(alignment.read_alignment(row.alignment) for row in heard)
    spoken = [row for row in rows if row.video and row.task == "speech"]
    errors: dict[str, list[np.ndarray]] = {}
    skipped, started = 0, time.perf_counter()
    for row in itertools.islice(spoken, flags.FLAGS.clips):
        truth = alignment.read_alignment(row.alignment)
        if not is_pronounced_as_written(row, truth):
            skipped += 1
            continue
        true_edges = np.array([i[:2] for i in truth])
        seconds = media.probe(row.video).duration
        for name, intervals in place_phonemes(row, truth, durations, seconds):
            edges = np.array([i[:2] for i in intervals])
            errors.setdefault(name, []).append(1000 * np.abs(edges - true_edges).ravel())
    print("| milliseconds | mean | median | 95 % |\n|---|---|---|---|")
    for name, clips in errors.items():
        size = np.concatenate(clips)
        mean, median, high = size.mean(), np.median(size), np.percentile(size, 95)
        print(f"| {name} | {mean:.1f} | {median:.1f} | {high:.0f} |")
    count = len(next(iter(errors.values())))
    print(
        f"{count} clips, {skipped} left out (the voice says other phonemes than the dictionary); "
        f"{time.perf_counter() - started:.0f} s"
    )


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("corpus", None, "Folder of the corpus.", required=True)
    flags.DEFINE_integer("clips", None, "Videos of speech; default: all.")
    flags.DEFINE_bool("tracked", False, "Track the faces in the videos as well.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
