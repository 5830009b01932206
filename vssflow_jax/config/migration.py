"""Configs of older runs: the names and values that fields had, and what they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.config.fields import FIELDS, default_config, flatten

RENAMED = {
    "data.max_corrupt": "data.max_corrupt_fraction",
    "data.mix.add": "data.mix.add_ratio",
    "codec.whiten": "codec.whitening",
    "codec.divergence": "codec.kl_weight",
    "model.head_width": "model.head_dim",
    "model.feed_forward": "model.mlp_ratio",
    "model.rotate_keys": "model.cross_attention_rope",
    "model.null_phonemes": "model.learned_null_phonemes",
    "model.sync_by_time": "model.time_aligned_sync",
    "model.durations": "model.duration_width",
    **{f"model.projected.{name}": f"model.projected_widths.{name}" for name in conditions.NAMES},
    "flow.time": "flow.time_sampling",
    "dropout.unit": "dropout.granularity",
    "optim.kind": "optim.name",
    "optim.warmup": "optim.warmup_steps",
    "optim.clip_norm": "optim.max_grad_norm",
    "optim.ema": "optim.ema_decay",
    "train.start": "train.init_from",
    "train.keep": "train.keep_checkpoints",
    "train.accumulate": "train.grad_accumulation",
    "train.max_skipped": "train.max_skipped_steps",
    "train.compiled": "train.compilation_cache",
}
# Fields, by today's names, in which 0 stood for what is None today.
ZERO_FOR_NONE = {
    "data.corpus_clips",
    "optim.max_grad_norm",
    *(f"model.projected_widths.{name}" for name in conditions.NAMES),
    *(f"sample.scales.{name}" for name in conditions.NAMES),
}
OLD_VALUES = {("dropout.granularity", "sample"): "example", ("train.max_skipped_steps", 0): 1}


def migrate(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an older run, by dotted names, with today's names and values.

    Fields are older if one of them has a name that none has today; others are left alone.
    """
    if not RENAMED.keys() & fields.keys():
        return dict(fields)
    migrated = {}
    for old, value in fields.items():
        name = RENAMED.get(old, old)
        if name in ZERO_FOR_NONE and value == 0:
            value = None
        elif isinstance(value, str | int):
            value = OLD_VALUES.get((name, value), value)
        migrated[name] = value
    return migrated


def parse_config(values: Mapping, where: str) -> ConfigDict:
    """The config that a run of any age has saved; fields that it lacks have their default.

    Args:
      values: groups of fields, as in its `config.json`.
      where: the file, for messages.

    Raises:
      InputError: names fields that no run has, or values of a wrong type.
    """
    config, fields = default_config(), migrate(flatten(values))
    unknown = sorted(fields.keys() - {field.name for field in FIELDS})
    if unknown:
        raise InputError(
            f"{where}: found unknown fields {', '.join(unknown)}, expected those of "
            "docs/configuration.md"
        )
    for name, value in fields.items():
        try:
            config.update_from_flattened_dict({name: value})
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {name}: found {value!r}: {error}") from None
    return config
