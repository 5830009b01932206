"""The output of a generator: a wave, its stems and report, and their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path

WAV = ".wav"


def list_files(path: Path, stems: Iterable[str] = ()) -> list[Path]:
    """The files that an output is written to: a .wav beside a video, and one for each stem."""
    waves = [] if path.suffix.lower() == WAV else [path.with_suffix(WAV)]
    return [path, *waves, *(path.with_suffix(f".{name}{WAV}") for name in stems)]


@dataclasses.dataclass(frozen=True)
class Output:
    """The output for one request and seed.

    Attributes:
      wave: float32 in [-1, 1], [samples], or [samples, 2] in stereo.
      sample_rate: samples a second.
      report: duration, conditions used and missing, phoneme times, warnings, sampling, seed; JSON.
      video: path of the video, or None.
      stems: "speech" and "sound", each like `wave`; empty unless requested.
    """

    wave: np.ndarray
    sample_rate: int
    report: dict
    video: Path | None = None
    stems: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def save(self, path: str | Path) -> list[Path]:
        """Writes `path`: a .wav, or the video with the wave and a .wav beside it.

        Stems are written beside it, as `out.speech.wav` and `out.sound.wav`. Where the video had to
        change, the report's warnings say so afterwards. Returns all paths.

        Raises:
          InputError: a wave that is not finite; a name for a video where the request had none, or
            with a suffix that is no video's.
        """
        path = to_path(path)
        self.check_finite()
        written = list_files(path, self.stems)
        if path.suffix.lower() == WAV:
            media.write_wav(path, self.wave, self.sample_rate)
        elif self.video is None:
            raise InputError(
                f"--out={path}: found no video to put the sound in, expected a .wav name"
            )
        else:
            notes = media.mux(self.video, self.wave, self.sample_rate, path)
            warnings = self.report.setdefault("warnings", [])
            warnings += [note for note in notes if note not in warnings]
            media.write_wav(path.with_suffix(WAV), self.wave, self.sample_rate)
        stem_files = written[len(written) - len(self.stems) :]
        for file, wave in zip(stem_files, self.stems.values(), strict=True):
            media.write_wav(file, wave, self.sample_rate)
        return written

    def check_finite(self) -> None:
        """Raises an InputError for a wave that is not finite, which no file can store."""
        for name, wave in {"sound": self.wave, **self.stems}.items():
            if not np.isfinite(wave).all():
                raise InputError(
                    f"generated {name}: found numbers that are not finite, expected a smaller "
                    "--guidance or other weights"
                )
