"""Damaged inputs of every kind are read or refused in one line; the harness notices what is not."""

import functools
import time
from pathlib import Path

import pytest
from fuzz import kinds, watch
from hypothesis import HealthCheck, Phase, given, settings

from vssflow_jax.common.errors import InputError

INPUTS = {"media": 30, "shards": 30, "safetensors": 150, "tables": 60, "configs": 40, "texts": 80}


@functools.cache
def make_kind(name):
    return kinds.MAKERS[name]()


@pytest.mark.parametrize("name", INPUTS)
def test_damaged_inputs_are_read_or_refused_in_one_line(name):
    kind, states = make_kind(name), set()

    @settings(
        max_examples=INPUTS[name],
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs())
    def run(item):
        outcome = watch.run_input(kind, *item)
        assert outcome.state != watch.FAILED, outcome.reason
        states.add(outcome.state)

    run()
    assert states == {watch.READ, watch.REFUSED}


@pytest.mark.parametrize("name", INPUTS)
def test_the_files_to_start_from_are_read(name):
    kind = make_kind(name)
    if name == "texts":
        kind = kinds.dataclasses.replace(kind, files={"text": b"set blue at g nine now"})
    for file in kind.names or kind.files:
        outcome = watch.run_input(kind, file, kind.files[file])
        assert outcome.state == watch.READ, (file, outcome.reason)


def misbehave(folder: Path, name: str, out: Path) -> None:
    """Does what the file says."""
    action = (folder / name).read_text()
    if action == "raise":
        raise ValueError("of another type")
    if action == "refuse":
        raise InputError("a: found x, expected y")
    if action == "hang":
        time.sleep(60)
    while action == "compute":
        pass
    if action == "write":
        (folder.parent / "elsewhere").write_text("x")
    if action == "overwrite":
        (folder / name).write_text("x")
    if action == "take memory":
        bytearray(b"x") * 1_000_000_000
        time.sleep(60)
    if action == "crash":
        import os

        os.abort()
    (out / "a").write_text("x")


@pytest.mark.slow
def test_the_harness_notices_failures():
    kind = kinds.Kind(files={"a": b""}, read=misbehave, damage=None)
    worker = watch.Worker(kind, time_limit=0.3, memory_limit=900e6)
    expected = {
        "read": (watch.READ, ""),
        "refuse": (watch.REFUSED, "a: found x"),
        "raise": (watch.FAILED, "ValueError at test_fuzz.py"),
        "hang": (watch.FAILED, "took longer than 0.3 s"),
        "compute": (watch.FAILED, "took longer than 0.3 s"),
        "write": (watch.FAILED, "changed files beside the output folder"),
        "overwrite": (watch.FAILED, "changed files beside the output folder"),
        "crash": (watch.FAILED, "ended the process (-6)"),
        "take memory": (watch.FAILED, "of memory"),
    }
    try:
        for action, (state, reason) in expected.items():
            outcome = worker.run("a", action.encode())
            assert outcome.state == state and reason in outcome.reason, action
    finally:
        worker.stop()
