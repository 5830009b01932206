"""Exports: half precision, hashes, no path of the machine; sampling and training from them."""

import json

import jax
import numpy as np
import pytest
from helpers import in_process, tiny_configs
from helpers.in_process import assert_error

from vssflow_jax import Generator
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.export import export_run
from vssflow_jax.training import checkpoint


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "small"
    assert "float16" in export_run(tiny_run, out)
    return out


def test_weights_are_those_of_the_run_in_half_precision(tiny_run, exported):
    ours, step, _ = checkpoint.load_weights(tiny_run)
    exported_params, number, facts = checkpoint.load_weights(exported)
    assert number == step == 6
    assert facts["dtype"] == "float16"
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exported_params), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(b, a, rtol=2**-11, atol=2**-25)


def test_no_path_of_the_machine_is_exported(tiny_run, exported):
    for path in exported.rglob("*.*"):
        if path.suffix in (".json", ".md"):
            assert str(tiny_run) not in path.read_text()
    card = (exported / "README.md").read_text()
    assert "# small" in card and "not evaluated" in card


def test_an_export_sounds_like_its_run(generator, exported):
    request = {"text": "bin red by k two soon", "seed": 3, "steps": 2}
    ours = generator(**request)
    theirs = Generator.from_workdir(exported)(**request)
    assert theirs.report.pop("model") != ours.report.pop("model")  # a hash of the rounded weights
    assert theirs.report == ours.report
    assert np.corrcoef(theirs.wave, ours.wave)[0, 1] > 0.9  # Griffin-Lim amplifies the last bits


def test_scores_are_in_the_card(tiny_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("checkpoints", "codec", "config.json", "statistics.json"):
        (run / name).symlink_to(tiny_run / name)
    speech = {"clips": 9, "skipped": [], "wer": 0.25, "wer_ci95": [0.2, 0.3], "wer_floor": 0.1}
    (run / "eval").mkdir()
    recognizer = {"name": f"whisper:{tmp_path / 'tiny.en'}", "version": "1"}
    facts = {"seed": 0, "generated": "by this run", "recognizer": recognizer}
    text = json.dumps({"speech": speech | {"wer_ceiling": 0.05}, "run": facts})
    (run / "eval" / "metrics.json").write_text(text)
    export_run(run, tmp_path / "out", dtype="bfloat16")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| speech | wer | 0.250 | 0.200 to 0.300 | 0.100 | 0.050 |" in card
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["speech"]["wer"] == 0.25
    assert metrics["run"]["recognizer"]["name"] == "whisper:tiny.en"  # without its folder
    weights, _, _ = checkpoint.load_weights(tmp_path / "out")
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(weights))


def test_a_changed_weight_is_an_error(exported, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in exported.iterdir():
        (damaged / path.name).symlink_to(path)
    data = bytearray((exported / checkpoint.WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (damaged / checkpoint.WEIGHTS_FILE).unlink()
    (damaged / checkpoint.WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(InputError, match="SHA-256"):
        Generator.from_workdir(damaged)


def test_a_folder_that_is_not_empty_is_an_error(tiny_run, exported):
    before = (exported / "config.json").read_text()
    done = in_process.run("export", f"--workdir={tiny_run}", f"--out={exported}")
    assert_error(done, "found something there")
    assert (exported / "config.json").read_text() == before


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_statistics_that_nothing_is_sampled_with_are_an_error(tiny_run, tmp_path, text):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("checkpoints", "codec", "config.json"):
        (run / name).symlink_to(tiny_run / name)
    if text is not None:
        (run / "statistics.json").write_text(text)
    done = in_process.run("export", f"--workdir={run}", f"--out={tmp_path / 'out'}")
    assert_error(done, f"{run / 'statistics.json'}: ", out=tmp_path / "out")


def test_a_config_of_another_network_is_an_error(tiny_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("checkpoints", "codec", "statistics.json"):
        (run / name).symlink_to(tiny_run / name)
    config = json.loads((tiny_run / "config.json").read_text())
    layers = config["model"]["layers"]
    config["model"]["layers"] += 3
    (run / "config.json").write_text(json.dumps(config))
    message = f"model.layers: found {layers + 3}, expected {layers}, with which it was saved"
    done = in_process.run("export", f"--workdir={run}", f"--out={tmp_path / 'out'}")
    assert_error(done, f"{run}: checkpoint 6: {message}", out=tmp_path / "out")
    with pytest.raises(InputError, match=message):
        Generator.from_workdir(run)


@pytest.mark.slow
def test_a_run_starts_from_an_export(tiny_run, exported, tmp_path):
    flags = (f"--config.data.shards={tiny_run / 'shards'}", "--config.train.steps=2")
    done = tiny_configs.train(tmp_path / "run", *flags, f"--config.train.init_from={exported}")
    assert done.returncode == 0, done.stderr
    flags = (f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'out'}")
    done = tiny_configs.run("export", *flags)
    assert done.returncode == 0, done.stderr
    assert f"from the weights of `{exported.name}`" in (tmp_path / "out" / "README.md").read_text()
