"""Scores of a run on sentences: from text alone, in reference voices, at predicted times."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vssflow_jax import conditions
from vssflow_jax.codecs.interface import audio_format
from vssflow_jax.common.errors import InputError, shorten
from vssflow_jax.common.files import check_writable, write_text
from vssflow_jax.common.waves import from_mono, to_mono
from vssflow_jax.corpus import sentences as sentence_sets
from vssflow_jax.corpus import voices as voice_sets
from vssflow_jax.evaluation import protocol
from vssflow_jax.evaluation.evaluator import TaskScores, reconstruct_waves
from vssflow_jax.evaluation.metrics import asr, mos, speaker
from vssflow_jax.evaluation.metrics.suite import COLUMNS, ExampleScores, score_speech
from vssflow_jax.features.registry import encode_example
from vssflow_jax.generation import scoring
from vssflow_jax.generation.conditioning import read_voice
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.request import parse_path
from vssflow_jax.text import normalize
from vssflow_jax.text.alignment import SPEECH_START
from vssflow_jax.text.durations import DurationModel
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.script import Utterance, align_script

TASK = "text"  # of the scores: speech without video
FOLDER = Path("eval") / "sentences"  # of the scores in a run's folder
TEST = "test"  # name of the sentences that come with the package
NO_VOICE = "no-reference"
FRAME_SAMPLES = conditions.SAMPLE_RATE // conditions.LATENT_RATE


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceOptions:
    """Which sentences a run speaks, in which voices, and how they are scored.

    Attributes:
      workdir: the run's folder, or the name of a bundled model.
      sentences: "test", those of the package, or a text file with one a line.
      speakers: files with reference voices, or names of voices of the set; (): the first voice of
        the set, or no reference voice without a set.
      voices: a set of voices that `corpus.voices.load_voices` knows. A reference named NAME or
        file NAME.wav or NAME_0.wav of one of them gets ceiling and floor by that voice; None: none.
      out: folder for the scores; None: `eval/sentences` in the run's folder.
      clips: sentences a voice, the first ones; None: all.
      seed: of the noise, as for `scoring.EvaluationOptions`, which also describes the rest.
    """

    workdir: str | Path
    sentences: str = TEST
    speakers: Sequence[str | Path] = ()
    voices: str | None = None
    out: str | Path | None = None
    clips: int | None = None
    seed: int = 0
    solver: str | None = None
    steps: int | None = None
    grid: str | None = None
    guidance: float | None = None
    scales: Mapping[str, float] | None = None
    speech_level: float | None = None
    precision: str | None = None
    recognizer: str = asr.DEFAULT
    mos: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceVoice:
    """A voice that the model is to speak in.

    Attributes:
      name: in scores and file names.
      condition: the model's embedding of it; None: no reference voice.
      dvector: its d-vector; None without a reference voice.
      speaker: the voice of the set that it is, which speaks the ceilings; None: none of them.
    """

    name: str
    condition: np.ndarray | None = None
    dvector: np.ndarray | None = None
    speaker: voice_sets.Voice | None = None


# ---- sentences and voices -----------------------------------------------------------------


def read_sentences(name: str) -> tuple[str, ...]:
    """The sentences of a flag: those of the package, or the lines of a file.

    A note says what of the lines is not spoken.

    Raises:
      InputError: a file that cannot be read, is empty, or has lines without words.
    """
    if name == TEST:
        return sentence_sets.list_test_sentences()
    lines = tuple(sentence_sets.read_lines(name, [TEST]))
    if not lines:
        raise InputError(f"--sentences={name}: found no lines, expected a sentence a line")
    for number, line in enumerate(lines, 1):
        for warning in normalize.read(line).warnings:
            print(f"note: --sentences={name}: sentence {number}: {warning}", file=sys.stderr)
    return lines


def read_references(
    options: SentenceOptions, voice_set: voice_sets.VoiceSet | None, encoder_set: str
) -> list[ReferenceVoice]:
    """The reference voices of the options.

    Args:
      options: of the evaluation.
      voice_set: its set of voices.
      encoder_set: the model's encoders (features.registry).

    Raises:
      InputError: a file that is no voice, or two voices of one name.
    """
    by_name = {voice.name: voice for voice in voice_set.voices} if voice_set else {}
    speakers = list(options.speakers) or list(by_name)[:1]
    references = []
    for item in speakers:
        if str(item) in by_name:
            references.append(_record_reference(voice_set, by_name[str(item)], encoder_set))
            continue
        path = parse_path("speaker", item)
        name = path.stem
        references.append(ReferenceVoice(
            name=name,
            condition=read_voice(path, encoder_set)[0],
            dvector=read_voice(path, speaker.DVECTOR)[0],
            speaker=by_name.get(name, by_name.get(name.rpartition("_")[0])),
        ))  # fmt: skip
    names = [voice.name for voice in references]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--speaker: found two voices {name!r}, expected different names")
    return references or [ReferenceVoice(name=NO_VOICE)]


def _record_reference(
    voice_set: voice_sets.VoiceSet, voice: voice_sets.Voice, encoder_set: str
) -> ReferenceVoice:
    """A voice of the set, with the recording that the corpus has of it."""
    wave = np.float32(voice_sets.record_reference(voice_set, voice, 0))
    return ReferenceVoice(
        name=voice.name,
        condition=encode_example(speaker_wave=wave, encoder_set=encoder_set).get("speaker"),
        dvector=speaker.embed_voice(wave),
        speaker=voice,
    )


def make_record(name: str, text: str, voice: ReferenceVoice, durations: DurationModel) -> dict:
    """The conditions of a sentence as a shard's record has them, times predicted.

    The noise of its generation depends on text and seed alone, so that voices share it.

    Raises:
      InputError: a text that cannot be read.
    """
    script, voices = [Utterance(text=text)], [voice.condition]
    timed = align_script(script, None, durations, voices)
    duration = timed.intervals[-1].end + SPEECH_START
    meta = {
        "id": name,
        "task": "speech",
        "text": text,
        "source": text,
        "duration": duration,
        "alignment": [list(interval) for interval in timed.intervals],
    }
    num_frames = conditions.num_latent_frames(duration)
    record = {"meta": meta, "phonemes": phonemes_to_frames(timed.intervals, num_frames)}
    return record if voice.condition is None else record | {"speaker": voice.condition}


# ---- scores -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceEvaluation:
    """Speaks and scores sentences.

    Attributes:
      options: of the evaluation.
      generator: of the run.
      voice_set: speaks the ceilings; None: there are none.
      recognizer: of speech.
      mos_predictors: of mean opinion scores.
      out: folder for waves.
    """

    options: SentenceOptions
    generator: Generator
    voice_set: voice_sets.VoiceSet | None
    recognizer: asr.Recognizer
    mos_predictors: Sequence[mos.MosPredictor]
    out: Path

    def score_voice(
        self, voice: ReferenceVoice, sentences: Sequence[str]
    ) -> tuple[TaskScores, list[dict]]:
        """The scores of sentences in a voice, and the sentences left out with reasons."""
        records, skipped = [], []
        for number, text in enumerate(sentences):
            name = f"{voice.name}-{number:04d}"
            try:
                records.append(make_record(name, text, voice, self.generator.durations))
            except InputError as error:
                skipped.append({"id": name, "reason": str(error)})
        sampling = scoring.RunSystem(self.generator, self.options)
        waves, rate = sampling.waves(records, "speech").waves, self.generator.codec.sample_rate
        scoring.save_waves(self.out / "generated" / TASK, records, waves, rate)
        texts = [record["meta"]["text"] for record in records]
        scores = self._score(voice, texts, waves, self._compare_other_voices(voice, texts))
        floors = ceilings = [ExampleScores(row=dict.fromkeys(COLUMNS)) for _ in texts]
        if voice.speaker is not None:
            codec = audio_format(self.generator.codec)
            truths = [
                from_mono(self._record(voice.speaker, text), conditions.SAMPLE_RATE, *codec)
                for text in texts
            ]
            reconstructions = reconstruct_waves(self.generator.codec, truths)
            scoring.save_waves(self.out / "truth", records, truths, rate)
            scoring.save_waves(self.out / "floor", records, reconstructions, rate)
            ceilings = self._score(voice, texts, truths)
            floors = self._score(voice, texts, reconstructions)
        result = TaskScores(examples=records, scores=scores, floors=floors, ceilings=ceilings)
        return result, skipped

    def _score(
        self,
        voice: ReferenceVoice,
        texts: Sequence[str],
        waves: Sequence[np.ndarray],
        other_voices: Sequence[float | None] = (),
    ) -> list[ExampleScores]:
        """Scores of waves that say texts, in the codec's format.

        `other_voices` are the cosines of another voice.
        """
        rate = self.generator.codec.sample_rate
        waves = [to_mono(wave, rate, conditions.SAMPLE_RATE) for wave in waves]
        rows = score_speech(texts, waves, self.recognizer, self.mos_predictors)
        for row, embedding in zip(rows, speaker.embed_voices(waves), strict=True):
            row["dvector_similarity"] = speaker.cosine(embedding, voice.dvector)
        for row, similarity in zip(rows, other_voices, strict=False):
            row["dvector_other_voice"] = similarity
        return [ExampleScores(row=dict.fromkeys(COLUMNS) | row) for row in rows]

    def _compare_other_voices(
        self, voice: ReferenceVoice, texts: Sequence[str]
    ) -> list[float | None]:
        """Cosines between a voice's reference and other voices of the set, each in turn."""
        if voice.speaker is None:
            return []
        others = [other for other in self.voice_set.voices if other.name != voice.speaker.name]
        waves = [
            self._record(others[number % len(others)], text)
            for number, text in enumerate(texts if others else ())
        ]
        return [speaker.cosine(vector, voice.dvector) for vector in speaker.embed_voices(waves)]

    def _record(self, voice: voice_sets.Voice, text: str) -> np.ndarray:
        """A sentence in a voice of the set: float32 [n], latent frames in number."""
        wave = voice_sets.record_words(self.voice_set, voice, normalize.words(text))
        return np.pad(np.float32(wave), (0, -len(wave) % FRAME_SAMPLES))


