"""The fields of a run: their values, their rules, recipes by name, and how commands read them."""

from vssflow_jax.config.fields import default_config, improved
from vssflow_jax.config.recipes import load_recipe

__all__ = ["default_config", "improved", "load_recipe"]
