"""The generator: requests or shard records to waveforms, from a run's checkpoint and codec."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import bundled, conditions
from vssflow_jax.codecs.interface import audio_format, check_rate, hash_latents, load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import read_json
from vssflow_jax.common.waves import cut_or_pad, to_mono
from vssflow_jax.data import shards
from vssflow_jax.evaluation.metrics.lip_agreement import correlate_lips
from vssflow_jax.features.registry import name_encoders, read_encoder_set
from vssflow_jax.flow.inpainting import Known
from vssflow_jax.flow.sampler import Sampling
from vssflow_jax.generation.conditioning import (
    RequestConditions,
    encode_request,
    find_duration,
)
from vssflow_jax.generation.cue_onsets import move_cues
from vssflow_jax.generation.durations import build_duration_model
from vssflow_jax.generation.editing import KeptSound
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.precision import resolve_precision
from vssflow_jax.generation.prompting import EncodedPrompt, encode_prompt
from vssflow_jax.generation.provenance import MODEL
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import LOOP_DRAWS, choose_loop
from vssflow_jax.generation.sampling import NUM_SEEDS, SamplingOptions, check_seed
from vssflow_jax.generation.stems import (
    LEVELS,
    STEMS,
    TOGETHER,
    JointSampling,
    describe_content,
    split_stems,
)
from vssflow_jax.generation.synthesis import Job, Progress, Synthesizer
from vssflow_jax.media import audibility
from vssflow_jax.text.alignment import predict_alignment
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.word_times import TimedUtterance, describe_times
from vssflow_jax.training import checkpoint

SAMPLING_FIELDS = {field.name for field in dataclasses.fields(SamplingOptions)}


def read_statistics(path: Path) -> dict:
    """What generation needs to know of a run's training data; see `Generator`.

    Raises:
      InputError: no such file, or values of a wrong type.
    """
    statistics = read_json(path, "the statistics of a run's data")
    rates, durations = statistics.get("rates"), statistics.get("phoneme_durations", {})
    if not (
        _are_positive(rates, optional=True)
        and _are_positive(statistics.get("widths", {}))
        and _are_positive(durations)
        and all(isinstance(statistics.get(name, ""), str) for name in ("encoders", "subwords"))
    ):
        raise InputError(f"{path}: broken, expected rates, phoneme_durations and encoders of a run")
    return statistics


def _are_positive(values: object, optional: bool = False) -> bool:
    """Whether it is an object of positive numbers; `optional`: or None."""
    return isinstance(values, Mapping) and all(
        (value is None and optional) or (isinstance(value, int | float) and 0 < value < math.inf)
        for value in values.values()
    )


class Generator:
    """Generates waveforms from conditions; see `from_workdir` and `__call__`.

    Args:
      config: the run's config.
      params: weights to sample with (the moving average).
      codec: latent to waveform.
      statistics: of the training split: `phoneme_durations`, the features' `rates` and `widths`,
        and the name of their set of `encoders`.
      step: of the checkpoint that the weights are from.
      precision: of the network's computation (`precision.sampling`); None: the run's.

    Attributes:
      dtype: of the network's computation, as the precision resolves on this machine.
    """

    def __init__(
        self,
        config,
        params,
        codec,
        statistics: Mapping,
        step: int = 0,
        precision: str | None = None,
    ):
        self.config = config
        self.statistics = statistics
        self.encoder_set = read_encoder_set(statistics)
        self.step = step
        self.dtype = resolve_precision(config.precision, precision)
        self.synthesizer = Synthesizer(config, params, codec, statistics, self.dtype)
        self.codec = self.synthesizer.codec
        self.durations = build_duration_model(config, params, statistics)
        self._params = params
        self._model_hash: str | None = None

    @property
    def params(self):
        """Weights to sample with, as checkpoints store them."""
        return self._params

    @params.setter
    def params(self, params) -> None:
        self._params, self._model_hash = params, None
        self.synthesizer.set_params(params)
        self.durations = build_duration_model(self.config, params, self.statistics)

    @property
    def model_hash(self) -> str:
        """16 hexadecimal digits of the weights, by which files say what generated them."""
        if self._model_hash is None:
            self._model_hash = checkpoint.hash_params(self._params)
        return self._model_hash

    def release_weights(self) -> None:
        """Drops the weights; what is compiled stays. Nothing generates until `params` is set."""
        self._params = None
        self.synthesizer.release_weights()

    @classmethod
    def from_workdir(
        cls, workdir: str | Path, step: int | None = None, precision: str | None = None
    ) -> Generator:
        """The generator of a run's newest checkpoint, of converted weights or of an export.

        Args:
          workdir: the folder, or the name of a bundled model ("default": the shipped one).
          step: of another checkpoint of a run; None: the newest.
          precision: of the network's computation (`precision.sampling`); None: the run's.

        Raises:
          InputError: no checkpoint there, a codec other than the one it was trained with, or an
            unknown precision.
        """
        workdir = bundled.find_workdir(workdir)
        params, step, identity = checkpoint.load_weights(workdir, step)
        if jax.default_backend() != "cpu":
            params = jax.device_get(params)  # the synthesizer's copy is the only one on the device
        config = checkpoint.read_config(workdir)
        codec = load_codec(workdir / "codec")
        check_rate(codec, f"{workdir / 'codec'}")
        statistics = read_statistics(workdir / "statistics.json")
        checkpoint.check_run(identity, config, hash_latents(codec), f"{workdir}: checkpoint {step}")
        return cls(config, params, codec, statistics, step, precision)

    @classmethod
    def from_pretrained(cls, name: str = bundled.DEFAULT) -> Generator:
        """The generator of a bundled model; by default the shipped one.

        Raises:
          InputError: there is none with this name.
        """
        names = [bundled.DEFAULT, *bundled.list_models()]
        if name not in names:
            raise InputError(f"model: found {name!r}, expected one of {names}")
        return cls.from_workdir(bundled.model_folder(name))

    def __call__(
        self,
        video: str | Path | None = None,
        text: str | None = None,
        *,
        seed: int = 0,
        stems: bool = False,
        progress: Progress | None = None,
        **options,
    ) -> Output:
        """Sound for a video, speech for a text, or both.

        Args:
          video: a media file; its own sound is not used.
          text: what is said.
          seed: of the noise; of a loop, the first of several, as `generate` says.
          stems: whether to generate speech and other sound separately as well, from the same
            noise.
          progress: is called with the progress of the solver, from 0 to 1, before each of its
            steps. What it raises ends the solver after this step and is raised here.
          **options: `script`, `speaker`, `task`, `duration`, `speech_start`, `speech_end`, `keep`,
            `redo`, `loop`, `prompt_audio` and the others of `Request.parse`; `solver`, `steps`,
            `grid`, `guidance`, `scales` and the others of `SamplingOptions`.

        Raises:
          InputError: neither video nor text, unreadable files, or text that does not fit.
          TypeError: an unknown option.
        """
        sampling = {name: options.pop(name) for name in SAMPLING_FIELDS & options.keys()}
        return self.generate(
            Request.parse(video, text, **options),
            seed,
            SamplingOptions(**sampling),
            stems=stems,
            progress=progress,
        )

    def generate(
        self,
        request: Request,
        seed: int = 0,
        options: SamplingOptions | None = None,
        *,
        stems: bool = False,
        progress: Progress | None = None,
    ) -> Output:
        """The output of a request; see `__call__`.

        A loop is the best of LOOP_DRAWS, of this seed and those that follow; its report has the
        seed that was kept. `generate_candidates` with one seed draws one loop alone.
        """
        check_seed(seed)
        draws = LOOP_DRAWS if request.edit.loop else 1
        seeds = [(seed + number) % NUM_SEEDS for number in range(draws)]
        outputs = self.generate_candidates(request, seeds, options, stems=stems, progress=progress)
        return choose_loop(outputs) if request.edit.loop else outputs[0]

    def generate_candidates(
        self,
        request: Request,
        seeds: Sequence[int],
        options: SamplingOptions | None = None,
        *,
        stems: bool = False,
        progress: Progress | None = None,
    ) -> list[Output]:
        """One output a seed, all in one batch; see `__call__`."""
        for seed in seeds:
            check_seed(seed)
        sampling = (options or SamplingOptions()).resolve(self.config)
        known = self._read_known_sound(request, stems)
        if request.edit.keep is not None:
            request = dataclasses.replace(request, duration=known.duration)
        kept = known if isinstance(known, KeptSound) else None
        encoded = encode_request(request, self.durations, self.encoder_set, self.statistics, kept)
        joint, joint_notes = self._choose_joint(options, known, encoded.record)
        has_both = request.video and request.script and request.task != "speech"
        is_apart = joint.applies_to(encoded.record)
        records = {} if is_apart else {"mix": encoded.record}
        if is_apart or (stems and has_both):
            records |= split_stems(encoded.record)
        job = self._make_job(request, encoded, list(records.values()), seeds, known)
        waves = self.synthesizer(job, sampling, progress)
        report = encoded.describe() | sampling.describe() | {"precision": self.dtype}
        report[MODEL] = self.model_hash
        report |= request.edit.describe() | ({} if known is None else known.describe())
        notes = () if known is None else known.notes
        if has_both:
            report |= joint.describe()
        elif request.script:
            report["speech_level"] = joint.speech_level
        report["warnings"] = [*report["warnings"], *sampling.warnings, *notes, *joint_notes]
        outputs = []
        for number, seed in enumerate(seeds):
            parts = waves[number * len(records) : (number + 1) * len(records)]
            fitted = [
                joint.set_speech_level(record, self._fit_duration(wave, encoded))
                for record, wave in zip(records.values(), parts, strict=True)
            ]
            fitted = fitted if known is None else [known.mix(wave) for wave in fitted]
            separate = dict(zip(records, fitted, strict=True))
            separate, utterances, cue_notes = self._move_cues(separate, encoded, known)
            facts = describe_times(utterances) if cue_notes else {}
            level_notes = []
            if is_apart:
                separate, level, level_notes = self._add_stems(joint, **separate)
                heard = audibility.measure_audibility(
                    separate["speech"], separate["sound"], self.codec.sample_rate
                )
                facts |= {"sound_level": round(level, 1), "speech_heard": round(heard, 2)}
            mix = separate.pop("mix")
            facts |= self._compare_lips(separate.get("speech", mix), encoded)
            if stems and not separate:  # one kind of sound is its own stem
                separate = {"speech" if request.script else "sound": mix}
            outputs.append(
                Output(
                    wave=mix,
                    sample_rate=self.codec.sample_rate,
                    report=report
                    | facts
                    | {"seed": seed}
                    | {"warnings": [*report["warnings"], *cue_notes, *level_notes]},
                    video=request.video,
                    stems=separate if stems else {},
                    utterances=utterances,
                )
            )
        return outputs

    def _move_cues(
        self,
        separate: Mapping[str, np.ndarray],
        encoded: RequestConditions,
        known: KeptSound | EncodedPrompt | None,
    ) -> tuple[dict[str, np.ndarray], list[TimedUtterance], list[str]]:
        """The waves, with cues at their starts where speech is alone; utterances; lines.

        Speech that is generated together with other sound stays, and so does a kept sound.
        """
        name = "mix" if "mix" in separate else "speech"
        has_sound = name == "mix" and encoded.record.keys() & {*STEMS["sound"]}
        if has_sound or known is not None or not any(encoded.cues):
            return dict(separate), encoded.utterances, []
        wave, utterances, notes = move_cues(
            separate[name], self.codec.sample_rate, encoded.utterances, encoded.cues
        )
        return {**separate, name: wave}, utterances, notes

    def _compare_lips(self, speech: np.ndarray, encoded: RequestConditions) -> dict[str, float]:
        """How well speech agrees with the lips that its times follow; nothing if they do not."""
        if encoded.lips is None:
            return {}
        wave = to_mono(speech, self.codec.sample_rate, conditions.SAMPLE_RATE)
        return {"lip_agreement": correlate_lips(wave, conditions.SAMPLE_RATE, encoded.lips)}

    def _add_stems(
        self, joint: JointSampling, speech: np.ndarray, sound: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, list[str]]:
        """The mix and its stems, the level of the other sound, and a line where it is lowered."""
        level = joint.find_level(speech, sound, self.codec.sample_rate)
        notes = []
        if level < joint.sound_level:
            notes = [
                f"other sound is {joint.sound_level - level:.0f} dB softer, so that the speech is "
                f"heard (--speech_audibility={joint.speech_audibility:g})"
            ]
        return joint.add(speech, sound, level), level, notes

    def _choose_joint(
        self,
        options: SamplingOptions | None,
        known: KeptSound | EncodedPrompt | None,
        record: Mapping,
    ) -> tuple[JointSampling, list[str]]:
        """How speech is generated beside other sound, and lines where that is not as asked.

        A `speech_level` without effect is 0: a stem has the level of the mix, and a kept sound
        that of its own.
        """
        options, notes = options or SamplingOptions(), []
        joint, content = options.resolve_joint(self.config), f"on {describe_content(record)}"
        if known is not None and joint.applies_to(record):
            joint = dataclasses.replace(joint, way=TOGETHER)
            notes = ["speech and other sound are generated together: part of the sound is known"]
        levels = joint.list_levels(record)
        if isinstance(known, KeptSound):
            levels, content = (), "beside a kept sound, whose level decides"
        asked = [name for name in LEVELS if getattr(options, name) is not None]
        idle = [f"--{name}" for name in asked if name not in levels]
        if idle:
            notes.append(f"{', '.join(idle)}: no effect {content}")
        if "speech_level" not in levels:
            joint = dataclasses.replace(joint, speech_level=0.0)
        return joint, notes

    def _read_known_sound(self, request: Request, stems: bool) -> KeptSound | EncodedPrompt | None:
        """What of the sound is known before the generation: what is kept, or a voice prompt."""
        edit, audio = request.edit, audio_format(self.codec)
        if stems and (edit.keep or request.prompt):
            flag = "keep" if edit.keep else "prompt_audio"
            raise InputError(f"found --stems beside --{flag}, expected one or the other")
        if edit.keep is not None:
            duration = find_duration(request, self.encoder_set, self.statistics)
            return KeptSound.read(edit, duration, audio)
        if request.prompt is not None:
            window = self.synthesizer.max_window
            return encode_prompt(request.prompt, audio, window, self.durations, request.text_policy)
        return None

    def _make_job(
        self,
        request: Request,
        encoded: RequestConditions,
        records: Sequence[Mapping],
        seeds: Sequence[int],
        known: KeptSound | EncodedPrompt | None,
    ) -> Job:
        """The job of a request: its records, the mix and its stems, with each of the seeds."""
        prefix = 0 if known is None else known.prefix
        num_frames = encoded.num_frames
        if not request.edit.loop:
            num_frames = prefix + self.synthesizer.padded_frames(num_frames, prefix)
        job = Job(
            records=[record for _ in seeds for record in records],
            noise_ids=[encoded.noise_id] * (len(seeds) * len(records)),
            seeds=[seed for seed in seeds for _ in records],
            num_frames=num_frames,
            voices=encoded.voices,
            prefix=prefix,
            is_loop=request.edit.loop,
        )
        if known is None:
            return job
        rates = self.statistics["rates"]
        return dataclasses.replace(
            job,
            records=[known.prepend(record, rates) for record in job.records],
            known=Known(
                latent=self.synthesizer.encode(known.pad(num_frames)),
                frames=jnp.asarray(known.find_known_frames(num_frames)),
            ),
        )

    def _fit_duration(self, wave: np.ndarray, encoded: RequestConditions) -> np.ndarray:
        """The wave, cut or padded with silence to the request's duration."""
        return cut_or_pad(wave, round(encoded.duration * self.codec.sample_rate))

    def generate_batch(
        self,
        records: Sequence[Mapping],
        *,
        seed: int = 0,
        options: SamplingOptions | None = None,
        batch_size: int = 16,
        progress: Progress | None = None,
    ) -> list[np.ndarray]:
        """Waveforms for shard records, float32 [n] or [n, A], with the durations of their clips.

        Args:
          records: as `data.shards` reads them.
          seed: of the noise; the noise of a clip depends on it and on the bytes of the clip's
            media file (its `source`; its id in shards without one) alone.
          options: of the sampling.
          batch_size: clips that are generated together.
          progress: as that of `__call__`, for each batch anew.
        """
        check_seed(seed)
        options = options or SamplingOptions()
        joint = options.resolve_joint(self.config)
        records = [self.add_predicted_times(record) for record in records]
        parts = [
            [*split_stems(record).values()] if joint.applies_to(record) else [record]
            for record in records
        ]
        waves = self._generate_records(
            list(itertools.chain(*parts)), seed, options.resolve(self.config), batch_size, progress
        )
        numbers = iter(waves)
        stems = [[joint.set_speech_level(p, next(numbers)) for p in part] for part in parts]
        return [
            self._add_stems(joint, *part)[0]["mix"] if len(part) > 1 else part[0] for part in stems
        ]

    def _generate_records(
        self,
        records: Sequence[Mapping],
        seed: int,
        sampling: Sampling,
        batch_size: int,
        progress: Progress | None,
    ) -> list[np.ndarray]:
        """A waveform from all conditions of each record; arguments as those of `generate_batch`."""
        rows_by_length: dict[int, list[int]] = {}
        for row, record in enumerate(records):
            num_frames = conditions.num_latent_frames(record["meta"]["duration"])
            padded = self.synthesizer.padded_frames(num_frames)
            rows_by_length.setdefault(padded, []).append(row)
        waves: dict[int, np.ndarray] = {}
        for num_frames, rows in rows_by_length.items():
            for first in range(0, len(rows), batch_size):
                batch = rows[first : first + batch_size]
                padding = batch[:1] * (batch_size - len(batch) if len(rows) > batch_size else 0)
                chosen = [records[row] for row in batch + padding]
                metas = [record["meta"] for record in chosen]
                job = Job(
                    records=chosen,
                    noise_ids=[meta.get("source", meta["id"]) for meta in metas],
                    seeds=[seed] * len(chosen),
                    num_frames=num_frames,
                )
                waves |= zip(batch, self.synthesizer(job, sampling, progress), strict=False)
        samples = [round(r["meta"]["duration"] * self.codec.sample_rate) for r in records]
        return [waves[row][:count] for row, count in enumerate(samples)]

    def check_shards(self, folder: str | Path) -> None:
        """Raises an `InputError` for shards whose features are not by the model's encoders.

        Converted weights do not say which these are.
        """
        if "encoders" not in self.statistics:
            return
        statistics = shards.load_dataset_info(folder)["statistics"]
        theirs, ours = map(name_encoders, (read_encoder_set(statistics), self.encoder_set))
        for condition in [name for name in ours if theirs.get(name, ours[name]) != ours[name]]:
            raise InputError(
                f"{folder}: found {condition} by the {theirs[condition]} encoder, expected the "
                f"{ours[condition]} one, on which the model was trained; prepare with "
                f"--encoders={self.encoder_set}"
            )

    def remove_video(self, record: Mapping) -> dict:
        """The record with text and voice alone, its phonemes at predicted times."""
        kept = {name: value for name, value in record.items() if name not in conditions.VIDEO}
        return kept | {"phonemes": self._predict_phonemes(record)}

    def add_predicted_times(self, record: Mapping) -> Mapping:
        """The record; predicted times for a text that neither sound nor alignment gives times."""
        meta = record["meta"]
        if "wave" in record or "text" not in meta or "alignment" in meta:
            return record
        return {**record, "phonemes": self._predict_phonemes(record)}

    def _predict_phonemes(self, record: Mapping) -> np.ndarray:
        """Phoneme ids [L] at predicted times."""
        meta = record["meta"]
        intervals = predict_alignment(meta, self.durations, record.get("speaker"))
        return phonemes_to_frames(intervals, conditions.num_latent_frames(meta["duration"]))
