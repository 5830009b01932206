"""Raw conditions to waveforms: windows, noise, solver, codec.

Legend: B clips, W windows a clip, G + 1 guidance branches, L latent frames, C channels.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.common.waves import cut_or_pad
from vssflow_jax.data import pipeline
from vssflow_jax.flow import inpainting, sampler, solvers, windows
from vssflow_jax.generation.conditioning import Voices
from vssflow_jax.generation.editing import LOOP_CONTEXT, join_loop
from vssflow_jax.models import folded, vssflow
from vssflow_jax.models.windowed import windowed_velocity

OVERLAP = 25  # latent frames that neighboring windows share: one second
MAX_WINDOWS_AT_ONCE = 6  # through the network, but at least one of each clip
MAX_WINDOWS_IN_MEMORY = 64  # whose conditions are in memory, but at least those of one clip
Progress = Callable[[float], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Clips of one length that are generated together.

    Attributes:
      records: raw conditions by name, like a shard's, one a clip.
      noise_ids: what the noise of each clip is drawn from, beside its seed.
      seeds: of the noise, one a clip.
      num_frames: latent frames of each clip, L.
      voices: of clips with several speakers; None: the voice in each record.
      known: frames that keep their latent, the same in all clips; None: all are generated.
      prefix: frames at the start that every window sees, and that are cut off the waveforms.
      is_loop: whether the end of the clips joins their start.
    """

    records: Sequence[Mapping]
    noise_ids: Sequence[str]
    seeds: Sequence[int]
    num_frames: int
    voices: Voices | None = None
    known: inpainting.Known | None = None
    prefix: int = 0
    is_loop: bool = False

    def plan_windows(self, max_window: int) -> windows.WindowPlan:
        """The windows of each clip, of at most this many frames."""
        return windows.plan_windows(
            self.num_frames,
            min(self.num_frames, max_window),
            OVERLAP,
            None if self.voices is None else self.voices.frames,
            prefix=self.prefix,
            is_loop=self.is_loop,
        )

    def split(self, size: int) -> Iterator[Job]:
        """Jobs of at most `size` clips."""
        for first in range(0, len(self.records), size):
            rows = slice(first, first + size)
            yield dataclasses.replace(
                self,
                records=self.records[rows],
                noise_ids=self.noise_ids[rows],
                seeds=self.seeds[rows],
            )


