"""Every field of a run's config, once: name, type, default, allowed values, unit, meaning.

`default_config`, the check before a run and docs/configuration.md are all made from `FIELDS`.
Defaults are the paper's where it states them.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference

from vssflow_jax import conditions
from vssflow_jax.config.rules import (
    ANY,
    DECAY,
    DEVICES,
    FINITE,
    FRACTION,
    POSITIVE,
    SEED,
    Rule,
    at_least,
    between,
    each,
    one_of,
    one_of_or_times,
    some,
)


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of the config.

    Attributes:
      name: with dots, as in `--config.optim.learning_rate=1e-3`.
      type: of its value.
      default: its value unless a recipe or a flag sets another.
      meaning: what it does.
      allowed: values that it may have.
      unit: of its value, where it has one.
      optional: it may be None, whose meaning `meaning` tells.
      mutable: a run may resume with another value. All other fields change the course of a run:
        its checkpoints keep them, and resuming with other values is refused.
    """

    name: str
    type: type
    default: Any
    meaning: str
    _: dataclasses.KW_ONLY
    allowed: Rule = ANY
    unit: str = ""
    optional: bool = False
    mutable: bool = False


GROUPS = {
    "data": "What is trained on.",
    "data.repeats": "More of a task than the shards have, as where it has few clips of its own.",
    "data.mix": "Joint examples made from a speech and a sound example while training.",
    "codec": "Waveform to latent and back. Without a folder a codec is fitted on the shards.",
    "model": "The network.",
    "model.projected_widths": "Channels to which each condition is projected.",
    "flow": "The flow-matching loss.",
    "dropout": "Conditions that a training step leaves out.",
    "dropout.conditions": "Probabilities of dropping single conditions.",
    "optim": "The optimizer.",
    "distill": 'The student that train.task="distill" trains (configs/distill.py).',
    "train": "The course of a run.",
    "evaluate": "The evaluation after the last step (train.evaluate).",
    "sample": "How samples are drawn unless flags say otherwise.",
    "sample.scales": "Guidance scales of single conditions.",
    "mesh": "How devices share the work; the three sizes multiply to the number of devices.",
    "precision": "Number formats.",
}

GRID_NAMES = ("uniform", "sway", "epss", "logit_normal")  # of flow.grids
CODEC_NAMES = ("pca", "istft", "trained", "audioldm", "oobleck")

