"""Published weights to our parameters and back."""

from vssflow_jax.weights.mapping import Entry, import_params
from vssflow_jax.weights.vssflow_names import dit_entries, from_official, model_entries, to_official

__all__ = ["Entry", "dit_entries", "from_official", "import_params", "model_entries", "to_official"]
