"""Published weights to our parameters and back."""

from vssflow_jax.convert.names import dit_entries, entries, from_official, to_official
from vssflow_jax.mapping import Entry, collect

__all__ = ["Entry", "collect", "dit_entries", "entries", "from_official", "to_official"]
