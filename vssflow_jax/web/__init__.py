"""The web page of a generator; `python -m vssflow_jax.app` serves it."""
