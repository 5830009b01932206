"""Phoneme times that follow a mouth: dynamic alignment of expected lips with the track of a face.

A search (segment_search.py) lays the phonemes of a text on the frames of a track. Each phoneme has
the lips of its viseme, a usual duration and a loudness, which goes with an open mouth; silence has
lips at rest, and pauses may lie between words. How far this mouth moves, and how fast this speaker
speaks, are fitted to the clip in rounds of search and least squares. Nothing is trained.

Legend: T frames of the search, n phonemes, U kinds of phonemes, C channels.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.corpus import visemes
from vssflow_jax.data import lip_track
from vssflow_jax.data.lip_track import LipTrack
from vssflow_jax.features import segment_search
from vssflow_jax.features.face_tracking import fill_gaps
from vssflow_jax.features.phoneme_loudness import LOUDEST, LOUDNESS
from vssflow_jax.text import normalize, phonemes
from vssflow_jax.text.alignment import RUSHED, Interval
from vssflow_jax.text.durations import has_tokenizer, predict_durations
from vssflow_jax.text.script import TimedScript, Utterance

VERSION = 2  # of the resulting times; part of the keys of shards
RATE = 50  # frames a second of the search
ROUNDS = 4  # of search and least squares
MIN_FRAMES, MAX_FRAMES = 2, 24  # of a phoneme: 40 ms, one latent frame, to 0.48 s
MIN_PAUSE = 5  # frames
PAUSE_COST = 2.5  # nats, of a pause between two words
DURATION_SPREAD = 0.3  # standard deviation of the log of a phoneme's duration
SPEED_SPREAD = 0.25  # of the log of a speaker's speed over the usual
EVIDENCE = 0.6  # weight of a frame's deviation, since neighboring frames say nearly the same
MAX_DEVIATION = 3.0  # standard deviations to which outliers are reduced
ACTIVITY_SECONDS = 0.1  # over which motion is averaged
ACTIVE = 0.6  # of the motion of the liveliest moments: the motion of speech
BAND = 12.0  # seconds that a phoneme may be from where the motion of the lips suggests it
MIN_MOTION = 0.05  # distances of the eyes: a mouth that opens less does not seem to speak
ACTIVITY = 2  # channel: opening, width, activity, opening as a sign of loudness


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObservedLips:
    """A track as the search sees it.

    Attributes:
      values: [T, C], opening and width in distances of the eyes, activity from 0 to 1, and the
        opening again, from which a loudness is expected.
      known: [T], 1 in frames with a face, else 0.
    """

    values: np.ndarray
    known: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """How the lips of a clip depend on expected ones: offset + gain x expected, and an error.

    Attributes:
      offset, gain: [C].
      spread: [C], standard deviation of the error.
    """

    offset: np.ndarray
    gain: np.ndarray
    spread: np.ndarray


def follow_lips(
    timed: TimedScript,
    script: Sequence[Utterance],
    track: LipTrack | None,
    durations: Mapping[str, float],
    policy: str = normalize.REFUSE,
) -> TimedScript | None:
    """A script with the times of the mouth that says it; None where no mouth can be followed.

    Args:
      timed: the script with predicted times.
      script: its lines, all of one speaker.
      track: of the speaker's lips; None: none was found.
      durations: mean seconds by phoneme, or the duration model in the speaker's voice.
      policy: of characters that cannot be read (text.normalize).
    """
    if track is None or has_tokenizer(durations) or not has_motion(track):
        return None
    lines = [phonemes.pronounce(normalize.words(line.text, policy)) for line in script]
    words = [word for line in lines for word in line]
    usual = predict_durations([symbol for word in words for symbol in word], durations)
    intervals = align_to_lips(words, usual, track)
    if not intervals:
        return None
    edges = np.cumsum([0, *(sum(map(len, line)) for line in lines)])
    spans = [(intervals[a].start, intervals[b - 1].end) for a, b in itertools.pairwise(edges)]
    warnings, spoken = list(timed.warnings), sum(i.end - i.start for i in intervals)
    if sum(usual) > RUSHED * spoken:
        warnings.append(
            f"the text needs about {sum(usual):.1f} s and the mouth moves for {spoken:.1f} s: "
            "the speech will be rushed"
        )
    return TimedScript(intervals=intervals, spans=spans, warnings=warnings)


def has_motion(track: LipTrack) -> bool:
    """Whether a mouth opens and closes enough to be followed."""
    opening = track.measurements[track.seen, lip_track.MEASUREMENTS.index("inner_opening")]
    return len(opening) > 1 and float(np.ptp(np.quantile(opening, [0.1, 0.95]))) > MIN_MOTION


def align_to_lips(
    words: Sequence[Sequence[str]], seconds: Sequence[float], track: LipTrack
) -> list[Interval]:
    """Phoneme times of words that a mouth says.

    Args:
      words: ARPAbet symbols of each word.
      seconds: usual duration of each symbol.
      track: of the lips over the clip.

    Returns:
      An interval a symbol, in order; none if the clip is too short for so many phonemes.
    """
    symbols = [symbol for word in words for symbol in word]
    starts_word = np.isin(np.arange(len(symbols)), np.cumsum([0, *map(len, words)]))
    names, kinds = np.unique([symbol.rstrip("012") for symbol in symbols], return_inverse=True)
    observed, shapes = observe_lips(track), expect_lips(names)
    frames, usual = len(observed.values), np.asarray(seconds, float)
    limits = segment_search.SegmentLimits(
        min_length=MIN_FRAMES, min_pause=MIN_PAUSE, bands=find_bands(observed, usual)
    )
    fit, speed, spans = guess_fit(observed, shapes[kinds]), 1.0, []
    for _ in range(ROUNDS):
        costs = segment_search.SegmentCosts(
            kinds=kinds,
            starts=score_frames(observed, fit, shapes[:, 0]),
            ends=score_frames(observed, fit, shapes[:, 1]),
            rest=score_frames(observed, fit, np.zeros((1, shapes.shape[2])))[0],
            lengths=score_durations(usual, speed),
            may_pause=starts_word,
            pause=PAUSE_COST,
        )
        spans = segment_search.find_segments(costs, limits)
        if not spans:
            return []
        fit = fit_lips(observed, draw_lips(spans, shapes[kinds], frames))
        speed = fit_speed(spans, usual)
    return [
        Interval(start / RATE, end / RATE, symbol)
        for (start, end), symbol in zip(spans, symbols, strict=True)
    ]


# ---- lips, seen and expected --------------------------------------------------------------


def observe_lips(track: LipTrack) -> ObservedLips:
    """What the search sees of a track."""
    filled = fill_gaps(track.measurements.astype(float), track.seen)
    columns = dict(zip(lip_track.MEASUREMENTS, filled.T, strict=True))
    opening = (columns["inner_opening"] + columns["side_opening"]) / 2
    width = (columns["inner_width"] + columns["outer_width"]) / 2
    speed = np.hypot(*(np.gradient(x, 1 / lip_track.RATE) for x in (opening, width)))
    power = visemes.smooth(speed**2, ACTIVITY_SECONDS * lip_track.RATE)
    activity = np.sqrt(power / max(np.quantile(power, 0.97), 1e-12)) / ACTIVE
    shown = np.arange(len(opening)) / lip_track.RATE
    # Lips move before the sound does.
    frames = round(len(opening) / lip_track.RATE * RATE)
    times = (np.arange(frames) + 0.5) / RATE - visemes.LEAD
    channels = (opening, width, np.minimum(activity, 1), opening)
    values = [np.interp(times, shown, x) for x in channels]
    known = np.interp(times, shown, track.seen.astype(float)) > 0.5
    return ObservedLips(values=np.stack(values, 1), known=known.astype(float))


def expect_lips(symbols: Sequence[str]) -> np.ndarray:
    """Lips of phonemes in their first and in their second part, [U, 2, C]; rest is zeros."""
    return np.array(
        [
            [
                (*visemes.SHAPES[part][:2], 1.0, LOUDNESS[symbol] / LOUDEST)
                for part in (symbol, visemes.GLIDES.get(symbol, symbol))
            ]
            for symbol in symbols
        ]
    )


def draw_lips(spans: Sequence[tuple[int, int]], expected: np.ndarray, frames: int) -> np.ndarray:
    """The expected lips of an alignment in every frame: [n, 2, C] -> [T, C]."""
    drawn = np.zeros((frames, expected.shape[2]))
    for (start, end), parts in zip(spans, expected, strict=True):
        turn = start + 2 * (end - start) // 3
        drawn[start:turn], drawn[turn:end] = parts
    return visemes.smooth(drawn, visemes.SMOOTH * RATE, mode="nearest")


def score_frames(observed: ObservedLips, fit: Fit, expected: np.ndarray) -> np.ndarray:
    """Cost in nats of every frame under expected lips: [m, C] -> [m, T]."""
    predicted = fit.offset + fit.gain * expected
    deviations = (observed.values - predicted[:, None]) / fit.spread  # [m, T, C]
    costs = np.minimum(deviations**2, MAX_DEVIATION**2).sum(2) / 2
    return EVIDENCE * costs * observed.known


def score_durations(seconds: np.ndarray, speed: float) -> np.ndarray:
    """Cost in nats of lengths from MIN_FRAMES on of phonemes that usually last `seconds` [n]."""
    lengths = np.arange(MIN_FRAMES, MAX_FRAMES + 1) / RATE
    return np.log(lengths * speed / seconds[:, None]) ** 2 / (2 * DURATION_SPREAD**2)


def find_bands(observed: ObservedLips, seconds: np.ndarray) -> np.ndarray:
    """Frames [n, 2] within which each phoneme starts: near its share of the lips' motion."""
    frames = len(observed.values)
    motion = np.cumsum(observed.values[:, ACTIVITY] ** 2 + 1e-3)
    shares = (np.cumsum(seconds) - seconds) / seconds.sum()
    middle = np.searchsorted(motion, shares * motion[-1])
    bands = np.stack([middle - BAND * RATE, middle + BAND * RATE], 1)
    return np.clip(bands, 0, frames).astype(int)


