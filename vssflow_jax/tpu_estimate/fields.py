"""Config fields by their dotted names, `group.field`."""

from __future__ import annotations


def with_fields(config, fields: dict[str, object]):
    """A copy of a config with fields, by their dotted names, changed."""
    changed = config.copy_and_resolve_references()
    for name, value in fields.items():
        group, field = name.split(".")
        changed[group][field] = value
    return changed


def as_flags(fields: dict[str, object]) -> str:
    """Fields as a user types them."""
    return " ".join(f"--config.{name}={value}" for name, value in fields.items())
