"""Edits of sounds: seams at the borders, words in and outside a span, joins of loops.

    python -m benchmarks.editing --workdir=miniav --corpus=FOLDER [--clips=16]

For videos of events of MiniAV and sentences it generates a clip, then letter and digit of the
sentence anew with other ones in their place. It extends four seconds of a script of four sentences,
cut within one of them, to twelve. It loops videos whose frames are shifted round, so that an event
may be at the join, and compares the join with that of the clip without `--loop`. Changes are those
of `benchmarks.long_clips`: of the log-mel, mean over bands, in nepers a frame.
"""

from __future__ import annotations

import csv
import itertools
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.claims.tables import format_markdown
from benchmarks.long_clips import NEAR, SENTENCES
from vssflow_jax import Generator, bundled, media
from vssflow_jax.config import command_line
from vssflow_jax.evaluation.metrics import speech
from vssflow_jax.evaluation.metrics.common import FRAME_RATE, log_mels
from vssflow_jax.text.phonemes import pronounce

FIRST, LAST = 3, 4  # words of a sentence that are replaced: letter and digit
LETTERS = "abcdefghijklmnopqrstuvxyz"
DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EXTENDED = 12.0  # seconds
AWAY = 20  # log-mel frames around a border that are not elsewhere


def measure_change(wave: np.ndarray) -> np.ndarray:
    """The change of the log-mel between neighboring frames, 100 a second."""
    return np.abs(np.diff(log_mels([wave])[0], axis=0)).mean(1)


def find_largest(change: np.ndarray) -> np.ndarray:
    """The largest change within two frames of each."""
    return np.array([change[max(k - NEAR, 0) : k + NEAR + 1].max() for k in range(len(change))])


class Seams:
    """Changes at borders, at the same places of other waves, and elsewhere."""

    def __init__(self):
        self.borders, self.before, self.elsewhere = [], [], []

    def add(self, wave: np.ndarray, times, before: np.ndarray | None = None) -> None:
        """Adds borders of a wave; `before` is the wave that had none there."""
        largest = find_largest(measure_change(wave))
        frames = [min(round(time * FRAME_RATE), len(largest) - 1) for time in times]
        away = np.ones(len(largest), bool)
        for frame in frames:
            away[max(frame - AWAY, 0) : frame + AWAY] = False
        self.borders += largest[frames].tolist()
        self.elsewhere += largest[away].tolist()
        if before is not None:
            self.before += find_largest(measure_change(before))[frames].tolist()

    def row(self) -> list[str]:
        """Number, means and largest values."""
        borders, elsewhere = np.array(self.borders), np.array(self.elsewhere)
        numbers = [
            borders.mean(),
            np.mean(self.before) if self.before else np.nan,
            elsewhere.mean(),
        ]
        numbers += [borders.max(), elsewhere.max(), 100 * (elsewhere > borders.max()).mean()]
        return [str(len(borders)), *(f"{number:.2f}" for number in numbers)]


def find_word_span(sentence: str, alignment, first: int, last: int) -> tuple[float, float]:
    """Seconds from the start of a word to the end of another."""
    counts = [len(symbols) for symbols in pronounce(sentence.split())]
    edges = [0, *itertools.accumulate(counts)]
    return alignment[edges[first]][0], alignment[edges[last + 1] - 1][1]


def draw_other_words(words: list[str], number: int) -> list[str]:
    """Another letter and digit than those of a sentence."""
    rng = np.random.default_rng(number)
    letters, digits = ([item for item in items if item not in words] for items in (LETTERS, DIGITS))
    return [str(rng.choice(letters)), str(rng.choice(digits))]


def count_errors(reference: list[str], transcript: list[str], places) -> int:
    """Words at these places of a sentence that were not recognized."""
    return sum(transcript[k : k + 1] != [reference[k]] for k in places)


