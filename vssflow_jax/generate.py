"""The one way to make sound: a checkpoint, a codec and encoders -> waveforms.

Legend: B clips, W windows a clip, G + 1 guidance branches, L latent frames, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import clips, conditions, media, pretrained
from vssflow_jax.audio.codec import digest, load_codec
from vssflow_jax.data import pipeline
from vssflow_jax.errors import InputError
from vssflow_jax.flow import guidance, solvers, windows
from vssflow_jax.models import vssflow
from vssflow_jax.text import timing
from vssflow_jax.text.schedule import SPEECH_START, predicted, schedule
from vssflow_jax.training import checkpoint

LONGEST = 3600.0  # seconds of sound that one call makes
OVERLAP = 25  # latent frames that neighbouring windows share: one second


@dataclasses.dataclass(frozen=True)
class Output:
    """What a call gives.

    Attributes:
      wave: float32 [samples] in [-1, 1].
      sample_rate: samples a second.
      report: JSON-able: duration, conditions used and missing, phoneme times, warnings, seed.
      video: the silent video's path, or None.
    """

    wave: np.ndarray
    sample_rate: int
    report: dict
    video: Path | None = None

    def save(self, path: str | Path) -> None:
        """Writes `path`: a .wav, or the video with its sound and a .wav beside it."""
        path = Path(path)
        if path.suffix.lower() == ".wav":
            media.write_wav(path, self.wave, self.sample_rate)
            return
        if self.video is None:
            raise InputError(
                f"--out={path}: found no video to put the sound in, expected a .wav name"
            )
        media.mux(self.video, self.wave, self.sample_rate, path)
        media.write_wav(path.with_suffix(".wav"), self.wave, self.sample_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to integrate: solver, its steps, and the guidance groups."""

    solver: str
    steps: int
    groups: guidance.Groups


