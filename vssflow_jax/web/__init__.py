"""The page of a generator: limits, work, layout; `vssflow_jax.app` serves it."""
