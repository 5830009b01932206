"""Edits of sounds: seams at the borders, words in and outside a span, joins of loops.

    python -m benchmarks.editing --corpus=FOLDER --sentences=test --recognizer=whisper:FOLDER
    python -m benchmarks.editing --workdir=miniav --corpus=FOLDER [--clips=16]

It generates a sentence, then some of its words anew with other ones in their place: the middle of
English sentences, so that the new ones make sense as well, without a video; of GRID's sentences
letter and digit, for videos of events of MiniAV. `--speaker` is the voice of it all. It extends
four seconds of a script of three sentences, cut within one of them, to twelve. It loops videos
whose frames are shifted round, so that an event may be at the join, and compares the join with that
of the clip without `--loop`; `--draws` are numbers of seeds of which the loop that `sample --loop`
would keep is measured. Changes are those of `benchmarks.long_clips`: of the log-mel, mean
over bands, in nepers a frame.
"""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np
from absl import flags

from benchmarks.claims.tables import format_markdown
from benchmarks.long_clips import SENTENCES, find_largest
from vssflow_jax import Generator, bundled, media
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.config import command_line
from vssflow_jax.corpus.sentences import list_test_sentences
from vssflow_jax.evaluation.metrics import asr, word_errors
from vssflow_jax.evaluation.metrics.common import FRAME_RATE, Values
from vssflow_jax.evaluation.metrics.loops import (
    measure_change,
    measure_turn,
    rank_change,
)
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import LOOP_DRAWS, choose_loop

FIRST, LAST = 3, 4  # words of a GRID sentence that are replaced: letter and digit
LETTERS = "abcdefghijklmnopqrstuvxyz"
DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# The start of a sentence, words in its middle, others that take about as long, and its end.
REPLACEMENTS = (
    ("We watched the", "storm roll in from", "train pass by near", "the porch."),
    ("Please close the", "gate before the dog", "shop when the milk", "runs out."),
    ("My sister", "paints small birds on", "serves warm bread from", "old plates."),
    ("The bus stopped", "twice before we reached", "nearby and then left", "the station."),
    ("He forgot", "his umbrella at the", "about our lunch in my", "office again."),
    ("A thick", "fog covered the harbor", "blanket kept me warm", "until noon."),
    ("She poured", "the soup into six", "hot milk in both", "blue bowls."),
    ("The teacher", "smiled and handed back", "quickly looked through all", "our papers."),
    ("Nobody answered", "the phone after", "my call since", "midnight."),
    ("The lamp in", "the hallway needs a", "my bedroom has no", "new bulb."),
    ("Our neighbor", "grows tomatoes along the", "carefully painted his", "south wall."),
    ("I found", "a silver button under", "a yellow ribbon near", "the sofa."),
    ("The children", "raced each other down", "flew their kites over", "the hill."),
    ("It took three", "men to lift the", "weeks to get that", "stone table."),
    ("The coffee was", "too hot to drink", "made for him", "at once."),
    ("We missed", "the first half of", "your call during", "the concert."),
    ("Leave your", "boots by the door", "shirt on that chair", "to dry."),
    ("They argued quietly", "about the price of", "because we left", "the car."),
    ("I would rather", "walk than wait for", "sleep here than call", "a taxi."),
    ("The nurse checked", "his pulse and wrote", "the bag and set", "it down."),
    ("Fresh snow", "makes the whole street", "can make any voice", "sound different."),
    ("The actor forgot", "his lines in the", "my name after her", "final scene."),
    ("We planted", "an apple tree behind", "some red roses near", "the shed."),
    ("She speaks", "three languages and reads", "Spanish well and studies", "a fourth."),
)
EXTENDED = 12.0  # seconds
MAX_WORDS = 9  # of a sentence
AWAY = 20  # log-mel frames around a border that are not elsewhere


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replacement:
    """Words of a sentence that are said anew as other ones.

    Attributes:
      video: of the clip, or None.
      sentence: before.
      first, last: words that are replaced, counted from 0.
      others: what is said in their place.
    """

    video: Path | None
    sentence: str
    first: int
    last: int
    others: str

    @property
    def text(self) -> str:
        """The new sentence."""
        words = self.sentence.split()
        return " ".join([*words[: self.first], self.others, *words[self.last + 1 :]])

    @property
    def parts(self) -> list[list[str]]:
        """The new sentence's words before, in and behind the span, normalized."""
        words = self.sentence.split()
        texts = " ".join(words[: self.first]), self.others, " ".join(words[self.last + 1 :])
        return [word_errors.normalize_words(text) for text in texts]