class Generator:
    """Generates waveforms from conditions; see `from_workdir` and `__call__`.

    Args:
      config: the run's config.
      params: weights to sample with (the moving average).
      codec: latent to waveform.
      statistics: of the training split: `phoneme_durations`, the features' `rates`, and the
        name of their set of `encoders`.
      step: of the checkpoint that the weights are from.
    """

    def __init__(self, config, params, codec, statistics: Mapping, step: int = 0):
        self.config = config
        self.params = params
        self.codec = jax.device_put(codec)  # once, and not at every call
        self.statistics = statistics
        self.settings = clips.Settings(encoder_set=statistics.get("encoders", "embedded"))
        self.step = step
        self.model = vssflow.build(config, codec.channels)
        self._sample = jax.jit(self._solve, static_argnames=("sampling", "length", "first"))
        self._decode = jax.jit(lambda codec, latent: codec.decode(latent))

    @classmethod
    def from_workdir(cls, workdir: str | Path, step: int | None = None) -> Generator:
        """The generator of a run's newest (or given) checkpoint, a conversion or an export.

        Args:
          workdir: the folder, or the name of a model that comes with the package.
          step: of a run's checkpoint; None: the newest.

        Raises:
          InputError: no checkpoint there, or a codec other than the one it was trained with.
        """
        workdir = pretrained.locate(workdir)
        params, step, found = checkpoint.load_weights(workdir, step)
        config = checkpoint.read_config(workdir)
        codec = load_codec(workdir / "codec")
        statistics = json.loads((workdir / "statistics.json").read_text())
        if found:  # published weights do not say what codec is theirs
            expected = {"codec": digest(codec)}
            checkpoint.check_identity(found, expected, f"{workdir}: checkpoint {step}")
        return cls(config, params, codec, statistics, step)

    @classmethod
    def from_pretrained(cls, name: str) -> Generator:
        """The generator of a model that comes with the package.

        Raises:
          InputError: there is none of this name.
        """
        if name not in pretrained.names():
            raise InputError(f"model: found {name!r}, expected one of {pretrained.names()}")
        return cls.from_workdir(pretrained.folder(name))

    def __call__(
        self,
        video: str | Path | None = None,
        text: str | None = None,
        *,
        speaker: str | Path | None = None,
        speech_start: float | None = None,
        speech_end: float | None = None,
        duration: float | None = None,
        seed: int = 0,
        solver: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Output:
        """Sound for a video, speech for a text, or both.

        Args:
          video: a media file; its own sound is not used.
          text: what is said.
          speaker: an audio file with the voice to imitate.
          speech_start: seconds; default: near the start.
          speech_end: seconds; default: the natural length at the training set's pace.
          duration: seconds of sound; default: the video's, or what the text needs.
          seed: of the noise.
          solver: default: the run's config; so are `steps` and `guidance`.

        Raises:
          InputError: nothing to go by, unreadable files, or text that cannot fit.
        """
        if video is None and text is None:
            raise InputError("found neither --video nor --text, expected at least one of them")
        times = {"duration": duration, "speech_start": speech_start, "speech_end": speech_end}
        check_seconds(times)
        if video is not None:  # sound covers whole latent frames, in training data as here
            duration = duration or whole_frames(media.probe(video).duration)
        spoken, warnings = (), []
        if text is not None:
            durations = self.statistics["phoneme_durations"]
            spoken, warnings = schedule(text, speech_start, speech_end, duration, durations)
            duration = duration or spoken[-1].end + SPEECH_START
        elif speech_start is not None or speech_end is not None:
            raise InputError("found --speech_start or --speech_end without --text")
        name, length = "clip", conditions.latent_frames(duration)
        record = {"phonemes": timing.to_grid(spoken, length)}
        if video is not None:
            name = clips.source(video)
            window = clips.Window(id=name, start=0.0, frames=length)
            made, said = clips.seen(video, None, window, self.settings, speaks=text is not None)
            record |= made
            warnings += [said[clips.MOUTH_NOTE]] if clips.MOUTH_NOTE in said else []
        if speaker is not None:
            record["speaker"] = read_voice(speaker, self.settings.encoder_set)
        sampling = self.sampling(solver, steps, guidance)
        wave = self.generate([record], [name], self.padded(length), seed, sampling)[0]
        samples = round(duration * self.codec.sample_rate)
        wave = np.pad(wave[:samples], (0, max(samples - len(wave), 0)))
        used = [
            name for name in conditions.NAMES if name in record and (name != "phonemes" or text)
        ]
        report = {
            "duration": duration,
            "used": used,
            "missing": [name for name in conditions.NAMES if name not in used],
            "alignment": [list(interval) for interval in spoken],
            "warnings": warnings,
            "seed": seed,
            "solver": sampling.solver,
            "steps": sampling.steps,
            "guidance": [[list(names), scale] for names, scale in sampling.groups],
        }
        return Output(wave, self.codec.sample_rate, report, None if video is None else Path(video))

    def sampling(self, solver=None, steps=None, scale=None) -> Sampling:
        """How to integrate: arguments where given, else the run's config."""
        sample = self.config.sample
        solver = solver or sample.solver
        steps = sample.steps if steps is None else steps
        scale = sample.guidance if scale is None else scale
        if solver not in solvers.SOLVERS:
            raise InputError(f"--solver: found {solver!r}, expected one of {solvers.SOLVERS}")
        if not math.isfinite(scale):
            raise InputError(f"--guidance: found {scale}, expected a finite number")
        if steps < 1:
            raise InputError(f"--steps: found {steps}, expected at least 1")
        route = conditions.ROUTES[self.config.model.route]
        own = {name: value for name, value in sample.scales.items() if value and name in route.used}
        return Sampling(solver=solver, steps=steps, groups=guidance.groups(route.used, scale, own))

    def batch(
        self,
        records: Sequence[Mapping],
        task: str | None = None,
        *,
        seed: int = 0,
        solver: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        batch_size: int = 16,
    ) -> list[np.ndarray]:
        """Waveforms for shard records, float32, each as long as its clip.

        Args:
          records: as `data.shards` reads them.
          task: "text" takes the video away and predicts the phoneme times; else as they are.
          seed: of the noise; a clip's noise depends on it and on the bytes of its media file
            (its `source`; its id in shards without one) alone.
          solver: default: the run's config; so are `steps` and `guidance`.
          batch_size: clips at a time.
        """
        sampling = self.sampling(solver, steps, guidance)
        if task == "text":
            records = [self.without_video(record) for record in records]
        records = [self.timed(record) for record in records]
        lengths = [conditions.latent_frames(r["meta"]["duration"]) for r in records]
        alike: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            alike.setdefault(self.padded(length), []).append(row)
        out: dict[int, np.ndarray] = {}
        for length, rows in alike.items():
            for at in range(0, len(rows), batch_size):
                some = rows[at : at + batch_size]
                full = some + some[:1] * (batch_size - len(some) if len(rows) > batch_size else 0)
                metas = [records[row]["meta"] for row in full]
                names = [meta.get("source", meta["id"]) for meta in metas]
                waves = self.generate([records[r] for r in full], names, length, seed, sampling)
                out |= zip(some, waves, strict=False)
        ends = [round(r["meta"]["duration"] * self.codec.sample_rate) for r in records]
        return [out[row][:end] for row, end in enumerate(ends)]

    def padded(self, length: int) -> int:
        """Latent frames at which a clip is made: whole seconds, but no window more for it.

        Few lengths need few compilations; and a clip sounds the same alone and among others.
        """
        trained = conditions.latent_frames(self.config.data.duration)
        second = conditions.LATENT_RATE
        return length if length > trained else min(-(-length // second) * second, trained)

    def without_video(self, record: Mapping) -> dict:
        """The record as text and voice alone, its phonemes at predicted times."""
        meta = record["meta"]
        kept = {key: value for key, value in record.items() if key not in conditions.VIDEO}
        spoken = predicted(meta, self.statistics["phoneme_durations"])
        kept["phonemes"] = timing.to_grid(spoken, conditions.latent_frames(meta["duration"]))
        return kept

    def timed(self, record: Mapping) -> Mapping:
        """The record; a text that neither sound nor alignment gives times to gets the run's."""
        meta = record["meta"]
        if "wave" in record or "text" not in meta or "alignment" in meta:
            return record
        spoken = predicted(meta, self.statistics["phoneme_durations"])
        length = conditions.latent_frames(meta["duration"])
        return {**record, "phonemes": timing.to_grid(spoken, length)}

    def generate(
        self,
        records: Sequence[Mapping],
        ids: Sequence[str],
        length: int,
        seed: int,
        sampling: Sampling,
    ) -> list[np.ndarray]:
        """Waveforms [L * 640] of raw conditions; clips longer than trained go by windows."""
        trained = conditions.latent_frames(self.config.data.duration)
        window = min(length, trained)
        first = windows.starts(length, window, OVERLAP)
        spec = pipeline.BatchSpec.of(window / conditions.LATENT_RATE, self.statistics["rates"])
        examples = [
            pipeline.example(cut(record, start, self.statistics["rates"]), spec)
            for record in records
            for start in first
        ]
        batch = pipeline.stack(examples)
        noise = jnp.stack([draw_noise(name, seed, length, self.codec.channels) for name in ids])
        latent = self._sample(
            self.params,
            batch["features"],
            batch["present"],
            noise,
            sampling=sampling,
            length=window,
            first=tuple(int(start) for start in first),
        )
        waves = np.asarray(self._decode(self.codec, latent))
        return [np.clip(wave, -1, 1).astype(np.float32) for wave in waves]

    def _solve(self, params, features, present, noise, *, sampling, length, first):
        """Noise [B, L, C] to latent [B, L, C] under conditions of B * W windows."""
        groups, first = sampling.groups, np.asarray(first)
        on = [sum((names for names, _ in groups), ())]
        if not guidance.unguided(groups):
            on = guidance.branches(groups)
        tiled = jax.tree.map(lambda x: jnp.tile(x, (len(on),) + (1,) * (x.ndim - 1)), features)
        keep = {
            name: jnp.concatenate([present[name] * (name in names) for names in on])
            for name in present
        }
        apply = functools.partial(self.model.apply, {"params": params})
        conditioned = apply(tiled, keep, length, method="condition")

        def velocity(x, t):  # [G' B, L, C], [G' B]
            cut = windows.split(x, first, length)
            out = apply(cut, jnp.repeat(t, len(first)), conditioned, method="velocity")
            return windows.blend(out, first, x.shape[1], OVERLAP)

        guided = guidance.guided(velocity, groups)
        return solvers.solve(guided, noise, sampling.solver, sampling.steps)


def whole_frames(seconds: float) -> float:
    """The nearest length of whole latent frames, at least one, in seconds."""
    return max(conditions.latent_frames(seconds), 1) / conditions.LATENT_RATE


def check_seconds(times: Mapping[str, float | None]) -> None:
    """Raises an InputError for a time that no clip can have; None is any."""
    for name, seconds in times.items():
        if seconds is not None and not 0 <= seconds <= LONGEST:
            raise InputError(f"--{name}: found {seconds:g} s, expected 0 to {LONGEST:g} s")
    if times["duration"] == 0:
        raise InputError("--duration: found 0 s, expected more")


def cut(record: Mapping, start: int, rates: Mapping[str, float | None]) -> dict:
    """A record from latent frame `start` on."""
    out = dict(record)
    for name in conditions.NAMES:
        rate = rates.get(name)
        if name in record and rate is not None:
            out[name] = record[name][round(start / conditions.LATENT_RATE * rate) :]
    return out


def draw_noise(name: str, seed: int, length: int, channels: int) -> jax.Array:
    """Noise of one clip, [length, channels], from its id and the seed alone.

    Drawn a frame at a time, so that a clip's noise does not change with its padding.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    keys = jax.vmap(lambda frame: jax.random.fold_in(key, frame))(jnp.arange(length))
    return jax.vmap(lambda k: jax.random.normal(k, (channels,)))(keys)


def read_voice(path: str | Path, encoder_set: str) -> np.ndarray:
    """Speaker embedding float16 [256] of a reference voice.

    Raises:
      InputError: not audio, or silence.
    """
    try:
        return clips.read_voice(path, encoder_set)
    except InputError as error:
        raise InputError(f"--speaker={error}") from None