class Synthesizer:
    """The network and codec of a run, compiled once for each shape of a job.

    Args:
      config: the run's config.
      params: of the network.
      codec: latent to waveform.
      statistics: the features' `rates` and `widths` by condition (see `Generator`).
      dtype: of the network's computation.
    """

    def __init__(self, config, params: Mapping, codec, statistics: Mapping, dtype: str):
        self.codec = jax.device_put(codec)  # once, not at every call
        self.statistics = statistics
        self.max_window = conditions.num_latent_frames(config.data.duration)
        self.model = vssflow.build_model(config, codec.channels, dtype=dtype)
        self.set_params(params)
        self._solve = jax.jit(self._solve_ode, static_argnames=("sampling", "is_watched"))
        self._encode = jax.jit(lambda codec, wave: codec.encode(wave)[0])
        self._decode = jax.jit(lambda codec, latent: codec.decode(latent))
        self._decoders: dict[tuple[int, ...], concurrent.futures.Future] = {}
        self._compiler = concurrent.futures.ThreadPoolExecutor(1, "decoder")
        self._watch: SolverWatch | None = None

    def set_params(self, params: Mapping) -> None:
        """Sets the network's parameters."""
        self._folded = folded.fold_params(self.model, params)

    def release_weights(self) -> None:
        """Drops the network's parameters; what is compiled stays."""
        self._folded = None

    def padded_frames(self, num_frames: int, prefix: int = 0) -> int:
        """Latent frames with which a clip is generated: whole seconds, within as many windows.

        Few lengths need few compilations, and a clip sounds the same alone and among others. A
        clip of several windows is padded to the end of the last one. `prefix` frames at the start
        of every window are not counted.
        """
        second, window = conditions.LATENT_RATE, self.max_window - prefix
        if num_frames <= window:
            return min(-(-num_frames // second) * second, window)
        starts = windows.window_starts(num_frames, window, OVERLAP)
        return OVERLAP + len(starts) * int(starts[1])

    def encode(self, wave: np.ndarray) -> jax.Array:
        """The latent [L, C] of a wave in the codec's format, float32 [n] or [n, A]."""
        return self._encode(self.codec, wave[None])[0]

    def __call__(
        self, job: Job, sampling: sampler.Sampling, progress: Progress | None = None
    ) -> list[np.ndarray]:
        """Waveforms in the codec's format, float32 [n] or [n, A] in [-1, 1], of a job's clips.

        Clips longer than the training clips are denoised in overlapping windows. Clips of many
        windows are generated one after another, so that memory does not grow with their number.

        Args:
          job: the clips.
          sampling: how to integrate.
          progress: is called before each step of the solver, and with 1 at the end. An exception
            that it raises ends the solver after this step, and is raised here.
        """
        plan = job.plan_windows(self.max_window)
        parts = list(job.split(max(MAX_WINDOWS_IN_MEMORY // len(plan.voice), 1)))
        waves = []
        for number, part in enumerate(parts):
            if not job.is_loop:  # its decoder is compiled while the solver is; a loop's is longer
                self._find_decoder((len(part.records), job.num_frames, self.codec.channels))
            watch = SolverWatch(progress, number, len(parts)) if progress else None
            latent = self._solve_job(part, plan, sampling, watch)
            decode = self._decode_loop if job.is_loop else self._decode_latent
            first = job.prefix * self.codec.sample_rate // conditions.LATENT_RATE
            waves += [np.clip(wave, -1, 1).astype(np.float32)[first:] for wave in decode(latent)]
        if progress is not None:
            progress(1.0)
        return waves

    def _solve_job(
        self,
        job: Job,
        plan: windows.WindowPlan,
        sampling: sampler.Sampling,
        watch: SolverWatch | None,
    ) -> jax.Array:
        """Latents [B, L, C] of clips whose conditions are in memory together.

        Raises:
          InputError: the solver did not reach a finite latent.
          Exception: what the progress raised.
        """
        batch = jax.device_put(stack_windows(job, plan, self.statistics))
        self._watch = watch
        solution = self._solve(
            self._folded,
            batch,
            draw_noises(job, self.codec.channels),
            plan,
            np.float32(sampling.scales),
            job.known,
            sampling=sampling.without_scales(),
            is_watched=watch is not None,
        )
        jax.block_until_ready(solution)  # or the memory of both programs would add up
        if watch is not None and watch.error is not None:
            raise watch.error
        solvers.check_solution(solution, sampling.solver)
        return solution.x

    def _solve_ode(
        self,
        params,
        batch,
        noise,
        plan,
        scales,
        known: inpainting.Known | None,
        *,
        sampling: sampler.Sampling,
        is_watched: bool,
    ) -> solvers.Solution:
        """Noise [B, L, C] to latent [B, L, C] under conditions of B * W windows.

        Scales, windows and known frames are data, so that other ones need no compilation.
        """
        count, num_windows = len(noise), len(noise) * len(plan.voice)
        make_velocity = functools.partial(
            windowed_velocity,
            self.model,
            params,
            conditions=(batch["features"], batch["present"]),
            plan=plan,
            num_chunks=-(-num_windows // max(MAX_WINDOWS_AT_ONCE, count)),
            scales=None if sampling.student is None else scales,
        )
        return sampler.integrate(
            sampling,
            make_velocity(sampling.branches),
            noise,
            scales,
            conditional=make_velocity(sampling.branches[-1:]) if sampling.limited else None,
            monitor=self._goes_on if is_watched else None,
            known=known,
        )

    def _goes_on(self, t: jax.Array) -> bool:
        """What the watch of the job says that runs: programs outlive jobs."""
        return self._watch.goes_on(float(t))

    def _find_decoder(self, shape: tuple[int, ...]) -> concurrent.futures.Future:
        """The compiled decoder for latents [B, L, C]; a thread compiles it if it is a new one."""
        if shape not in self._decoders:
            lower = functools.partial(self._decode.lower, self.codec)
            latent = jax.ShapeDtypeStruct(shape, jnp.float32)
            self._decoders[shape] = self._compiler.submit(lambda: lower(latent).compile())
        return self._decoders[shape]

    def _decode_latent(self, latent: jax.Array) -> np.ndarray:
        """Waveforms [B, n] or [B, n, A] of latents [B, L, C]."""
        decode = self._find_decoder(latent.shape).result()
        (_, place), _ = decode.input_shardings  # weights on a mesh leave the latent on all of it
        return np.asarray(decode(self.codec, jax.device_put(latent, place)))

    def _decode_loop(self, latent: jax.Array) -> np.ndarray:
        """Waveforms of loops: decoded with what comes before and after, and faded into themselves.

        What follows the end in the decoded wave fades into the start, so that it goes on there.
        """
        length = latent.shape[1]
        context = min(LOOP_CONTEXT, length)
        frames = np.arange(-context, length + context) % length
        waves = self._decode_latent(latent[:, frames])
        hop = waves.shape[1] // len(frames)
        first, last = context * hop, (context + length) * hop
        loops = [join_loop(wave[first:last], wave[last:], self.codec.sample_rate) for wave in waves]
        return np.stack(loops)


class SolverWatch:
    """Reports the progress of the solver over all parts of a job, of which it runs one.

    Args:
      progress: is called with the fraction.
      number: of the part.
      num_parts: of the job.

    Attributes:
      error: what the progress raised. A compiled program cannot pass it on.
    """

    def __init__(self, progress: Progress, number: int, num_parts: int):
        self.progress, self.number, self.num_parts = progress, number, num_parts
        self.error: BaseException | None = None

    def goes_on(self, t: float) -> bool:
        """Reports the time of a step; whether there was no error."""
        try:
            self.progress((self.number + t) / self.num_parts)
        except BaseException as error:
            self.error = error
        return self.error is None


def stack_windows(job: Job, plan: windows.WindowPlan, statistics: Mapping) -> dict:
    """Features, and whether they are present, of every window: [B * W, ...] by name."""
    rates = statistics["rates"]
    spec = pipeline.BatchSpec.from_duration(
        plan.window / conditions.LATENT_RATE, rates, statistics.get("widths")
    )
    batch = pipeline.stack_examples(
        [
            pipeline.make_example(
                crop_record(with_voice(record, job.voices, voice), frames, rates), spec
            )
            for record in job.records
            for frames, voice in zip(plan.frames, plan.voice, strict=True)
        ]
    )
    return {name: batch[name] for name in ("features", "present")}


def with_voice(record: Mapping, voices: Voices | None, number: int) -> dict:
    """The record with one of the voices, if it has a voice at all."""
    out = dict(record)
    if voices is not None and out.pop("speaker", None) is not None:
        embedding = voices.embeddings[number]
        out |= {} if embedding is None else {"speaker": embedding}
    return out


def crop_record(record: Mapping, frames: np.ndarray, rates: Mapping[str, float | None]) -> dict:
    """The conditions of a record in latent frames, int [window], that are runs of neighbors.

    The conditions' frames at the end of a run are those whose times round into it.
    """
    out = dict(record)
    edges = [0, *(np.flatnonzero(np.diff(frames) != 1) + 1).tolist(), len(frames)]
    for name in conditions.NAMES:
        rate = rates.get(name)
        if name in record and rate is not None:
            scale = rate / conditions.LATENT_RATE
            runs = [
                _crop_run(record[name], int(frames[first]), first, last, scale)
                for first, last in itertools.pairwise(edges)
            ]
            out[name] = np.concatenate(runs)
    return out


def _crop_run(rows: np.ndarray, frame: int, first: int, last: int, scale: float) -> np.ndarray:
    """The rows of a window's frames `first` to `last`, which begin with `frame` of the clip.

    `scale` is rows a frame. Rows past the end are zeros.
    """
    start = round(frame * scale)
    return cut_or_pad(rows[start:], round(last * scale) - round(first * scale))


def draw_noises(job: Job, channels: int) -> jax.Array:
    """Noise of each clip of a job, float32 [B, L, C]."""
    pairs = zip(job.noise_ids, job.seeds, strict=True)
    return jnp.stack([draw_noise(name, seed, job.num_frames, channels) for name, seed in pairs])


def draw_noise(noise_id: str, seed: int, num_frames: int, channels: int) -> jax.Array:
    """Noise of one clip, float32 [L, C], from its id and the seed alone.

    Drawn a frame at a time, so that a clip's noise does not change with its padding.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(noise_id.encode()))
    keys = jax.vmap(lambda frame: jax.random.fold_in(key, frame))(jnp.arange(num_frames))
    return jax.vmap(lambda k: jax.random.normal(k, (channels,)))(keys)
