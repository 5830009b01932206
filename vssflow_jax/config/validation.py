"""What the fields of a run may be: a table, looked at before anything is made.

A new field of `configs/base.py` needs a line here (a test checks it).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import TASKS


class Rule(NamedTuple):
    """What a field may be: in words, and as a predicate."""

    wanted: str
    holds: Callable[[Any], bool]


def one_of(*values: str) -> Rule:
    """One of some words."""
    words = [f'"{value}"' for value in values]
    return Rule(" or ".join([", ".join(words[:-1]), words[-1]]), lambda value: value in values)


def at_least(low: float) -> Rule:
    """A finite number of `low` or more."""
    return Rule(f"at least {low}", lambda value: low <= value < math.inf)


def each(rule: Rule) -> Rule:
    """A list of values that a rule holds for; it may be empty."""
    return Rule(f"a list, each {rule.wanted}", lambda values: all(map(rule.holds, values)))


SOLVERS = ("euler", "midpoint", "heun", "rk4", "dopri5")  # flow.solvers has them
REMAT = ("none", "layer", "dots")  # models.dit has them

ANY = Rule("", lambda value: True)  # the type, which the config keeps, says it all
FINITE = Rule("a finite number", math.isfinite)
POSITIVE = Rule("more than 0", lambda value: 0 < value < math.inf)
SHARE = Rule("0 to 1", lambda value: 0 <= value <= 1)
DECAY = Rule("0 to less than 1", lambda value: 0 <= value < 1)
SEED = Rule("0 to 2147483647", lambda value: 0 <= value < 2**31)
DEVICES = Rule("at least 1, or -1", lambda value: value >= 1 or value == -1)
ZERO, ONE = at_least(0), at_least(1)

RULES = {
    "seed": SEED,
    "data": {
        "shards": ANY,
        "corpus": one_of("", "miniav"),
        "corpus_clips": Rule("0 or at least 9", lambda value: value == 0 or value >= 9),
        "tasks": each(one_of(*TASKS)),
        "duration": POSITIVE,
        "batch_size": ONE,
        "workers": ZERO,
        "max_corrupt": SHARE,
        "mix": {"ratio": SHARE, "add": SHARE},
    },
    "codec": {
        "folder": ANY,
        "channels": ONE,
        "whiten": SHARE,
        "width": ONE,
        "encoder_blocks": ONE,
        "decoder_blocks": ONE,
        "crop": POSITIVE,
        "divergence": ZERO,
        "iterations": ZERO,
    },
    "model": {
        "route": one_of(*conditions.ROUTES),
        "layers": ONE,
        "heads": ONE,
        "kv_heads": ONE,
        "head_width": at_least(4),
        "feed_forward": ONE,
        "time_features": at_least(2),
        "rotate_keys": ANY,
        "null_phonemes": ANY,
        "sync_by_time": ANY,
        "durations": ZERO,
        "remat": one_of(*REMAT),
        "unroll": ONE,
        "projected": dict.fromkeys(conditions.NAMES, ZERO),
    },
    "flow": {"time": one_of("uniform", "logit_normal"), "mask_padding": ANY},
    "dropout": {
        "unit": one_of("batch", "sample"),
        "all": SHARE,
        "video": SHARE,
        "each": SHARE,
        "frame_ratios": each(SHARE),
    },
    "optim": {
        "kind": one_of("adamw", "muon"),
        "learning_rate": POSITIVE,
        "warmup": ZERO,
        "schedule": one_of("constant", "cosine"),
        "b1": DECAY,
        "b2": DECAY,
        "weight_decay": ZERO,
        "clip_norm": ZERO,
        "ema": DECAY,
    },
    "train": {
        "task": one_of("flow", "codec"),
        "start": ANY,
        "steps": ONE,
        "log_every": ONE,
        "checkpoint_every": ONE,
        "keep": ONE,
        "accumulate": ONE,
        "max_skipped": ZERO,
        "validate_every": ZERO,
        "validate_clips": ONE,
        "compiled": ANY,
        "sample_every": ZERO,
        "evaluate_every": ZERO,
        "evaluate": ANY,
        "evaluate_clips": ONE,
    },
    "sample": {
        "solver": one_of(*SOLVERS),
        "steps": ONE,
        "guidance": FINITE,
        "scales": dict.fromkeys(conditions.NAMES, FINITE),
    },
    "mesh": dict.fromkeys(("data", "fsdp", "tensor"), DEVICES),
    "precision": {
        "compute": one_of("float32", "bfloat16"),
        "matmul": one_of("default", "high", "highest", "bfloat16", "tensorfloat32", "float32"),
    },
}


def rules(table=RULES, above: Sequence[str] = ()) -> Iterator[tuple[str, Rule]]:
    """Each field's name with dots, and its rule."""
    for name, entry in table.items():
        if isinstance(entry, Rule):
            yield ".".join((*above, name)), entry
        else:
            yield from rules(entry, (*above, name))


def value_of(config, name: str):
    """A field by its name with dots."""
    return functools.reduce(operator.getitem, name.split("."), config)


def check(config) -> None:
    """Raises an InputError for the first field that is not what it may be."""
    for name, rule in rules():
        value = value_of(config, name)
        if not rule.holds(value):
            raise InputError(f"{name}: found {value!r}, expected {rule.wanted}")
    model = config.model
    if model.heads % model.kv_heads:
        raise InputError(
            f"model.heads: found {model.heads}, expected a multiple of model.kv_heads, "
            f"{model.kv_heads}"
        )