# ---- fits to a clip -----------------------------------------------------------------------


def guess_fit(observed: ObservedLips, expected: np.ndarray) -> Fit:
    """A fit before the first search, by the spread of what is seen and expected, [n, 2, C]."""
    low, high = np.quantile(observed.values, [0.1, 0.9], axis=0)
    spread = observed.values.std(0) + 1e-6
    opening = (high[0] - low[0]) / 0.8  # a wide open mouth is a shape of 1, a usual one of 0.8
    width = 0.7 * spread[1] / (expected[..., 1].std() + 0.1)
    middle = np.median(observed.values[:, 1]) - width * expected[..., 1].mean()
    return Fit(
        offset=np.array([low[0], middle, 0.0, low[0]]),
        gain=np.array([opening, width, 1.0, opening]),
        spread=np.array([0.7 * spread[0], spread[1], 0.35, spread[0]]),
    )


def fit_lips(observed: ObservedLips, drawn: np.ndarray) -> Fit:
    """The fit to the expected lips of an alignment, [T, C], by least squares."""
    weights = observed.known / max(observed.known.sum(), 1)
    x, y = drawn - weights @ drawn, observed.values - weights @ observed.values
    # Lips that move against the text say nothing about it.
    gain = np.maximum(weights @ (x * y) / (weights @ x**2 + 1e-3), 0)
    error = np.sqrt(weights @ (y - gain * x) ** 2)
    # A share of the whole spread keeps a channel that fits well from deciding alone.
    spread = error + 0.3 * np.sqrt(weights @ y**2) + 1e-6
    return Fit(
        offset=weights @ observed.values - gain * (weights @ drawn), gain=gain, spread=spread
    )


def fit_speed(spans: Sequence[tuple[int, int]], usual: np.ndarray) -> float:
    """How much faster than usual an alignment is, drawn towards 1 where it has few phonemes."""
    actual = np.array([end - start for start, end in spans]) / RATE
    few = DURATION_SPREAD**2 / SPEED_SPREAD**2
    return float(np.exp(np.log(usual / actual).sum() / (len(actual) + few)))