def draw_grid_replacement(video: Path, sentence: str, number: int) -> Replacement:
    """Another letter and digit than those of a GRID sentence."""
    rng = np.random.default_rng(number)
    words = sentence.split()
    others = [
        str(rng.choice([item for item in items if item not in words]))
        for items in (LETTERS, DIGITS)
    ]
    return Replacement(
        video=video, sentence=sentence, first=FIRST, last=LAST, others=" ".join(others)
    )


def make_replacement(before: str, old: str, new: str, behind: str) -> Replacement:
    """Of the words between two parts of a sentence."""
    first = len(before.split())
    return Replacement(
        video=None,
        sentence=f"{before} {old} {behind}",
        first=first,
        last=first + len(old.split()) - 1,
        others=new,
    )


def count_errors(parts: Sequence[Sequence[str]], transcript: str) -> np.ndarray:
    """Word errors within a span and outside it, int [2].

    Words are aligned; one that is inserted counts where the word behind it is.

    Args:
      parts: words before, in and behind the span.
      transcript: of the whole sentence.
    """
    words = [word for part in parts for word in part]
    first, end = len(parts[0]), len(parts[0]) + len(parts[1])
    recognized = " ".join(word_errors.normalize_words(transcript))
    (chunks,) = jiwer.process_words(" ".join(words), recognized).alignments
    errors = np.zeros(2, int)
    for chunk in chunks:
        if chunk.type == "insert":
            count = chunk.hyp_end_idx - chunk.hyp_start_idx
            errors[int(not first <= chunk.ref_start_idx < end)] += count
        elif chunk.type != "equal":
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx):
                errors[int(not first <= place < end)] += 1
    return errors


def measure_redo(
    generator: Generator, items: Sequence[Replacement], voice: dict, recognizer, folder: Path
) -> None:
    """Prints seams and words of spans with other words, and words of the new text at once.

    Args:
      generator: of the sentences.
      items: what is replaced.
      voice: the generator's arguments that say whose voice it is.
      recognizer: of the words.
      folder: for files.
    """
    seams, is_equal = Seams(), True
    errors = {name: np.zeros(2, int) for name in ("before", "span made anew", "new text at once")}
    words = np.zeros(2, int)
    for item in items:
        first = generator(item.video, item.sentence, **voice)
        timed = first.utterances[0].words
        span = timed[item.first].start, timed[item.last].end
        first.save(folder / "first.wav")
        kept = media.read_audio(folder / "first.wav")
        output = generator(
            item.video,
            item.sentence,
            keep=folder / "first.wav",
            redo=[span],
            redo_text=item.others,
            seed=1,
            **voice,
        )
        seams.add(output.wave, span, kept)
        start, end = (round(second * output.sample_rate) for second in span)
        is_equal &= np.array_equal(output.wave[:start], kept[:start])
        is_equal &= np.array_equal(output.wave[end:], kept[end:])
        resaid = generator(item.video, item.text, seed=1, **voice)
        waves = [
            to_mono(wave, output.sample_rate, SAMPLE_RATE)
            for wave in (kept, output.wave, resaid.wave)
        ]
        before, *after = recognizer.transcribe(waves)
        old = word_errors.normalize_words(
            " ".join(item.sentence.split()[item.first : item.last + 1])
        )
        errors["before"] += count_errors([item.parts[0], old, item.parts[2]], before)
        for name, transcript in zip(("span made anew", "new text at once"), after, strict=True):
            errors[name] += count_errors(item.parts, transcript)
        words += len(item.parts[1]), len(item.parts[0]) + len(item.parts[2])
    print_seams("redo", seams)
    print(f"outside the spans bit for bit: {is_equal}; sentences: {len(items)}")
    rows = [[name, *map(str, counts)] for name, counts in errors.items()]
    rows.append(["words", *map(str, words)])
    print(format_markdown(["word errors", "in the span", "outside"], rows), flush=True)


