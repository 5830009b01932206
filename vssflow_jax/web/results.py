"""Results of the page: the files of candidates, and how the page shows one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.evaluation.metrics.common import log_mels
from vssflow_jax.generation.conditioning import KEPT_VOICE
from vssflow_jax.generation.mixing import MixOptions, mix_output
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.provenance import describe_origin
from vssflow_jax.generation.stems import STEMS
from vssflow_jax.reports import html, plots
from vssflow_jax.text.word_times import TimedUtterance
from vssflow_jax.web.form import BOTH
from vssflow_jax.web.limits import format_error

PLAYABLE = ".mp4"
PLAYABLE_CODECS = frozenset({"h264", "av1", "vp9"})  # that all common browsers show in an mp4
TIMES = ("srt", "json")  # of words, beside the best candidate
SCORES = {
    "wer": "word errors",
    "speaker_similarity": "voice similarity",
    "lip_agreement": "agreement with the lips",
    "loop_join": "change at the join",
}
NUM_PEAKS = 400  # of a waveform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """The files of one output, and what the page tells about it.

    Attributes:
      video: the video with the sound, or None.
      sounds: wav files by task.
      kept: the generated sound alone, for edits: that of `sounds`, unless that is a mix.
      report: of the output.
      utterances: what is said when.
    """

    video: Path | None
    sounds: Mapping[str, Path]
    kept: Path
    report: Mapping
    utterances: Sequence[TimedUtterance] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """A candidate as the page shows it.

    Attributes:
      video: which browsers can play, or None.
      sounds: wav files by task.
      timeline: words and waveform, HTML.
      spectrograms: HTML.
    """

    video: Path | None
    sounds: Mapping[str, Path]
    timeline: str = ""
    spectrograms: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What the page shows of a request.

    Attributes:
      candidates: best first.
      view: of the best.
      files: everything that can be downloaded.
      summary: conditions used and not used.
      notes: what is left out, changed or doubtful, a sentence each.
    """

    candidates: Sequence[Candidate]
    view: View
    files: Sequence[Path]
    summary: str
    notes: Sequence[str] = ()


# ---- files --------------------------------------------------------------------------------


def save_result(
    outputs: Sequence[Output],
    mix: MixOptions,
    folder: Path,
    uploads: Path,
    suffix: str,
    notes: Sequence[str] = (),
) -> Result:
    """Files of outputs, the view of the best, and the summary.

    Args:
      outputs: best first.
      mix: how their sounds become those of the video.
      folder: for the files.
      uploads: the folder of the request's files, which notes call by their roles.
      suffix: of a video, one of FORMATS.
      notes: about the request.
    """
    candidates, files, warnings = [], [], [*notes]
    for number, output in enumerate(outputs, 1):
        path = folder / ("result" if number == 1 else f"candidate{number}")
        path = path.with_suffix(f".{suffix}" if output.video else ".wav")
        candidate, saved, lines = save_candidate(output, mix, path, TIMES if number == 1 else ())
        candidates.append(candidate)
        files += saved
        warnings += lines
    return Result(
        candidates=candidates,
        view=render_view(candidates[0]),
        files=files,
        summary=summarize(outputs[0]),
        notes=to_sentences(warnings, uploads, folder),
    )


def save_candidate(
    output: Output, mix: MixOptions, path: Path, times: Sequence[str]
) -> tuple[Candidate, list[Path], list[str]]:
    """Writes the files of an output; the candidate, its files, and warnings.

    Args:
      output: of the generator.
      mix: how its sound becomes that of the video.
      path: of the video, or of the sound.
      times: formats of the words' times.
    """
    mixed, kept = mix_output(output, mix), path.with_suffix(".wav")
    files = mixed.save(path, times)
    if mixed is not output:
        kept = path.with_suffix(".generated.wav")
        media.write_wav(kept, output.wave, output.sample_rate, describe_origin(output.report))
        files.append(kept)
    sounds = {BOTH: path.with_suffix(".wav")}
    sounds |= {
        stem: path.with_suffix(f".{stem}.wav") for stem in output.stems if len(output.stems) > 1
    }
    candidate = Candidate(
        video=path if output.video else None,
        sounds=sounds,
        kept=kept,
        report=mixed.report,
        utterances=output.utterances,
    )
    return candidate, files, mixed.report["warnings"]


def to_sentences(notes: Sequence[str], *folders: Path) -> list[str]:
    """Notes as the page shows them: each once, files in the folders by their roles."""
    sentences = (format_error(InputError(note), folders) for note in notes)
    return [sentence.removesuffix(".") + "." for sentence in dict.fromkeys(sentences)]


