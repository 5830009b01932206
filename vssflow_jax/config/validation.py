"""The check of a config before a run makes anything."""

from __future__ import annotations

from vssflow_jax.common.errors import InputError
from vssflow_jax.config.fields import FIELDS, value_of


def check(config, location: str = "") -> None:
    """Raises an InputError for the first field whose value is not allowed.

    Args:
      config: of a run.
      location: the file with the config, for messages.
    """
    prefix = f"{location}: " if location else ""
    for field in FIELDS:
        value = value_of(config, field.name)
        if value is None and field.optional:
            continue
        if value is None or not field.allowed.holds(value):
            expected = field.allowed.expected or f"a {field.type.__name__}"
            none = ", or None" if field.optional else ""
            raise InputError(f"{prefix}{field.name}: found {value!r}, expected {expected}{none}")
    model = config.model
    if model.heads % model.kv_heads:
        raise InputError(
            f"{prefix}model.heads: found {model.heads}, expected a multiple of model.kv_heads, "
            f"{model.kv_heads}"
        )
