"""Dubbing from subtitles: when words are said, in which voices, and how loud the mix is.

    python -m benchmarks.dubbing --videos=FOLDER --voice=Anna=a.wav --voice=Bob=b.wav

Joins the videos of a folder (such as MiniAV's) to one of `--seconds`, writes subtitles with a
sentence every few seconds, whose speakers take turns, and dubs the video by the command's own
steps. Every fifth cue is half as long as its text needs. In each cue's part of the generated speech
PocketSphinx then finds the known words; times are compared with those that the model was asked for.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.long_clips import SENTENCES, join_videos
from vssflow_jax import Generator, bundled, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.config import command_line
from vssflow_jax.corpus.sentences import list_test_sentences
from vssflow_jax.evaluation.metrics import asr, speaker, word_errors
from vssflow_jax.generation.cue_onsets import measure_delay
from vssflow_jax.generation.mixing import MixOptions, mix_output
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.preparation.examples import read_voice
from vssflow_jax.text import aligner
from vssflow_jax.text.word_times import TimedUtterance

EVERY = 4.5  # seconds between cues
SHORT = 5  # every which cue is too short for its text
CUE_SECONDS, SHORT_SECONDS = 4.0, 0.8
MARGIN = 0.3  # seconds around an utterance in which its words are looked for
NEAR = 0.08  # seconds that a cue may begin early or late
MAX_WORDS = 9  # of a sentence
AMBIENCE = 0.02  # amplitude of the noise that is the video's own sound
LOUDNESS = -23.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CueScores:
    """What was measured on one cue.

    Attributes:
      sound: seconds from the cue's start to where speech becomes audible in a mix.
      starts: seconds from where each word was asked for to where it starts; empty if the words are
        not found in the speech.
      own, other: similarity of the voice to its own reference, and to the most similar other one.
      text, transcript: what was asked for and heard.
    """

    sound: float
    starts: Sequence[float]
    own: float
    other: float
    text: str
    transcript: str


def list_voices() -> dict[str, str]:
    """Recordings by the names of the speakers."""
    return dict(item.split("=", 1) for item in flags.FLAGS.voice)


def write_subtitles(path: Path, names: Sequence[str], sentences: Sequence[str], seconds: float):
    """Writes cues whose speakers take turns."""
    cues = []
    for number, start in enumerate(np.arange(0.5, seconds - CUE_SECONDS, EVERY)):
        end = start + (SHORT_SECONDS if number % SHORT == SHORT - 1 else CUE_SECONDS)
        times = " --> ".join(f"00:00:{time:06.3f}".replace(".", ",") for time in (start, end))
        name, text = names[number % len(names)], sentences[number % len(sentences)]
        cues.append(f"{number + 1}\n{times}\n[{name}] {text}\n")
    path.write_text("\n".join(cues))


def add_ambience(path: Path, out: Path, seconds: float) -> None:
    """Copies a silent video with stereo noise at 48 kHz as its sound."""
    noise = np.random.default_rng(0).normal(0, AMBIENCE, (round(seconds * 48_000), 2))
    media.mux(path, np.clip(noise, -1, 1).astype(np.float32), 48_000, out)


def score_cue(
    wave: np.ndarray, line: TimedUtterance, start: float, voices: Mapping, recognizer
) -> CueScores:
    """Scores of one utterance in a wave at 16 kHz."""
    first = max(line.start - MARGIN, 0.0)
    part = wave[round(first * SAMPLE_RATE) : round((line.end + MARGIN) * SAMPLE_RATE)]
    embedding = speaker.embed_voice(part)
    similarities = {name: speaker.cosine(embedding, voices[name]) for name in voices}
    own = similarities.pop(line.speaker)
    return CueScores(
        sound=line.start + measure_delay(wave, line.start, line.end) - start,
        starts=find_word_starts(part, first, line),
        own=own,
        other=max(similarities.values()),
        text=line.text,
        transcript=recognizer.transcribe([part])[0] if recognizer else "",
    )


def find_word_starts(part: np.ndarray, first: float, line: TimedUtterance) -> list[float]:
    """Seconds from where each word was asked for to where it starts; [] if they are not found.

    Args:
      part: of the speech, at 16 kHz.
      first: its second in the clip.
      line: the utterance.
    """
    try:
        intervals = aligner.align_words(part, [word.text for word in line.words])
    except InputError:
        return []
    edges = np.cumsum([0, *(len(word.phonemes) for word in line.words)])[:-1]
    return [
        first + intervals[edge].start - word.start
        for edge, word in zip(edges, line.words, strict=True)
    ]


def print_scores(scores: Sequence[CueScores], recognizer) -> None:
    """Prints the table."""
    aligned = [score.starts for score in scores if score.starts]
    onsets = np.abs([starts[0] for starts in aligned])
    starts = np.abs(np.concatenate(aligned))
    sounds = np.abs([score.sound for score in scores]).round(3)  # of blocks of 10 ms
    own, other = (np.array([getattr(s, name) for s in scores]) for name in ("own", "other"))
    rows = {
        "cues": len(scores),
        "audible start against the cue, median, s": np.median(sounds),
        "audible start against the cue, largest, s": sounds.max(),
        f"cues audible within {NEAR:g} s": np.mean(sounds <= NEAR),
        "cues whose words the aligner finds": len(aligned),
        "first word against the cue, median, s": np.median(onsets),
        "first word against the cue, largest, s": onsets.max(),
        "words": len(starts),
        "start of a word, median error, s": np.median(starts),
        "start of a word, 90 % below, s": np.quantile(starts, 0.9),
        "similarity to the own reference, mean": own.mean(),
        "similarity to the nearest other one, mean": other.mean(),
        "cues nearest to their own reference": np.mean(own > other),
    }
    if recognizer:
        counts = [word_errors.count_word_errors(s.text, s.transcript) for s in scores]
        rows["word errors"] = sum(c.errors for c in counts) / sum(c.words for c in counts)
    for name, value in rows.items():
        print(f"{name:45} {value:.3g}")


def generate(folder: Path) -> tuple[Output, list[float]]:
    """The dubbed video's output, and the start of each utterance's cue."""
    options = flags.FLAGS
    sentences = SENTENCES
    if options.sentences == "test":
        sentences = [text for text in list_test_sentences() if len(text.split()) <= MAX_WORDS]
    voices = list_voices()
    join_videos(Path(options.videos), options.seconds, folder / "silent.mp4")
    add_ambience(folder / "silent.mp4", folder / "in.mp4", options.seconds)
    write_subtitles(folder / "talk.srt", list(voices), sentences, options.seconds)
    request = Request.parse(
        folder / "in.mp4", script=folder / "talk.srt", voices=voices, task="speech"
    )
    generator = Generator.from_workdir(options.workdir)
    sampling = SamplingOptions(steps=options.steps, guidance=options.guidance)
    (output,) = generator.generate_candidates(request, [options.seed], sampling)
    for warning in output.report["warnings"]:
        print(f"warning: {warning}")
    return output, [line.start for line in request.script]


def main() -> None:
    """Prints the table."""
    recognizer = asr.load(flags.FLAGS.recognizer) if flags.FLAGS.recognizer else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output, starts = generate(folder)
        output.save(folder / "speech.wav")
        voices = {
            name: read_voice(path, speaker.DVECTOR)[0] for name, path in list_voices().items()
        }
        wave = to_mono(output.wave, output.sample_rate, SAMPLE_RATE)
        lines = zip(output.utterances, starts, strict=True)
        scores = [score_cue(wave, line, start, voices, recognizer) for line, start in lines]
        print_scores(scores, recognizer)
        for mode in ("replace", "add", "duck"):
            mixed = mix_output(output, MixOptions(mode=mode, loudness=LOUDNESS))
            print(f"--mix={mode} --loudness={LOUDNESS:g}: {mixed.report['loudness']} LUFS")
            if flags.FLAGS.out:
                mixed.save(Path(flags.FLAGS.out) / f"{mode}.mp4", ["srt", "textgrid", "track"])


def define_flags() -> None:
    """The flags of the benchmark."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    command_line.define_path("videos", None, "Folder of mp4 files.", required=True)
    flags.DEFINE_multi_string("voice", [], "A speaker and a recording: Anna=anna.wav.")
    flags.DEFINE_enum("sentences", "grid", ("grid", "test"), "GRID's, or those of any words.")
    flags.DEFINE_float("seconds", 60.0, "Length of the video, at most 60.")
    flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
    flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")
    flags.DEFINE_integer("seed", 0, "Of the noise.")
    flags.DEFINE_string("recognizer", None, "Such as whisper:FOLDER; default: no word errors.")
    command_line.define_path("out", None, "Folder for the videos; default: none is kept.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