def measure_redo(generator: Generator, clips: list[tuple[Path, str]], folder: Path) -> None:
    """Prints seams and words of spans with other words."""
    seams, is_equal, errors = Seams(), True, {"before": 0, "in the span": 0, "outside": 0}
    for number, (video, sentence) in enumerate(clips):
        words = sentence.split()
        others = draw_other_words(words, number)
        first = generator(video, sentence)
        span = find_word_span(sentence, first.report["alignment"], FIRST, LAST)
        first.save(folder / "first.wav")
        kept = media.read_audio(folder / "first.wav")
        output = generator(
            video,
            sentence,
            keep=folder / "first.wav",
            redo=[span],
            redo_text=" ".join(others),
            seed=1,
        )
        seams.add(output.wave, span, kept)
        start, end = (round(second * output.sample_rate) for second in span)
        is_equal &= np.array_equal(output.wave[:start], kept[:start])
        is_equal &= np.array_equal(output.wave[end:], kept[end:])
        heard_first, heard = (text.split() for text in speech.transcribe([kept, output.wave]))
        new = [*words[:FIRST], *others, words[-1]]
        errors["before"] += count_errors(words, heard_first, (FIRST, LAST))
        errors["in the span"] += count_errors(new, heard, (FIRST, LAST))
        errors["outside"] += count_errors(new, heard, (0, 1, 2, 5))
    print_seams("redo", seams)
    print(f"outside the spans bit for bit: {is_equal}; clips: {len(clips)}; word errors: {errors}")


def measure_extension(generator: Generator, count: int, folder: Path) -> None:
    """Prints seams where clips of four seconds, cut within a sentence, are extended."""
    seams = Seams()
    for number in range(count):
        script = [
            {"text": SENTENCES[(number + k) % 3], "start": start}
            for k, start in enumerate((0.3, 3.0, 6.0, 9.0))
        ]
        first = generator(script=script, duration=EXTENDED, seed=number)
        kept = first.wave[: 4 * first.sample_rate]
        media.write_wav(folder / "kept.wav", kept, first.sample_rate)
        output = generator(
            script=script, duration=EXTENDED, keep=folder / "kept.wav", seed=100 + number
        )
        ((start, _),) = output.report["generated"]
        seams.add(output.wave, [start], first.wave)
    print_seams("extend", seams)


def measure_loops(generator: Generator, videos: list[Path], folder: Path) -> None:
    """Prints changes at the join of loops, and of what else the same pictures are in.

    That is the end and the start of a clip without `--loop`, and the middle of another one.
    """
    table = []
    for number, video in enumerate(videos):
        frames = media.read_video(video, 25.0).frames
        shift, half = int(np.random.default_rng(number).integers(len(frames))), len(frames) // 2
        rows = []
        for loop, extra in ((True, 0), (False, 0), (False, half)):
            media.write_video(folder / "in.mp4", np.roll(frames, shift + extra, axis=0), 25)
            wave = generator(folder / "in.mp4", loop=loop).wave
            change = measure_change(np.tile(wave, 2))
            period = len(change) // 2 + 1
            place = half * round(FRAME_RATE / 25) if extra else period
            rows += [change[place - 1], find_largest(change)[place - 1], np.median(change)]
        table.append(rows)
    means = np.array(table).T.reshape(3, 3, len(videos))
    head = [f"mean (median) of {len(videos)} clips", "change", "largest within 2 frames"]
    head.append("median of the clip")
    names = ("join of a loop", "end and start without --loop", "the same in the middle")
    table = [
        [name, *(f"{row.mean():.3f} ({np.median(row):.3f})" for row in rows)]
        for name, rows in zip(names, means, strict=True)
    ]
    print(format_markdown(head, table), flush=True)


def print_seams(name: str, seams: Seams) -> None:
    """A table of one row."""
    head = ["edit", "borders", "mean", "same places before", "mean elsewhere", "largest",
            "largest elsewhere", "% elsewhere above the largest"]  # fmt: skip
    print(format_markdown(head, [[name, *seams.row()]]), flush=True)


def main() -> None:
    """Prints all of it."""
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    corpus, parts, clips = Path(flags.FLAGS.corpus), flags.FLAGS.parts, flags.FLAGS.clips
    with (corpus / "clips.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    events = [corpus / row["video"] for row in rows if row["task"] == "sound"]
    sentences = [row["text"] for row in rows if row["task"] == "speech"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "redo" in parts:
            measure_redo(generator, list(zip(events, sentences, strict=False))[:clips], folder)
        if "extend" in parts:
            measure_extension(generator, clips, folder)
        if "loop" in parts:
            measure_loops(generator, events[:clips], folder)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string(
        "workdir", bundled.DEFAULT, "Folder of a run, or the name of a bundled model."
    )
    flags.DEFINE_string("corpus", None, "Folder of MiniAV.")
    flags.DEFINE_integer("clips", 16, "Of each kind.")
    flags.DEFINE_list("parts", ["redo", "extend", "loop"], "What is measured.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
