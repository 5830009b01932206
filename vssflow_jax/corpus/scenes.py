"""The events of a clip: which object sounds, how large it is, and when it is struck.

Times, strengths and densities are drawn here once; `sounds` makes them audible and `props`
visible, so that picture and sound agree.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vssflow_jax.corpus import sounds

SIZES = (0.8, 1.25)  # of objects; a larger one sounds lower
GAP = 0.26  # shortest time between two contacts, seconds
FIRST, LAST = 0.2, 0.18  # no contact earlier than FIRST or within LAST of the end, seconds

# Range of seconds between contacts, and whether one clip keeps to one gap (a pendulum, a motor).
RHYTHMS = {
    "wood": ((0.32, 0.85), False),
    "metal": ((0.35, 1.0), False),
    "glass": ((0.35, 1.0), False),
    "drum": ((0.28, 0.7), False),
    "bell": ((0.5, 0.95), True),
    "drop": ((0.35, 1.0), False),
    "wheel": ((0.26, 0.5), True),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """An event source over a clip.

    Attributes:
      name: one of `sounds.CLASSES`.
      size: of the object, about 1.
      onsets: times of contact in seconds, float64 [n], at least `GAP` apart; none for rain.
      strengths: of the contacts, in (0, 1], float64 [n].
      density: of rain at every frame, in [0, 1]; None for all else.
    """

    name: str
    size: float
    onsets: np.ndarray
    strengths: np.ndarray
    density: np.ndarray | None = None


def draw_scene(name: str, duration: float, rate: float, rng: np.random.Generator) -> Scene:
    """Draws a scene of class `name`, `duration` seconds at `rate` frames a second."""
    size = float(np.exp(rng.uniform(*np.log(SIZES))))
    if name == sounds.RAIN:
        none = np.zeros(0)
        density = _draw_density(round(duration * rate), rng)
        return Scene(name=name, size=size, onsets=none, strengths=none, density=density)
    onsets = _draw_onsets(name, duration, rng)
    low = 0.8 if RHYTHMS[name][1] else 0.55
    strengths = rng.uniform(low, 1.0, len(onsets))
    return Scene(name=name, size=size, onsets=onsets, strengths=strengths)


def _draw_onsets(name: str, duration: float, rng: np.random.Generator) -> np.ndarray:
    (low, high), steady = RHYTHMS[name]
    most = int(duration / GAP) + 1
    if steady:
        drift = np.linspace(1.0, rng.uniform(0.85, 1.2), most)
        gaps = np.clip(rng.uniform(low, high) * drift, GAP, None)
    else:
        gaps = rng.uniform(low, high, most)
    times = rng.uniform(FIRST, FIRST + 0.5) + np.concatenate([[0.0], np.cumsum(gaps)])
    return times[times < duration - LAST]


def _draw_density(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A slow random curve between drizzle and downpour: [frames]."""
    knots = rng.uniform(0.1, 1.0, 5)
    places = np.linspace(0, len(knots) - 1, frames)
    left = np.minimum(places.astype(int), len(knots) - 2)
    share = 0.5 - 0.5 * np.cos(np.pi * (places - left))
    return knots[left] * (1 - share) + knots[left + 1] * share


def synthesize_scene(
    scene: Scene, samples: int, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """The scene's waveform at 16 kHz, the strongest contact at about 1: float64 [samples]."""
    if scene.density is not None:
        return sounds.synthesize_rain(scene.density, rate, scene.size, samples, rng)
    return sounds.synthesize_contacts(
        scene.name, scene.onsets, scene.strengths, scene.size, samples, rng
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """A scene at one time: the contacts around it, in seconds and strengths.

    Attributes:
      index: contacts so far.
      since: seconds since the last contact, infinite before the first.
      until: seconds to the next contact, infinite after the last.
      gap: seconds between those two, infinite where one is missing.
      strength: of the last contact, 0 before the first; next_strength: of the next.
    """

    index: int
    since: float
    until: float
    gap: float
    strength: float
    next_strength: float

    @property
    def flash(self) -> float:
        """Brightness of the struck object: 1 at contact, falling to 1/e in 90 ms."""
        return float(np.exp(-self.since / 0.09)) if np.isfinite(self.since) else 0.0


def describe_moment(scene: Scene, time: float) -> Moment:
    """The scene at `time`: the contacts before and after it."""
    index = int(np.searchsorted(scene.onsets, time + 1e-9))
    before, after = index > 0, index < len(scene.onsets)
    since = time - scene.onsets[index - 1] if before else np.inf
    until = scene.onsets[index] - time if after else np.inf
    return Moment(
        index=index,
        since=float(since),
        until=float(until),
        gap=float(since + until),
        strength=float(scene.strengths[index - 1]) if before else 0.0,
        next_strength=float(scene.strengths[index]) if after else 0.6,
    )
