"""The output of a generator: a wave, its stems and report, and their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.generation.content_credentials import Credentials, check_signable
from vssflow_jax.generation.provenance import describe_origin
from vssflow_jax.media import loudness
from vssflow_jax.text.word_times import (
    TimedUtterance,
    format_json,
    format_srt,
    format_text_grid,
    label_text,
)

WAV = ".wav"
TRACK = "track"  # of subtitles, in the video
TIME_FILES = {"srt": ".srt", "textgrid": ".TextGrid", "json": ".json"}  # suffixes by format
TIME_FORMATS = (*TIME_FILES, TRACK)


def list_files(path: Path, stems: Iterable[str] = (), times: Iterable[str] = ()) -> list[Path]:
    """The files that an output is written to.

    A .wav beside a video, one for each stem, and one for each of TIME_FORMATS but TRACK.
    """
    waves = [] if path.suffix.lower() == WAV else [path.with_suffix(WAV)]
    texts = [path.with_suffix(TIME_FILES[form]) for form in times if form != TRACK]
    return [path, *waves, *(path.with_suffix(f".{name}{WAV}") for name in stems), *texts]


def check_times(times: Iterable[str], path: Path) -> None:
    """Raises an InputError for a format of times that there is not, or that `path` cannot hold."""
    for form in times:
        if form not in TIME_FORMATS:
            raise InputError(
                f"--times_out: found {form!r}, expected some of {', '.join(TIME_FORMATS)}"
            )
        if form == TRACK:
            media.check_subtitles(path)


@dataclasses.dataclass(frozen=True)
class Output:
    """The output for one request and seed.

    Attributes:
      wave: float32 in [-1, 1], [samples], or [samples, A] with A channels.
      sample_rate: samples a second.
      report: duration, conditions used and missing, phoneme times, warnings, sampling, seed, hash
        of the model; JSON.
      video: path of the video, or None.
      stems: "speech" and "sound", each like `wave`; empty unless requested.
      utterances: what is said, with the times of its words.
    """

    wave: np.ndarray
    sample_rate: int
    report: dict
    video: Path | None = None
    stems: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    utterances: Sequence[TimedUtterance] = ()

    def save(
        self,
        path: str | Path,
        times: Collection[str] = (),
        credentials: Credentials | None = None,
    ) -> list[Path]:
        """Writes `path`: a .wav, or the video with the wave and a .wav beside it.

        Stems are written beside it, as `out.speech.wav` and `out.sound.wav`. All of these files say
        in their comment that their audio is generated. Where the video had to change, the report's
        warnings say so afterwards.

        Args:
          path: the file.
          times: of the words, in some of TIME_FORMATS: as files beside it ("srt", "textgrid",
            "json"), or as a subtitle track of the video ("track"). Nothing without speech.
          credentials: sign all files with sound.

        Returns:
          All paths.

        Raises:
          InputError: a wave that is not finite; a name for a video where the request had none, or
            with a suffix that is no video's or takes no subtitles or signature.
        """
        path = to_path(path)
        self.check_finite()
        check_times(times, path)
        if credentials is not None:
            check_signable(path)
        comment = describe_origin(self.report)
        if path.suffix.lower() == WAV:
            media.write_wav(path, self.wave, self.sample_rate, comment)
        elif self.video is None:
            raise InputError(
                f"--out={path}: found no video to put the sound in, expected a .wav name"
            )
        else:
            subtitles = [(line.start, line.end, label_text(line)) for line in self.utterances]
            metadata = media.Metadata(
                comment=comment, subtitles=subtitles if TRACK in times else ()
            )
            notes = self._mux(path, metadata)
            warnings = self.report.setdefault("warnings", [])
            warnings += [note for note in notes if note not in warnings]
            media.write_wav(path.with_suffix(WAV), self.wave, self.sample_rate, comment)
        for name, wave in self.stems.items():
            media.write_wav(path.with_suffix(f".{name}{WAV}"), wave, self.sample_rate, comment)
        if credentials is not None:
            for file in list_files(path, self.stems):
                is_video = file.suffix.lower() != WAV
                credentials.sign_file(file, self.report, has_pictures=is_video)
        formats = [form for form in times if self.utterances]
        for form in formats:
            self._write_times(path, form)
        return list_files(path, self.stems, formats)

    def _mux(self, path: Path, metadata: media.Metadata) -> tuple[str, ...]:
        """Writes the video with the wave, and with its loudness if the report has one; notes.

        What the codec of the sound takes from the loudness is made up for once, if that helps.
        """

        def write(wave: np.ndarray) -> float:
            notes.extend(media.mux(self.video, wave, self.sample_rate, path, metadata=metadata))
            return 0.0 if target is None else target - loudness.measure_file(path)

        notes, target = [], self.report.get("loudness")
        error = write(self.wave)
        if loudness.TOLERANCE < abs(error) < loudness.MAX_GAIN:
            louder = np.float32(loudness.to_factor(error)) * self.wave
            gain = loudness.limit_peaks(louder, self.sample_rate)
            corrected = write(loudness.apply_gain(louder, gain))
            error = corrected if abs(corrected) < abs(error) else write(self.wave)
        if abs(error) > loudness.MAX_ERROR:
            notes.append(
                f"{path}: found {target - error:.1f} LUFS as encoded, expected {target:.1f}"
            )
        return tuple(dict.fromkeys(notes))

    def _write_times(self, path: Path, form: str) -> None:
        """Writes the times of the words in one of TIME_FILES."""
        duration = len(self.wave) / self.sample_rate
        if form == "srt":
            text = format_srt(self.utterances)
        elif form == "textgrid":
            text = format_text_grid(self.utterances, duration)
        elif form == "json":
            text = format_json(self.utterances, duration)
        else:
            return
        write_text(path.with_suffix(TIME_FILES[form]), text)

    def check_finite(self) -> None:
        """Raises an InputError for a wave that is not finite, which no file can store."""
        for name, wave in {"sound": self.wave, **self.stems}.items():
            if not np.isfinite(wave).all():
                raise InputError(
                    f"generated {name}: found numbers that are not finite, expected a smaller "
                    "--guidance or other weights"
                )
