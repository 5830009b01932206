"""The protocol's versions."""

import importlib.metadata

from vssflow_jax.evaluation import protocol


def test_a_checkout_needs_no_installation(monkeypatch):
    def fail(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", fail)
    assert protocol.versions()["vssflow_jax"] == "checkout"
