"""The one way to make sound: a checkpoint, a codec and encoders -> waveforms.

Legend: B clips, W windows a clip, G + 1 guidance branches, L latent frames, C channels.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import bundled, conditions
from vssflow_jax.codecs.interface import hash_codec, load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import pipeline
from vssflow_jax.flow import guidance, solvers, windows
from vssflow_jax.generation import durations
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import STEMS, Request, Voices, conditions_of, cut, stem, voiced
from vssflow_jax.generation.sampling import Sampling, check_seed, choose
from vssflow_jax.generation.windowed import by_windows
from vssflow_jax.models import folded, vssflow
from vssflow_jax.preparation import examples
from vssflow_jax.text.alignment import predict_alignment
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.script import Utterance
from vssflow_jax.training import checkpoint

OVERLAP = 25  # latent frames that neighbouring windows share: one second
TOGETHER = 6  # windows that go through the network at once, or one of each clip
HELD = 64  # windows whose conditions are held at once, or those of one clip
Progress = Callable[[float], None]


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
        self.codec = jax.device_put(codec)  # once, and not at every call
        self.statistics = dict(statistics)
        self.settings = examples.ExampleSettings(encoder_set=statistics.get("encoders", "built-in"))
        self.step = step
        self.model = vssflow.build_model(config, codec.channels)
        self.network = folded.folded_network(self.model)
        self.params = params
        self._sample = jax.jit(self._solve, static_argnames=("sampling", "length", "turns", "told"))
        self._decode = jax.jit(lambda codec, latent: codec.decode(latent))

    @property
    def params(self):
        """Weights to sample with, as checkpoints have them."""
        return self._params

    @params.setter
    def params(self, params) -> None:
        self._params, self._folded = params, folded.fold_params(self.model, params)
        self.statistics["phoneme_durations"] = durations.pace(self.config, params, self.statistics)

    @classmethod
    def from_workdir(cls, workdir: str | Path, step: int | None = None) -> Generator:
        """The generator of a run's newest (or given) checkpoint, a conversion or an export.

        Args:
          workdir: the folder, or the name of a model that comes with the package.
          step: of a run's checkpoint; None: the newest.

        Raises:
          InputError: no checkpoint there, or a codec other than the one it was trained with.
        """
        workdir = bundled.locate(workdir)
        params, step, found = checkpoint.load_weights(workdir, step)
        config = checkpoint.read_config(workdir)
        codec = load_codec(workdir / "codec")
        statistics = json.loads((workdir / "statistics.json").read_text())
        if found:  # published weights do not say what codec is theirs
            expected = {"codec": hash_codec(codec)}
            checkpoint.check_identity(found, expected, f"{workdir}: checkpoint {step}")
        return cls(config, params, codec, statistics, step)

    @classmethod
    def from_pretrained(cls, name: str) -> Generator:
        """The generator of a model that comes with the package.

        Raises:
          InputError: there is none of this name.
        """
        if name not in bundled.names():
            raise InputError(f"model: found {name!r}, expected one of {bundled.names()}")
        return cls.from_workdir(bundled.folder(name))

    def __call__(
        self,
        video: str | Path | None = None,
        text: str | None = None,
        *,
        script: Sequence[Utterance | Mapping] | None = None,
        speaker: str | Path | None = None,
        task: str | None = None,
        speech_start: float | None = None,
        speech_end: float | None = None,
        duration: float | None = None,
        seed: int = 0,
        solver: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        scales: Mapping[str, float] | None = None,
        stems: bool = False,
        progress: Progress | None = None,
    ) -> Output:
        """Sound for a video, speech for a text, or both.

        Args:
          video: a media file; its own sound is not used.
          text: what is said.
          script: instead of `text` several utterances, or dictionaries of their fields.
          speaker: an audio file with the voice to imitate, where the script names no other.
          task: "speech" to leave out other sounds of a video; else what video and text say.
          speech_start: seconds; default: near the start.
          speech_end: seconds; default: the natural length at the training set's pace.
          duration: seconds of sound; default: the video's, or what the text needs.
          seed: of the noise.
          solver: default: the run's config; so are `steps` and `guidance`.
          scales: guidance of single conditions.
          stems: whether speech and sound are wanted by themselves too, from the same noise.
          progress: is told how far the solver is, from 0 to 1.

        Raises:
          InputError: nothing to go by, unreadable files, or text that cannot fit.
        """
        request = Request.of(
            video,
            text,
            script,
            speaker,
            task,
            duration=duration,
            speech_start=speech_start,
            speech_end=speech_end,
        )
        sampling = self.sampling(solver, steps, guidance, scales)
        return self.variants(request, [seed], sampling, stems=stems, progress=progress)[0]

    def variants(
        self,
        request: Request,
        seeds: Sequence[int],
        sampling: Sampling,
        *,
        stems: bool = False,
        progress: Progress | None = None,
    ) -> list[Output]:
        """One output a seed, all in one batch; see `__call__`."""
        for seed in seeds:
            check_seed(seed)
        wanted = conditions_of(request, self.settings, self.statistics)
        parts = {"": wanted.record}
        if stems and request.video and request.script and request.task != "speech":
            parts |= {name: stem(wanted.record, names) for name, names in STEMS.items()}
        waves = self.generate(
            [part for _ in seeds for part in parts.values()],
            [wanted.name] * (len(seeds) * len(parts)),
            self.padded(wanted.length),
            [seed for seed in seeds for _ in parts],
            sampling,
            voices=wanted.voices,
            progress=progress,
        )
        samples = round(wanted.duration * self.codec.sample_rate)
        waves = [np.pad(wave[:samples], (0, max(samples - len(wave), 0))) for wave in waves]
        report = {
            "duration": wanted.duration,
            "used": wanted.used,
            "missing": [name for name in conditions.NAMES if name not in wanted.used],
            "alignment": [list(interval) for interval in wanted.intervals],
            "spans": [list(span) for span in wanted.spans],
            "warnings": wanted.warnings,
            "solver": sampling.solver,
            "steps": sampling.steps,
            "guidance": [[list(names), scale] for names, scale in sampling.groups],
        }
        outputs = []
        for number, seed in enumerate(seeds):
            made = dict(zip(parts, waves[number * len(parts) :], strict=False))
            whole = made.pop("")
            if stems and not made:  # one kind of sound alone is its own stem
                made = {"speech" if request.script else "sound": whole}
            told = report | {"seed": seed}
            outputs.append(Output(whole, self.codec.sample_rate, told, request.video, made))
        return outputs

    def sampling(self, solver=None, steps=None, scale=None, scales=None) -> Sampling:
        """How to integrate: arguments where given, else the run's config."""
        return choose(self.config, solver, steps, scale, scales)

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
        check_seed(seed)
        sampling = self.sampling(solver, steps, guidance)
        if task == "text":
            records = [self.without_video(record) for record in records]
        records = [self.timed(record) for record in records]
        lengths = [conditions.num_latent_frames(r["meta"]["duration"]) for r in records]
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
                rows_of = [records[r] for r in full]
                waves = self.generate(rows_of, names, length, [seed] * len(full), sampling)
                out |= zip(some, waves, strict=False)
        ends = [round(r["meta"]["duration"] * self.codec.sample_rate) for r in records]
        return [out[row][:end] for row, end in enumerate(ends)]

    def padded(self, length: int) -> int:
        """Latent frames at which a clip is made: whole seconds, but no window more for it.

        Few lengths need few compilations; and a clip sounds the same alone and among others.
        A clip of several windows is made as far as whole windows reach.
        """
        trained = conditions.num_latent_frames(self.config.data.duration)
        second = conditions.LATENT_RATE
        if length <= trained:
            return min(-(-length // second) * second, trained)
        first = windows.window_starts(length, trained, OVERLAP)
        return OVERLAP + len(first) * int(first[1])

    def without_video(self, record: Mapping) -> dict:
        """The record as text and voice alone, its phonemes at predicted times."""
        kept = {key: value for key, value in record.items() if key not in conditions.VIDEO}
        return kept | {"phonemes": self._predicted(record)}

    def timed(self, record: Mapping) -> Mapping:
        """The record; a text that neither sound nor alignment gives times to gets the run's."""
        meta = record["meta"]
        if "wave" in record or "text" not in meta or "alignment" in meta:
            return record
        return {**record, "phonemes": self._predicted(record)}

    def _predicted(self, record: Mapping) -> np.ndarray:
        meta = record["meta"]
        said = predict_alignment(meta, self.statistics["phoneme_durations"], record.get("speaker"))
        return phonemes_to_frames(said, conditions.num_latent_frames(meta["duration"]))

    def generate(
        self,
        records: Sequence[Mapping],
        ids: Sequence[str],
        length: int,
        seeds: Sequence[int],
        sampling: Sampling,
        *,
        voices: Voices | None = None,
        progress: Progress | None = None,
    ) -> list[np.ndarray]:
        """Waveforms [L * 640] of raw conditions; clips longer than trained go by windows.

        Where there are voices, a window is made once with each that speaks in it. Clips of many
        windows go one after another, so that memory does not grow with their number.
        """
        window = min(length, conditions.num_latent_frames(self.config.data.duration))
        plan = windows.plan_windows(
            length, window, OVERLAP, None if voices is None else voices.frames
        )
        size = max(HELD // len(plan.first), 1)
        firsts, waves = range(0, len(records), size), []
        for done, first in enumerate(firsts):
            some = slice(first, first + size)
            told = None
            if progress is not None:
                told = functools.partial(_tell_part, progress, done, len(firsts))
            made = self._together(
                records[some], ids[some], length, seeds[some], sampling, plan, voices, told
            )
            waves += [np.clip(wave, -1, 1).astype(np.float32) for wave in made]
        if progress is not None:
            progress(1.0)
        return waves

    def _together(
        self, records, ids, length, seeds, sampling, plan: windows.WindowPlan, voices, progress
    ) -> np.ndarray:
        """Waveforms [B, L * 640] of clips that go through the solver together."""
        window = plan.weight.shape[1]
        rates = self.statistics["rates"]
        spec = pipeline.BatchSpec.from_duration(window / conditions.LATENT_RATE, rates)
        given = pipeline.stack_examples(
            [
                pipeline.make_example(cut(voiced(record, voices, voice), start, rates), spec)
                for record in records
                for start, voice in zip(plan.first, plan.voice, strict=True)
            ]
        )
        given = jax.device_put({name: given[name] for name in ("features", "present")})
        channels = self.codec.channels
        pairs = zip(ids, seeds, strict=True)
        noise = jnp.stack([draw_noise(name, seed, length, channels) for name, seed in pairs])
        self._progress = progress
        latent = self._sample(
            self._folded,
            given["features"],
            given["present"],
            noise,
            plan,
            np.float32([scale for _, scale in sampling.groups]),
            sampling=sampling.unscaled(),
            length=window,
            turns=-(-len(records) * len(plan.first) // max(TOGETHER, len(records))),
            told=progress is not None,
        )
        jax.block_until_ready(latent)  # or the memory of both programs would add up
        waves = np.asarray(self._decode(self.codec, latent))
        if progress is not None:
            jax.effects_barrier()  # no report comes after those of the next clips
        return waves

    def _tell(self, t) -> None:
        """Is called from the compiled solver with its time, from 0 to 1."""
        self._progress(float(t))

    def _solve(
        self, params, features, present, noise, plan, scales, *, sampling, length, turns, told=False
    ):
        """Noise [B, L, C] to latent [B, L, C] under conditions of B * W windows.

        Scales and windows are data, so that other ones need no compilation.
        """
        velocity = by_windows(
            functools.partial(self.network.apply, {"params": params}),
            functools.partial(folded.count_unconditional, self.model),
            sampling.branches,
            (features, present),
            plan,
            length=length,
            turns=turns,
        )
        guided = guidance.make_guided_velocity(velocity, sampling.groups, scales)

        def watched(x, t):
            jax.debug.callback(self._tell, t)
            return guided(x, t)

        return solvers.solve(watched if told else guided, noise, sampling.solver, sampling.steps)


def _tell_part(progress: Progress, done: int, parts: int, fraction: float) -> None:
    """Says how far all parts are, of one that is so far."""
    progress((done + fraction) / parts)


def draw_noise(name: str, seed: int, length: int, channels: int) -> jax.Array:
    """Noise of one clip, [length, channels], from its id and the seed alone.

    Drawn a frame at a time, so that a clip's noise does not change with its padding.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    keys = jax.vmap(lambda frame: jax.random.fold_in(key, frame))(jnp.arange(length))
    return jax.vmap(lambda k: jax.random.normal(k, (channels,)))(keys)
