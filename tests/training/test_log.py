"""The log of a run that resumes."""

import json

import pytest

from vssflow_jax.training.log import MetricsWriter, read_metrics

LINES = [{"step": step, "loss": 1.0, "seconds": 10.0 * step} for step in (1, 2, 3)]


@pytest.mark.parametrize(
    "torn", ["", '{"step": 4, "lo', "3", "\x00\x00\x00", '"step', '{"step": "4"}']
)
def test_lines_after_the_checkpoint_and_torn_ones_are_dropped(tmp_path, torn):
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    (tmp_path / "metrics.jsonl").write_text(text + torn)
    assert read_metrics(tmp_path) == LINES
    writer = MetricsWriter(tmp_path, 2)
    assert writer.logged_seconds == 20.0
    writer.write(3, {"loss": 0.5})
    writer.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [*LINES[:2], {"step": 3, "loss": 0.5}]


def test_a_new_run_has_logged_nothing(tmp_path):
    writer = MetricsWriter(tmp_path, 0)
    assert writer.logged_seconds == 0.0
    writer.close()