def make_playable(candidate: Candidate) -> Path | None:
    """The candidate's video if browsers play it, else a copy for them; None without a video."""
    path = candidate.video
    if path is None:
        return None
    if path.suffix == PLAYABLE and media.plan_mux(path, path, codecs=PLAYABLE_CODECS).copies:
        return path
    player = path.with_name(f"{path.stem}.player{PLAYABLE}")
    if not player.exists():
        wave, rate = _read_wave(candidate.sounds[BOTH])
        metadata = media.Metadata(comment=describe_origin(candidate.report))
        media.mux(path, wave, rate, player, PLAYABLE_CODECS, metadata)
    return player


def _read_wave(path: Path) -> tuple[np.ndarray, int]:
    """The samples of a wav file, [n] or [n, A], and their rate."""
    sound = media.read_sound(path, None, channels=None)
    return sound.wave, sound.sample_rate


# ---- views --------------------------------------------------------------------------------


def render_view(candidate: Candidate) -> View:
    """A candidate as the page shows it.

    Raises:
      InputError: its files were deleted meanwhile.
    """
    for path in (candidate.video, *candidate.sounds.values()):
        if path is not None and not path.is_file():
            raise InputError("The result is no longer there; please generate it again.")
    waves = {name: to_mono(*_read_wave(p), SAMPLE_RATE) for name, p in candidate.sounds.items()}
    return View(
        video=make_playable(candidate),
        sounds=candidate.sounds,
        timeline=render_timeline(waves[BOTH], candidate.utterances),
        spectrograms=render_spectrograms(waves, candidate.report),
    )


def render_timeline(wave: np.ndarray, utterances: Sequence[TimedUtterance]) -> str:
    """The words of a sound, each a button with its times, over its waveform, on which spans show.

    Args:
      wave: at SAMPLE_RATE.
      utterances: what is said.
    """
    parts = np.array_split(np.abs(wave), min(NUM_PEAKS, max(len(wave), 1)))
    peaks = np.array([part.max(initial=0.0) for part in parts])
    heights = 48 * peaks / max(peaks.max(), 1e-4)
    top = " ".join(f"L{x} {50 - height:.1f}" for x, height in enumerate(heights))
    bottom = " ".join(f"L{x} {50 + heights[x]:.1f}" for x in reversed(range(len(heights))))
    return html.render(
        "timeline.html",
        seconds=len(wave) / SAMPLE_RATE,
        utterances=utterances,
        width=len(heights),
        path=f"M0 50 {top} {bottom} Z",
    )


def render_spectrograms(waves: Mapping[str, np.ndarray], report: Mapping) -> str:
    """Spectrograms as HTML: of the whole sound, and of its stems where there are several.

    Phonemes are marked where they are a condition of the sound.

    Args:
      waves: by task, at SAMPLE_RATE.
      report: of the output.
    """
    phonemes, seconds = report["alignment"], report["duration"]
    mels = log_mels(list(waves.values()))
    levels = plots.find_levels(*mels)
    figures = []
    for task, mel in zip(waves, mels, strict=True):
        marks = phonemes if task == BOTH or "phonemes" in STEMS[task] else ()
        caption = "Result" if task == BOTH else f"{task.capitalize()} alone"
        spectrogram = plots.plot_spectrogram(mel, seconds, levels, marks)
        image = html.embed_image(spectrogram, f"Spectrogram: {caption}")
        figures.append(html.Figure(caption=caption, image=image))
    return html.render("spectrograms.html", figures=figures)


def summarize(output: Output) -> str:
    """Duration, conditions and edits of an output."""
    report = output.report
    used, missing = (", ".join(report[key]) or "none" for key in ("used", "missing"))
    parts = [f"{report['duration']:.2f} s. Conditions used: {used}; not used: {missing}."]
    spans = [f"{start:.2f} to {end:.2f} s" for start, end in report.get("generated", ())]
    parts += [f"Generated anew: {', '.join(spans)}."] if spans else []
    parts += ["The voice is that of the kept words."] if report.get("voice") == KEPT_VOICE else []
    if "draws" in report:
        parts.append(f"Best of {report['draws']} loops drawn: {describe_scores(report)}.")
    return " ".join(parts)


def describe_scores(report: Mapping) -> str:
    """Seed and scores of a candidate's report."""
    scores = report.get("scores", {}).items()
    scores = [f"{SCORES.get(name, name)} {value:.2f}" for name, value in scores]
    return ", ".join([f"seed {report['seed']}", *(scores or ["no score applies"])])


def to_words(utterances: Sequence[TimedUtterance]) -> list[dict]:
    """The words of utterances with their times in seconds, as JSON."""
    return [
        {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
        for line in utterances
        for word in line.words
    ]