FIELDS = (
    Field("seed", int, 0, "seed of the first weights, the data's order and all noise",
          allowed=SEED),

    Field("data.shards", str, "",
          "folder of shards; empty: WORKDIR/shards, made from the corpus if need be", mutable=True),
    Field("data.corpus", str, "", "built-in corpus to make shards from where data.shards is empty",
          allowed=one_of("", "miniav"), mutable=True),
    Field("data.corpus_clips", int, None, "videos of the built-in corpus; None: its default",
          allowed=at_least(9), unit="clips", optional=True, mutable=True),
    Field("data.corpus_audio_clips", int, 0, "further clips of speech alone in the corpus",
          allowed=at_least(0), unit="clips", mutable=True),
    Field("data.corpus_voices", str, "espeak",
          "its voices: espeak, hibari, hibari:COUNT or kokoro:FOLDER (docs/miniav.md)",
          mutable=True),
    Field("data.corpus_sentences", str, "grid",
          "what they say: grid, open or a file with one sentence a line", mutable=True),
    Field("data.corpus_audio_sentences", str, "",
          "what the clips of speech alone say; empty: the same", mutable=True),
    Field("data.corpus_encoders", str, "built-in",
          "encoders of its features: built-in, bundled, published, or one by condition",
          mutable=True),
    Field("data.tasks", tuple, (), "train on examples of these tasks only; empty: of all",
          allowed=each(one_of(*conditions.TASKS))),
    *(
        Field(f"data.repeats.{task}", int, 1,
              f"times that an epoch has each example of the task {task}", allowed=at_least(1))
        for task in conditions.TASKS
    ),
    Field("data.duration", float, 10.0,
          "length of a training example; longer clips are cropped at random",
          allowed=between(0.04, 3600), unit="s"),
    Field("data.sample_rate", int, 16_000, "of the shards' sound, which is the codec's",
          allowed=at_least(8000), unit="samples/s"),
    Field("data.audio_channels", int, 1, "of the shards' sound: 1 is mono, 2 is stereo",
          allowed=between(1, 2)),
    Field("data.batch_size", int, 72, "examples a step, over all devices", allowed=at_least(1)),
    Field("data.latents", bool, False,
          "train on the latents that `prepare --latents` has stored, instead of encoding waveforms "
          "in each step"),
    Field("data.workers", int, 0, "processes that read and decode; 0: threads of the main process",
          allowed=at_least(0)),
    Field("data.max_corrupt_fraction", float, 0.01,
          "fraction of the training examples that may be unreadable", allowed=FRACTION,
          mutable=True),
    Field("data.mix.ratio", float, 0.0, "fraction of the training examples that are mixtures",
          allowed=FRACTION),
    Field("data.mix.add_ratio", float, 0.5,
          "fraction of the mixtures in which speech is added to the sound; "
          "in the others it replaces the sound", allowed=FRACTION),
    Field("data.mix.mute_ratio", float, 0.0,
          "fraction of the mixtures whose talker is muted: a face without a text is silent",
          allowed=FRACTION),

    Field("codec.name", str, "",
          "kind of the codec: pca is fitted on the shards, the others need codec.folder; "
          "empty: that of the folder, or pca", allowed=one_of("", *CODEC_NAMES)),
    Field("codec.folder", str, "", "folder of the codec to use; empty: fit one", mutable=True),
    Field("codec.train_steps", int, 0,
          "steps for which a run without codec.folder trains its codec first; 0: it fits one",
          allowed=at_least(0), unit="steps"),
    Field("codec.channels", int, 128, "latent channels of a fitted codec", allowed=at_least(1)),
    Field("codec.whitening", float, 0.5,
          "0 keeps the variances of the latent channels, 1 makes them equal", allowed=FRACTION),
    Field("codec.head", str, "griffin_lim",
          "how a trained codec decodes: spectra of pulses and noise and an inverse transform, or "
          "magnitudes and Griffin-Lim", allowed=one_of("istft", "griffin_lim")),
    Field("codec.width", int, 128, "width of a trained codec's networks (configs/codec.py)",
          allowed=at_least(1), unit="channels"),
    Field("codec.encoder_blocks", int, 2, "blocks of a trained codec's encoder, at 25 frames/s",
          allowed=at_least(1)),
    Field("codec.decoder_blocks", int, 4, "blocks of a trained codec's decoder, at 100 frames/s",
          allowed=at_least(1)),
    Field("codec.crop", float, 0.64, "part of each example that a training step of a codec sees",
          allowed=POSITIVE, unit="s"),
    Field("codec.kl_weight", float, 1e-3,
          "weight of the KL divergence of the latent from N(0, 1) in a trained codec's loss",
          allowed=at_least(0)),
    Field("codec.adversarial_weight", float, 0.0,
          "weight of discriminators' scores in the loss of a codec with the head istft; 0: there "
          "are none", allowed=at_least(0)),
    Field("codec.iterations", int, 32,
          "Griffin-Lim iterations when a fitted or trained codec decodes", allowed=at_least(0)),

    Field("model.route", str, "joint", "where each condition enters: a row of conditions.ROUTES",
          allowed=one_of(*conditions.ROUTES)),
    Field("model.layers", int, 10, "transformer blocks", allowed=at_least(1)),
    Field("model.heads", int, 24, "attention heads; a multiple of model.kv_heads",
          allowed=at_least(1)),
    Field("model.kv_heads", int, 12, "key/value heads of the cross-attention", allowed=at_least(1)),
    Field("model.head_dim", int, 64, "channels of a head", allowed=at_least(4)),
    Field("model.mlp_ratio", int, 4, "hidden width of the SwiGLU over the width of the model",
          allowed=at_least(1)),
    Field("model.time_features", int, 256, "Fourier features of the flow time",
          allowed=at_least(2)),
    Field("model.cross_attention_rope", bool, False,
          "rotary position embedding of the cross-attention's keys too, not of its queries alone"),
    Field("model.learned_null_phonemes", bool, False,
          "dropped phonemes become a learned row of the phoneme table instead of zeros"),
    Field("model.time_aligned_sync", bool, False,
          "Synchformer tokens lie at the frames that they saw instead of evenly spread"),
    Field("model.duration_width", int, 0,
          "width of the duration model, which learns phoneme durations; 0: no duration model",
          allowed=at_least(0), unit="channels"),
    Field("model.remat", str, "dots",
          "what the backward pass computes again: nothing, whole layers, or all but the products "
          "with weights", allowed=one_of("none", "layer", "dots"), mutable=True),
    Field("model.unroll", int, 1, "layers in one iteration of the compiled loop",
          allowed=at_least(1), mutable=True),
    Field("model.tpu_kernels", bool, True,
          "on TPUs, train in bfloat16 with kernels for attention and feed-forward", mutable=True),
    *(
        Field(f"model.projected_widths.{name}", int, None,
              "None: the width of the condition table (conditions.py)",
              allowed=at_least(1), unit="channels", optional=True)
        for name in conditions.NAMES
    ),

    Field("flow.time_sampling", str, "uniform", "distribution of the training times",
          allowed=one_of("uniform", "logit_normal")),
    Field("flow.mask_padding", bool, False, "leave frames after an example's end out of the loss"),

    Field("dropout.granularity", str, "batch",
          'one random draw for the whole batch (as the official code does) or one an example',
          allowed=one_of("batch", "example")),
    Field("dropout.all", float, 0.1, "probability of dropping all conditions together",
          allowed=FRACTION),
    Field("dropout.video", float, 0.0, "probability of dropping clip, sync and lips together",
          allowed=FRACTION),
    Field("dropout.each", float, 0.0, "probability of dropping each condition by itself",
          allowed=FRACTION),
    *(
        Field(f"dropout.conditions.{name}", float, None, "None: dropout.each",
              allowed=FRACTION, optional=True)
        for name in conditions.NAMES
    ),
    Field("dropout.frame_ratios", tuple, (),
          "fractions of lips and sync frames to drop, of which one is drawn; empty: none",
          allowed=each(FRACTION)),

    Field("optim.name", str, "adamw", "the rule of the updates", allowed=one_of("adamw", "muon")),
    Field("optim.learning_rate", float, 2 * 36 * 4e-7,
          "learning rate after the warm-up; the paper's is 4e-7 times the batch size",
          allowed=POSITIVE),
    Field("optim.warmup_steps", int, 2000, "linear warm-up from 0", allowed=at_least(0),
          unit="steps"),
    Field("optim.schedule", str, "constant",
          "learning rate after the warm-up: constant, or a cosine to 0 at the last step",
          allowed=one_of("constant", "cosine")),
    Field("optim.b1", float, 0.9, "decay of Adam's mean of gradients", allowed=DECAY),
    Field("optim.b2", float, 0.999, "decay of Adam's mean of squared gradients", allowed=DECAY),
    Field("optim.weight_decay", float, 0.01, "decoupled weight decay", allowed=at_least(0)),
    Field("optim.max_grad_norm", float, 1.0,
          "global norm to which larger gradients are scaled; None: no limit",
          allowed=POSITIVE, optional=True),
    Field("optim.ema_decay", float, 0.999,
          "decay of the averaged weights (EMA), which sampling uses; 0: the weights themselves",
          allowed=DECAY),

    Field("distill.teacher", str, "guided",
          "the run of train.init_from with guidance, or the average of the student's own weights; "
          "shortcut: the first for spans of 0, the second for others",
          allowed=one_of("guided", "average", "shortcut")),
    Field("distill.init_from", str, "",
          "weights that the student begins with: a run's folder or a bundled model's name; empty: "
          "its teacher's"),
    Field("distill.steps", int, 4, "steps of the teacher over a span", allowed=at_least(1),
          unit="steps"),
    Field("distill.solver", str, "euler", "solver of these steps",
          allowed=one_of("euler", "midpoint", "heun", "rk4")),
    Field("distill.scale_groups", int, 2,
          "different guidance scales of an example; the teacher computes one branch more",
          allowed=at_least(1)),
    Field("distill.min_scale", float, 1.0, "least guidance scale that the student learns",
          allowed=FINITE),
    Field("distill.max_scale", float, 4.0, "largest guidance scale that the student learns",
          allowed=FINITE),
    Field("distill.contrast", float, 0.0,
          "weight of the difference of two draws of scales for each example, which doubles the "
          "computation; 0: one draw",
          allowed=at_least(0)),
    Field("distill.evaluations", tuple, (1, 2, 4, 8),
          "evaluations that the student is meant for, named on its card and in reports",
          allowed=some(at_least(1))),
    Field("distill.grid_ratio", float, 0.5,
          "fraction of the spans that are steps of distill.grid with these evaluations",
          allowed=FRACTION),
    Field("distill.grid", str, "uniform", "time grid of these steps",
          allowed=one_of(*GRID_NAMES)),

    Field("train.task", str, "flow", "what is trained",
          allowed=one_of("flow", "codec", "distill")),
    Field("train.init_from", str, "",
          "run, conversion or bundle whose weights and codec this run starts from; empty: none",
          mutable=True),
    Field("train.steps", int, 250_000,
          "length of the run; a resumed run may get another, and a cosine schedule follows it",
          allowed=at_least(1), unit="steps", mutable=True),
    Field("train.log_every", int, 100, "between lines of metrics.jsonl", allowed=at_least(1),
          unit="steps", mutable=True),
    Field("train.checkpoint_every", int, 2000, "between checkpoints", allowed=at_least(1),
          unit="steps", mutable=True),
    Field("train.keep_checkpoints", int, 3,
          "newest checkpoints to keep, besides the one with the least valid_loss",
          allowed=at_least(1), mutable=True),
    Field("train.grad_accumulation", int, 1,
          "parts of a batch that are computed one after another to save memory",
          allowed=at_least(1), mutable=True),
    Field("train.max_skipped_steps", int, 10,
          "steps in a row without a finite loss and gradient at which the run stops",
          allowed=at_least(1), unit="steps", mutable=True),
    Field("train.validate_every", int, 2000, "between validation losses; 0: never",
          allowed=at_least(0), unit="steps", mutable=True),
    Field("train.validate_clips", int, 256, "validation clips for that loss",
          allowed=at_least(1), unit="clips", mutable=True),
    Field("train.compilation_cache", str, "",
          "folder that keeps compiled programs; empty: WORKDIR/compiled", mutable=True),
    Field("train.sample_every", int, 10_000, "between samples written while training; 0: never",
          allowed=at_least(0), unit="steps", mutable=True),
    Field("train.evaluate_every", int, 0,
          "between scores of a few validation clips while training; 0: never",
          allowed=at_least(0), unit="steps", mutable=True),
    Field("train.profile_steps", int, 0,
          "steps that are traced by JAX's profiler into WORKDIR/profile, from the fourth step of a "
          "start on; 0: none", allowed=at_least(0), unit="steps", mutable=True),
    Field("train.evaluate", bool, False,
          "after the last step, evaluate on the test split and write the report", mutable=True),
    Field("train.evaluate_clips", int, 64, "test clips a task for that evaluation",
          allowed=at_least(1), unit="clips", mutable=True),

    Field("evaluate.recognizer", str, "",
          "folder of a Whisper model in CTranslate2's format, a second recognizer for that "
          "evaluation; empty or not there: none", mutable=True),

    Field("sample.solver", str, "euler", "ODE solver",
          allowed=one_of("euler", "midpoint", "heun", "rk4", "dopri5"), mutable=True),
    Field("sample.steps", int, 25, "solver steps", allowed=at_least(1), unit="steps", mutable=True),
    Field("sample.grid", str, "uniform",
          "times between which a fixed-step solver steps; times take the place of sample.steps",
          allowed=one_of_or_times(*GRID_NAMES), mutable=True),
    Field("sample.guidance", float, 3.0, "guidance scale of all conditions", allowed=FINITE,
          mutable=True),
    Field("sample.guidance_start", float, 0.0, "flow time from which on guidance acts",
          allowed=FRACTION, mutable=True),
    Field("sample.guidance_stop", float, 1.0, "flow time up to which guidance acts",
          allowed=FRACTION, mutable=True),
    Field("sample.apg_eta", float, 1.0,
          "adaptive projected guidance: share of guidance along the predicted data that is kept; "
          "1: plain guidance", allowed=FINITE, mutable=True),
    Field("sample.apg_momentum", float, 0.0,
          "adaptive projected guidance: share of the last step's guidance that is added; "
          "0: plain guidance", allowed=FINITE, mutable=True),
    Field("sample.joint", str, "together",
          'speech and other sound of a clip with words and pictures: generated "together" from all '
          'conditions, or "apart", each from its own conditions, and added',
          allowed=one_of("together", "apart"), mutable=True),
    Field("sample.speech_level", float, 0.0,
          "level of speech that is generated without other sound: guidance makes it louder than "
          "the recordings of the training data", allowed=between(-60, 0), unit="dB",
          mutable=True),
    Field("sample.sound_level", float, 0.0,
          "level of the other sound that is added to speech, where they are generated apart",
          allowed=FINITE, unit="dB", mutable=True),
    Field("sample.speech_audibility", float, 0.0,
          "share of the speech that is heard at least, where they are generated apart: other sound "
          "that hides more is softer", allowed=FRACTION, mutable=True),
    *(
        Field(f"sample.scales.{name}", float, None, "None: sample.guidance",
              allowed=FINITE, optional=True, mutable=True)
        for name in conditions.NAMES
    ),

    Field("mesh.data", int, -1, "devices that split the batch; -1: all that are left",
          allowed=DEVICES, unit="devices", mutable=True),
    Field("mesh.fsdp", int, 1, "devices that split the batch and the parameters; -1: as above",
          allowed=DEVICES, unit="devices", mutable=True),
    Field("mesh.tensor", int, 1, "devices that split heads and hidden widths; -1: as above",
          allowed=DEVICES, unit="devices", mutable=True),
    Field("mesh.slices", int, 0,
          "groups of devices with a slower network between them, which mesh.data runs across; "
          "0: as many as the devices say", allowed=at_least(0), mutable=True),

    Field("precision.compute", str, "float32", "of the network",
          allowed=one_of("float32", "bfloat16")),
    Field("precision.sampling", str, "compute",
          "of the network in sampling; compute: as precision.compute; auto: bfloat16 where the "
          "processor multiplies it natively, else float32",
          allowed=one_of("compute", "auto", "float32", "bfloat16"), mutable=True),
    Field("precision.matmul", str, "default", "of matrix products (jax_default_matmul_precision)",
          allowed=one_of(
              "default", "high", "highest", "bfloat16", "tensorfloat32", "float32")),
)  # fmt: skip