def find_scores_folder(options: SentenceOptions) -> Path:
    """Where the scores go.

    Raises:
      InputError: the run is a bundled model, whose folder is not written to.
    """
    if options.out:
        return Path(options.out)
    run_folder = scoring.scores_folder(scoring.EvaluationOptions(workdir=options.workdir)).parent
    return run_folder / FOLDER


def evaluate_sentences(options: SentenceOptions) -> dict:
    """Scores a run on sentences; returns what it writes to metrics.json.

    The scores are those of the task `text`, of all voices together and of each.

    Raises:
      InputError: a run, sentences or voices that cannot be used, or something not installed.
    """
    started = time.perf_counter()
    out = find_scores_folder(options)
    check_writable(out / "metrics.json")
    sentences = read_sentences(options.sentences)[: options.clips]
    voice_set = voice_sets.load_voices(options.voices) if options.voices else None
    generator = Generator.from_workdir(options.workdir, precision=options.precision)
    references = read_references(options, voice_set, generator.encoder_set)
    evaluation = SentenceEvaluation(
        options=options,
        generator=generator,
        voice_set=voice_set,
        recognizer=asr.load(options.recognizer),
        mos_predictors=mos.load(options.mos),
        out=out,
    )
    rejected = [text for text in sentences if evaluation.recognizer.rejects(text)]
    if rejected:
        reason = evaluation.recognizer.rejects(rejected[0])
        print(
            f"note: --recognizer={options.recognizer}: no word errors of {len(rejected)} of "
            f"{len(sentences)} sentences, such as {shorten(repr(rejected[0]))}: {reason}",
            file=sys.stderr,
        )
    scores, skipped = {}, {}
    for voice in tqdm(references, desc="evaluate", unit="voice"):
        scores[voice.name], skipped[voice.name] = evaluation.score_voice(voice, sentences)
    total = _join_scores(list(scores.values()))
    metrics: dict = {TASK: total.summary([one for some in skipped.values() for one in some])}
    metrics["voices"] = {name: some.summary(skipped[name]) for name, some in scores.items()}
    procedure = _describe(evaluation, sentences, references)
    metrics["run"] = {key: value for key, value in procedure.items() if key != "metrics"}
    metrics["run"]["seconds"] = round(time.perf_counter() - started, 1)
    write_text(out / "examples.csv", scoring.examples_csv({TASK: total}))
    write_text(out / "protocol.json", json.dumps(procedure, indent=1))
    write_text(out / "metrics.json", json.dumps(metrics, indent=1))
    by_voice = metrics["voices"]
    print(scoring.score_table({TASK: metrics[TASK], **by_voice} if len(by_voice) > 1 else by_voice))
    return metrics


def _join_scores(parts: Sequence[TaskScores]) -> TaskScores:
    names = ("examples", "scores", "floors", "ceilings")
    return TaskScores(
        **{name: [x for part in parts for x in getattr(part, name)] for name in names}
    )


def _describe(
    evaluation: SentenceEvaluation, sentences: Sequence[str], references: Sequence[ReferenceVoice]
) -> Mapping:
    """The contents of protocol.json."""
    options = evaluation.options
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:16]
    ceiling = {voice.name: voice.speaker.name for voice in references if voice.speaker is not None}
    return {
        "sentences": {"name": options.sentences, "number": len(sentences), "hash": digest},
        "speakers": [voice.name for voice in references],
        "times": "predicted",
        "voices": options.voices,
        **scoring.RunSystem(evaluation.generator, options).describe(),
        **protocol.describe_procedure(evaluation.recognizer, evaluation.mos_predictors),
        "floor": "the same score of the ceiling's sound through the codec",
        "ceiling": "the same score of the voice of the set that speaks the sentences",
        "ceiling_voices": ceiling,
        "date": datetime.date.today().isoformat(),
    }
