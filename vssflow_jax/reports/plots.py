"""Plots for pages, from arrays to image files in memory: curves, frames, spectrograms, scores."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vssflow_jax.codecs import mel as mels

DPI = 144
WIDTH = 11.2  # inches of strips and spectrograms
LEFT, RIGHT = 0.055, 0.995  # ends of all time axes, so that plots under one another align
COLORS = 96  # in a spectrogram's palette
HERTZ = (500, 1000, 2000, 4000)
SYMBOLS, EDGE = 0.36, 0.08  # inches above a plot, with and without phonemes
SMOOTHING = 20  # a smoothed curve averages a 20th of its points
Interval = tuple[float, float, str]


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colors of a plot: its background (`ground`), its text (`ink`), its grid, its line."""

    ground: str
    ink: str
    grid: str
    line: str


LIGHT = Theme(ground="#ffffff", ink="#454c54", grid="#e3e6ea", line="#0b62c4")
DARK = Theme(ground="#1b1f24", ink="#b9c2cc", grid="#343a42", line="#6cb2ff")
PHONEME, ONSET = "#ffffff", "#5ef2ff"  # marks on a color map
VOWEL, CONSONANT = "#ffcf70", "#9fd0ff"
MARKERS = {"floor": "|", "ceiling": "x"}  # of a score's codec floor and ceiling
SERIES = ("#0b62c4", "#d1495b", "#2a9d8f", "#e08e0b", "#7b4bb7", "#454c54")  # of a comparison


def _make_figure(width: float, height: float, theme: Theme) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.ground)
    FigureCanvasAgg(figure)
    return figure


def _render(figure: Figure) -> Image.Image:
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")


def _encode_png(image: Image.Image, colors: int) -> bytes:
    """A palette keeps flat pictures and color maps small; dithering would make them large."""
    out = io.BytesIO()
    small = image.quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def _style_axes(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.ground)
    axes.tick_params(colors=theme.ink, labelsize=9, length=3, color=theme.grid)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.grid)


# ---- curves -------------------------------------------------------------------------------


