"""The log of a run: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter

from vssflow_jax.codecs import mel
from vssflow_jax.common.files import UploadedFolder, is_remote, write_text
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE

METRICS = "metrics.jsonl"
SPECTROGRAM_SCALE = 3  # pixels of a mel band


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """A sound for the log.

    Attributes:
      wave: float32 [n], or [n, channels], in [-1, 1].
      sample_rate: samples a second.
    """

    wave: np.ndarray
    sample_rate: int


class MetricsWriter:
    """Appends scalars by step to `metrics.jsonl` and `tb/` of a run's folder.

    Lines after the step that the run resumes from are dropped, and so is a line that a crash
    cut short.

    Args:
      workdir: the run's folder.
      step: the step that the run resumes from.

    Attributes:
      logged_seconds: of training, that earlier starts of the run have logged.
    """

    def __init__(self, workdir: Path, step: int):
        self._path = workdir / METRICS
        data = self._path.read_bytes() if self._path.exists() else b""
        parsed = [(line, _parse(line)) for line in data.decode(errors="replace").splitlines()]
        kept = [(line, values) for line, values in parsed if values.get("step", step + 1) <= step]
        self._text = "".join(f"{line}\n" for line, _ in kept)
        write_text(self._path, self._text)
        self.logged_seconds = max((values.get("seconds", 0.0) for _, values in kept), default=0.0)
        self._folder = UploadedFolder(workdir / "tb")
        self._board = SummaryWriter(str(self._folder.path), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one point of each curve."""
        line = json.dumps({"step": step, **values}) + "\n"
        if is_remote(self._path):  # where no file grows
            self._text += line
            write_text(self._path, self._text)
        else:
            with self._path.open("a") as file:
                file.write(line)
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._folder.upload_due(self._board.flush)

    def write_sounds(self, step: int, sounds: Mapping[str, Sound]) -> None:
        """Sounds and their spectrograms, for TensorBoard alone."""
        for name, sound in sounds.items():
            self._board.add_audio(name, sound.wave, step, sound.sample_rate)
            image = draw_spectrogram(to_mono(sound.wave, sound.sample_rate, SAMPLE_RATE))
            self._board.add_image(f"{name}/log_mel", image, step, dataformats="HW")

    def close(self) -> None:
        """Completes TensorBoard's file."""
        self._board.close()
        self._folder.upload()


class NullWriter:
    """The log of the processes that write none: all but the main one."""

    logged_seconds = 0.0

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def write_sounds(self, step: int, sounds: Mapping[str, Sound]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read_metrics(workdir: Path) -> list[dict]:
    """The values of the lines of a run's log by step, without a line that was cut short.

    Scores may follow lines of later steps there.
    """
    path = workdir / METRICS
    data = path.read_bytes() if path.exists() else b""
    parsed = map(_parse, data.decode(errors="replace").splitlines())
    return sorted((values for values in parsed if values), key=lambda row: row["step"])


def draw_spectrogram(wave: np.ndarray) -> np.ndarray:
    """The log-mel of a wave [n] at 16 kHz as a gray image, low bands below: uint8 [192, T]."""
    log_mel = np.asarray(mel.log_mel(wave)).T[::-1]
    low, high = np.log(mel.FLOOR), max(log_mel.max(), 0.0)
    gray = np.round(255 * (log_mel - low) / (high - low)).astype(np.uint8)
    return gray.repeat(SPECTROGRAM_SCALE, axis=0)


def _parse(line: str) -> dict:
    """The values of a line; none if it was cut short, or has no step."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    has_step = isinstance(values, dict) and isinstance(values.get("step"), int)
    return values if has_step else {}
