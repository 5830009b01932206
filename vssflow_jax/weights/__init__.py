"""Published weights to our parameters and back."""

from vssflow_jax.weights.mapping import Entry, collect
from vssflow_jax.weights.vssflow_names import dit_entries, entries, from_official, to_official

__all__ = ["Entry", "collect", "dit_entries", "entries", "from_official", "to_official"]