def default_config() -> ConfigDict:
    """The config with every field's default: the paper's joint model on `data.shards`."""
    values = {
        field.name: FieldReference(field.default, field_type=field.type)
        if field.optional
        else field.default
        for field in FIELDS
    }
    return ConfigDict(nest(values))


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted names -> groups of groups."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        group = tree
        for key in groups:
            group = group.setdefault(key, {})
        group[last] = value
    return tree


def flatten(tree: Mapping[str, Any] | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """The inverse of `nest`; also of a whole config."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping | ConfigDict)
        values |= flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return values


def fixed_fields(config) -> dict[str, Any]:
    """The fields that change the course of a run, by dotted names."""
    return {field.name: value_of(config, field.name) for field in FIELDS if not field.mutable}


def value_of(config, name: str) -> Any:
    """A field's value by its dotted name."""
    return functools.reduce(operator.getitem, name.split("."), config)


def improved(config: ConfigDict) -> ConfigDict:
    """Sets the fields in which the `*_improved` recipes differ from the official code."""
    config.dropout.granularity = "example"
    config.dropout.each = 0.05
    config.flow.mask_padding = True
    config.model.cross_attention_rope = True
    config.model.learned_null_phonemes = True
    config.model.time_aligned_sync = True
    config.model.duration_width = 128
    return config
