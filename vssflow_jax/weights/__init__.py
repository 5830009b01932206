"""Published weights to our parameters and back."""

from vssflow_jax.weights.mapping import ParamEntry, export_params, import_params
from vssflow_jax.weights.published import find_weights, load_encoder
from vssflow_jax.weights.vssflow_names import (
    dit_entries,
    from_official,
    model_entries,
    to_official,
)

__all__ = [
    "ParamEntry",
    "dit_entries",
    "export_params",
    "find_weights",
    "from_official",
    "import_params",
    "load_encoder",
    "model_entries",
    "to_official",
]
