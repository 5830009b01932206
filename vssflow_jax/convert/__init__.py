"""Published weights to our parameters and back."""

from vssflow_jax.convert.names import (
    Entry,
    collect,
    dit_entries,
    entries,
    from_official,
    to_official,
)

__all__ = ["Entry", "collect", "dit_entries", "entries", "from_official", "to_official"]