def smooth_curve(values: np.ndarray, window: int) -> np.ndarray:
    """Centered running mean [n] over up to `window` points (fewer at the ends), NaNs left out."""
    half = max(window // 2, 1)
    parts = (values[max(k - half, 0) : k + half + 1] for k in range(len(values)))
    return np.array([np.mean(p[np.isfinite(p)]) if np.isfinite(p).any() else np.nan for p in parts])


def plot_curve(
    steps: Sequence[float], values: Sequence[float], theme: Theme, *, wide: bool, smooth: bool
) -> bytes:
    """PNG of a quantity over training steps; `smooth` puts a running mean over the points."""
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    figure = _make_figure(8.9 if wide else 4.3, 2.3, theme)
    axes = figure.add_axes((0.062 if wide else 0.125, 0.2, 0.91 if wide else 0.82, 0.74))
    _style_axes(axes, theme)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.plot(steps, values, color=theme.line, alpha=0.35 if smooth else 1.0, linewidth=1.2)
    if smooth:
        mean = smooth_curve(values, max(len(values) // SMOOTHING, 3))
        axes.plot(steps, mean, color=theme.line, linewidth=1.9)
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() >= 0:
        # A few wild values at the start would flatten all the rest.
        top = max(np.quantile(finite, 0.99) * 1.15, finite[-1] * 1.15)
        axes.set_ylim(0, top if top > 0 else 1)
    axes.set_xlim(0, max(steps.max(), 1))
    axes.set_xlabel("step", color=theme.ink, fontsize=9, labelpad=2)
    axes.yaxis.get_offset_text().set(color=theme.ink, fontsize=8)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    return _encode_png(_render(figure), 64)


# ---- an example over time -----------------------------------------------------------------


def plot_strip(frames: Sequence[np.ndarray], seconds: float) -> bytes:
    """JPEG of frames in a row over a clip of `seconds`, each over its part of the time.

    Args:
      frames: uint8 [H, W, 3] each, of one size: frame k of n is from the middle of the k-th of n
        equal parts of the clip.
      seconds: length of the clip.
    """
    part = seconds / len(frames)
    height, width = frames[0].shape[:2]
    inches = WIDTH * (RIGHT - LEFT) / len(frames) * min(height / width, 1.2)
    figure = _make_figure(WIDTH, inches, DARK)
    axes = figure.add_axes((LEFT, 0, RIGHT - LEFT, 1))
    axes.set_axis_off()
    gap = 0.01 * part
    for k, frame in enumerate(frames):
        extent = (k * part + gap, (k + 1) * part - gap, 0, 1)
        axes.imshow(frame, extent=extent, aspect="auto", interpolation="nearest")
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, 1)
    out = io.BytesIO()
    _render(figure).save(out, "JPEG", quality=84, optimize=True)
    return out.getvalue()


def find_levels(*spectrograms: np.ndarray) -> tuple[float, float]:
    """Lowest and highest level of several log-mels [T, 64], as their common color scale."""
    return min(float(s.min()) for s in spectrograms), max(float(s.max()) for s in spectrograms)


def plot_spectrogram(
    mel: np.ndarray,
    seconds: float,
    levels: tuple[float, float],
    phonemes: Sequence[Interval] = (),
    onsets: Sequence[float] = (),
) -> bytes:
    """PNG of a log-mel [T, 64] over time, with marks.

    Args:
      mel: natural logarithm, 100 frames a second.
      seconds: length of the time axis.
      levels: what the darkest and the brightest color stand for.
      phonemes: (start, end, symbol): a line at each start, the symbol above.
      onsets: seconds: a dashed line and a triangle each.
    """
    height = 0.3 + 1.42 + (SYMBOLS if phonemes else EDGE)
    figure = _make_figure(WIDTH, height, DARK)
    axes = figure.add_axes((LEFT, 0.3 / height, RIGHT - LEFT, 1.42 / height))
    _style_axes(axes, DARK)
    axes.imshow(
        mel.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=levels[0],
        vmax=levels[1],
        extent=(0, len(mel) * mels.HOP / mels.SAMPLE_RATE, -0.5, mels.BANDS - 0.5),
    )
    _mark_phonemes(axes, phonemes)
    _mark_onsets(axes, onsets)
    axes.plot(onsets, [-0.5] * len(onsets), "^", color=ONSET, markersize=7, clip_on=False)
    axes.set_xlim(0, seconds)
    axes.set_ylim(-0.5, mels.BANDS - 0.5)
    axes.set_yticks(
        _locate_bands(HERTZ), [f"{h / 1000:g}k" if h >= 1000 else str(h) for h in HERTZ]
    )
    axes.set_ylabel("Hz", color=DARK.ink, fontsize=9, labelpad=1)
    ticks = np.arange(0, seconds + 1e-6, 0.5 if seconds <= 6 else 1.0)
    axes.set_xticks(ticks, [f"{t:g} s" for t in ticks])
    for label, side in ((axes.get_xticklabels()[0], "left"), (axes.get_xticklabels()[-1], "right")):
        label.set_horizontalalignment(side)
    return _encode_png(_render(figure), COLORS)


def plot_waveform(wave: np.ndarray, seconds: float) -> bytes:
    """PNG of the envelope of a wave, float32 [n] at 16 kHz in [-1, 1]."""
    figure = _make_figure(WIDTH, 0.8, DARK)
    axes = figure.add_axes((LEFT, 0.04, RIGHT - LEFT, 0.92))
    _style_axes(axes, DARK)
    parts = np.array_split(wave, min(len(wave), round(WIDTH * DPI)))
    times = np.linspace(0, len(wave) / mels.SAMPLE_RATE, len(parts))
    low, high = ([extreme(part) for part in parts] for extreme in (np.min, np.max))
    axes.fill_between(times, low, high, color=DARK.line, linewidth=0.5)
    axes.set_xlim(0, seconds)
    axes.set_ylim(-1, 1)
    axes.set_xticks([])
    return _encode_png(_render(figure), 32)


def plot_features(features: np.ndarray, seconds: float) -> bytes:
    """PNG of features [T, W] over time, dark to bright from the 1st to the 99th percentile."""
    values = np.asarray(features, np.float32)
    low, high = np.percentile(values, (1, 99))
    figure = _make_figure(WIDTH, 1.1, DARK)
    axes = figure.add_axes((LEFT, 0.02, RIGHT - LEFT, 0.96))
    _style_axes(axes, DARK)
    axes.imshow(
        values.T,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        vmin=low,
        vmax=max(high, low + 1e-6),
        extent=(0, seconds, values.shape[1], 0),
    )
    axes.set_xticks([])
    return _encode_png(_render(figure), COLORS)


def _locate_bands(hertz: Sequence[float]) -> np.ndarray:
    """Positions of frequencies on an axis of mel bands."""
    centers = librosa.mel_frequencies(mels.BANDS + 2, fmin=0, fmax=8000)[1:-1]
    return np.interp(hertz, centers, np.arange(mels.BANDS))


def _mark_onsets(axes: Axes, onsets: Sequence[float]) -> None:
    for time in onsets:
        axes.axvline(time, color=ONSET, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.8)


def _mark_phonemes(axes: Axes, phonemes: Sequence[Interval]) -> None:
    """Symbols alternate between two rows, because many phonemes are narrower than their names."""
    for number, (start, end, symbol) in enumerate(phonemes):
        axes.axvline(start, color=PHONEME, linewidth=0.7, alpha=0.45)
        axes.annotate(
            symbol.rstrip("012"),
            ((start + end) / 2, 1.0),
            (0, 2 + 10 * (number % 2)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color=DARK.ink,
            fontsize=8.5,
            annotation_clip=False,
        )
    if phonemes:
        axes.axvline(phonemes[-1][1], color=PHONEME, linewidth=0.7, alpha=0.45)


# ---- alignments ---------------------------------------------------------------------------


def plot_alignments(rows: Mapping[str, Sequence[Interval]], seconds: float, theme: Theme) -> bytes:
    """PNG of alignments over time, one a row: a bar with its symbol for each phoneme.

    Args:
      rows: (start, end, symbol) of each phoneme, by the row's label. Where two rows below one
        another have the same number of phonemes, lines join them.
      seconds: length of the time axis.
      theme: colors.
    """
    height = 0.45 + 0.5 * len(rows)
    figure = _make_figure(WIDTH, height, theme)
    axes = figure.add_axes((0.12, 0.36 / height, RIGHT - 0.12, 0.5 * len(rows) / height))
    _style_axes(axes, theme)
    above: Sequence[Interval] = ()
    for number, intervals in enumerate(rows.values()):
        for start, end, symbol in intervals:
            color = VOWEL if symbol[-1].isdigit() else CONSONANT
            axes.barh(number, end - start, 0.62, start, color=color, edgecolor=theme.ground)
            text = symbol.rstrip("012")
            axes.text((start + end) / 2, number, text, ha="center", va="center", fontsize=6.5)
        for first, second in zip(above, intervals, strict=len(above) == len(intervals)):
            edge = ((number - 1 + 0.31, number - 0.31), (first[0], second[0]))
            axes.plot(edge[1], edge[0], color=theme.ink, linewidth=0.6, alpha=0.6)
        above = intervals
    axes.set_xlim(0, seconds)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xlabel("seconds", color=theme.ink, fontsize=9, labelpad=1)
    return _encode_png(_render(figure), COLORS)


# ---- scores -------------------------------------------------------------------------------


def plot_scores(metrics: Mapping[str, Mapping], names: Mapping[str, str], theme: Theme) -> bytes:
    """PNG of scores: a plot for each metric, a row for each task, with interval, floor, ceiling.

    Args:
      metrics: contents of metrics.json.
      names: titles of the metrics by key.
      theme: colors.
    """
    tasks = [task for task in metrics if any(name in metrics[task] for name in names)]
    figure = _make_figure(2.8 * len(names), 1.1 + 0.34 * len(tasks), theme)
    columns = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, (name, title) in zip(columns, names.items(), strict=True):
        _style_axes(axes, theme)
        axes.grid(axis="x", color=theme.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_title(title, color=theme.ink, fontsize=9)
        for row, task in enumerate(tasks):
            task_scores = metrics[task]
            if name not in task_scores:
                continue
            value = task_scores[name]
            low, high = task_scores.get(f"{name}_ci95", (value, value))
            axes.plot((low, high), (row, row), color=theme.line, linewidth=2, alpha=0.5)
            axes.plot(value, row, "o", color=theme.line, markersize=6)
            for bound, marker in MARKERS.items():
                if (position := task_scores.get(f"{name}_{bound}")) is not None:
                    axes.plot(position, row, marker, color=theme.ink, markersize=8)
    columns[0].set_yticks(range(len(tasks)), tasks)
    columns[0].set_ylim(len(tasks) - 0.5, -0.5)
    note = "Bars: 95 % intervals. |: codec floor. x: ceiling (ground truth)."
    figure.supxlabel(note, color=theme.ink, fontsize=8)
    figure.tight_layout()
    return _encode_png(_render(figure), 64)


# ---- attribution --------------------------------------------------------------------------


def plot_attribution(
    maps: Mapping[str, np.ndarray],
    seconds: float,
    phonemes: Sequence[Interval] = (),
    onsets: Sequence[float] = (),
) -> bytes:
    """PNG of the effect of conditions over time: a row a condition, brighter for more effect.

    Args:
      maps: float [L] by condition, over the clip.
      seconds: length of the time axis.
      phonemes: marked as in `plot_spectrogram`.
      onsets: likewise.
    """
    height = 0.3 + 0.3 * len(maps) + (SYMBOLS if phonemes else EDGE)
    figure = _make_figure(WIDTH, height, DARK)
    axes = figure.add_axes((LEFT, 0.3 / height, RIGHT - LEFT, 0.3 * len(maps) / height))
    _style_axes(axes, DARK)
    values = np.stack(list(maps.values()))
    extent = (0, seconds, len(maps) - 0.5, -0.5)
    axes.imshow(values, aspect="auto", interpolation="nearest", cmap="magma", extent=extent, vmin=0)
    _mark_phonemes(axes, phonemes)
    _mark_onsets(axes, onsets)
    axes.set_xlim(0, seconds)
    axes.set_yticks(range(len(maps)), list(maps), fontsize=6.5)
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    return _encode_png(_render(figure), COLORS)


# ---- comparisons --------------------------------------------------------------------------


def plot_lines(
    series: Mapping[str, Sequence[tuple[float, float]]], labels: tuple[str, str], theme: Theme
) -> bytes:
    """PNG of points (x, y), both positive, joined by a line a series, on logarithmic axes.

    The y axis is linear where all y are within a decade, in which a logarithmic one has no ticks.

    Args:
      series: points by the label of their line; a single point is a marker.
      labels: of the axes.
      theme: colors of ground, text and grid.
    """
    figure = _make_figure(6.4, 3.6, theme)
    axes = figure.add_axes((0.12, 0.15, 0.86, 0.82))
    _style_axes(axes, theme)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for number, (name, points) in enumerate(series.items()):
        x, y = zip(*points, strict=True)
        color = SERIES[number % len(SERIES)]
        axes.loglog(x, y, "o-", color=color, markersize=4, linewidth=1.6, label=name)
    heights = [y for points in series.values() for _, y in points]
    if max(heights) < 10 * min(heights):
        axes.set_yscale("linear")
    ticks = sorted({x for points in series.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(labels[0], color=theme.ink, fontsize=9, labelpad=2)
    axes.set_ylabel(labels[1], color=theme.ink, fontsize=9)
    axes.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return _encode_png(_render(figure), 64)
