"""Pictures: that they are drawn, and that marks lie where the numbers say."""

import io

import numpy as np
import pytest
from PIL import Image

from vssflow_jax.reports import plots

TRUE = [(0.1, 0.3, "S"), (0.3, 0.6, "EH1"), (0.6, 0.8, "T")]
PREDICTED = [(0.1, 0.25, "S"), (0.25, 0.5, "EH1"), (0.5, 0.9, "T")]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(image, color, tolerance=24):
    """Where an image has a color: bool [H, W]."""
    expected = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return (np.abs(image - expected) < tolerance).all(-1)


@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK])
def test_a_phoneme_is_a_bar_from_its_start_to_its_end(theme):
    rows = {"true": [(0.25, 0.75, "EH1")], "predicted": [(0.5, 0.75, "EH1")]}
    image = pixels(plots.plot_alignments(rows, 1.0, theme))
    columns = np.flatnonzero(near(image, plots.VOWEL).any(0)) / image.shape[1]
    start, width = 0.12, plots.RIGHT - 0.12
    assert columns.min() == pytest.approx(start + 0.25 * width, abs=0.01)
    assert columns.max() == pytest.approx(start + 0.75 * width, abs=0.01)
    assert not near(image, plots.CONSONANT).any()


def test_rows_of_other_texts_are_not_joined():
    lines = {"true": TRUE, "predicted": PREDICTED}
    joined = pixels(plots.plot_alignments(lines, 1.0, plots.LIGHT))
    alone = pixels(plots.plot_alignments({"true": TRUE, "other": TRUE[:1]}, 1.0, plots.LIGHT))
    assert joined.shape == alone.shape


def test_scores_have_a_dot_where_they_are_and_leave_out_what_is_not_there():
    metrics = {
        "speech": {"wer": 0.2, "wer_ci95": [0.1, 0.3], "wer_floor": 0.05, "wer_ceiling": 0.04},
        "sound": {"onset_f1": 0.9},
        "run": {"seed": 0},
    }
    both = pixels(plots.plot_scores(metrics, {"wer": "Word errors", "onset_f1": "F1"}, plots.LIGHT))
    one = pixels(plots.plot_scores(metrics, {"wer": "Word errors"}, plots.LIGHT))
    assert both.shape[1] == pytest.approx(2 * one.shape[1], abs=4)
    assert near(both, plots.LIGHT.line).any(0)[: both.shape[1] // 2].any()
    assert near(both, plots.LIGHT.line).any(0)[both.shape[1] // 2 :].any()


def test_a_map_is_brightest_where_a_condition_does_most():
    calm, wild = np.zeros(50), np.zeros(50)
    wild[25:] = 1.0
    image = pixels(plots.plot_attribution({"lips": calm, "sync": wild}, 2.0)).sum(-1)
    left = round(plots.LEFT * image.shape[1])
    inner = image[:, left:-8]
    middle = inner.shape[1] // 2
    assert inner[:, middle + 20 :].max() > 600 > inner[5:-60, : middle - 20].max()


def test_lines_have_their_colors_and_a_better_solver_lies_lower():
    series = {"a": [(4, 0.5), (8, 0.25), (16, 0.125)], "b": [(4, 0.2), (8, 0.02), (16, 0.002)]}
    image = pixels(plots.plot_lines(series, ("evaluations", "error"), plots.LIGHT))
    image = image[:, : round(0.8 * image.shape[1])]  # without the legend
    upper, lower = (np.argwhere(near(image, c)).mean(0)[0] for c in plots.SERIES[:2])
    assert lower > upper + 50


@pytest.mark.parametrize("heights", [(0.3, 0.2, 0.17), (0.3, 0.02, 0.001)])
def test_lines_of_any_range_have_numbers_beside_their_axis(heights):
    series = {"a": list(zip((1, 2, 4), heights, strict=True))}
    image = pixels(plots.plot_lines(series, ("evaluations", ""), plots.LIGHT))
    beside = image[: round(0.8 * image.shape[0]), : round(0.11 * image.shape[1])]
    assert (beside.min(-1) < 150).any()


def test_marks_lie_at_their_times():
    mel = np.full((200, 64), np.log(1e-3), np.float32)
    image = plots.plot_spectrogram(mel, 2.0, (-7, 0), onsets=[0.5])
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), int)
    cyan = (pixels[..., 1] > 150) & (pixels[..., 0] < 140)
    expected = plots.LEFT + (plots.RIGHT - plots.LEFT) * 0.25
    assert np.nonzero(cyan)[1].mean() / pixels.shape[1] == pytest.approx(expected, abs=0.002)


def test_running_mean_leaves_out_what_is_not_a_number():
    values = np.array([1.0, np.nan, 3.0, 5.0])
    np.testing.assert_allclose(plots.smooth_curve(values, 3), [1, 2, 4, 4])