def measure_extension(
    generator: Generator, sentences: Sequence[str], count: int, folder: Path
) -> None:
    """Prints seams where clips of four seconds, cut within a sentence, are extended."""
    seams = Seams()
    for number in range(count):
        script = [
            {"text": sentences[(number + k) % len(sentences)], "start": start}
            for k, start in enumerate((0.3, 3.5, 7.5))
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


def measure_loops(
    generator: Generator,
    videos: list[Path],
    draws: Sequence[int],
    folder: Path,
    *,
    is_shifted: bool,
) -> None:
    """Prints changes at the join of loops, and of what else the same pictures are in.

    That is the end and the start of a clip without `--loop`, and the middle of another one. The
    rank of a change is the share of the clip's changes that are smaller: 0.5 is the median.

    Args:
      generator: of the sounds.
      videos: with events.
      draws: of how many seeds, the first ones, a loop is the best.
      folder: for files.
      is_shifted: whether the pictures are shifted round.
    """
    table = []
    for number, video in enumerate(videos):
        frames = media.read_video(video, 25.0).frames
        shift = int(np.random.default_rng(number).integers(len(frames))) if is_shifted else 0
        half = len(frames) // 2
        outputs = []
        for loop, extra, count in ((True, 0, max(draws)), (False, 0, 1), (False, half, 1)):
            media.write_video(folder / "in.mp4", np.roll(frames, shift + extra, axis=0), 25)
            request = Request.parse(folder / "in.mp4", loop=loop)
            outputs.append(generator.generate_candidates(request, range(count)))
        loops, (ends,), (middle,) = outputs
        waves = [choose_loop(loops[:count]).wave for count in draws]
        cases = [(wave, None) for wave in (*waves, ends.wave)]
        cases.append((middle.wave, round(half / 25 * FRAME_RATE)))
        table.append([measure_join(*case) for case in cases])
    columns = np.array(table).transpose(1, 2, 0)  # [kinds, numbers, clips]
    head = [f"mean (median) of {len(videos)} clips", "change", "largest within 2 frames"]
    head += ["median of the clip", "rank: mean and interval", "at most the median"]
    names = [f"join of a loop, the best of {count}" for count in draws]
    names += ["end and start without --loop", "the same in the middle"]
    rows = []
    for name, (*numbers, ranks) in zip(names, columns, strict=True):
        low, high = Values.of(ranks.tolist()).interval()
        cells = [f"{values.mean():.3f} ({np.median(values):.3f})" for values in numbers]
        cells += [f"{ranks.mean():.2f} ({low:.2f} to {high:.2f})", f"{(ranks <= 0.5).mean():.0%}"]
        rows.append([name, *cells])
    print(format_markdown(head, rows), flush=True)


def measure_join(wave: np.ndarray, frame: int | None) -> list[float]:
    """The change at a log-mel frame (None: the end), the largest near, the median, and the rank."""
    changes, join = measure_turn(wave)
    place, others = join if frame is None else frame - 1, changes[:join]
    largest = find_largest(changes)[place]
    return [changes[place], largest, np.median(others), rank_change(changes[place], others)]


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
    scripts = SENTENCES
    if flags.FLAGS.sentences == "test":
        scripts = [text for text in list_test_sentences() if len(text.split()) <= MAX_WORDS]
        items = [make_replacement(*parts) for parts in REPLACEMENTS[:clips]]
    else:
        spoken = [row["text"] for row in rows if row["task"] == "speech"][:clips]
        pairs = zip(events, spoken, strict=False)
        items = [draw_grid_replacement(*pair, number) for number, pair in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "redo" in parts:
            voice, recognizer = {"speaker": flags.FLAGS.speaker}, asr.load(flags.FLAGS.recognizer)
            measure_redo(generator, items, voice, recognizer, folder)
        if "extend" in parts:
            measure_extension(generator, scripts, clips, folder)
        if "loop" in parts:
            draws = [int(count) for count in flags.FLAGS.draws]
            measure_loops(generator, events[:clips], draws, folder, is_shifted=flags.FLAGS.shift)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string(
        "workdir", bundled.DEFAULT, "Folder of a run, or the name of a bundled model."
    )
    flags.DEFINE_string("corpus", None, "Folder of MiniAV.")
    flags.DEFINE_integer("clips", 16, "Of each kind.")
    command_line.define_path("speaker", None, "Voice of sentences whose words are said anew.")
    flags.DEFINE_enum("sentences", "grid", ("grid", "test"), "GRID's, or those of any words.")
    flags.DEFINE_string("recognizer", asr.DEFAULT, "Of the words that are said anew.")
    flags.DEFINE_list("draws", [1, LOOP_DRAWS], "Of how many seeds loops are the best.")
    flags.DEFINE_bool("shift", True, "Shift the pictures of loops round.")
    flags.DEFINE_list("parts", ["redo", "extend", "loop"], "What is measured.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
