"""Latents stored beside shards: what the codec makes of the waves, and what training refuses."""

import json
import shutil

import jax
import numpy as np
import pytest

from vssflow_jax.codecs import interface
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.data import pipeline, shards
from vssflow_jax.preparation import latents, validation
from vssflow_jax.training import flow_step, setup, sharding

CHANNELS = 8


@pytest.fixture(scope="module")
def codec_folder(tmp_path_factory):
    """A codec fitted on noise."""
    noise = np.random.default_rng(0).normal(0, 0.1, (4, 16_000)).astype(np.float32)
    folder = tmp_path_factory.mktemp("codec")
    interface.save_codec(fit_pca(noise, channels=CHANNELS), folder)
    return folder


@pytest.fixture(scope="module")
def stored(prepared, codec_folder, tmp_path_factory):
    """A copy of the prepared shards with their latents, and dataset.json."""
    folder = tmp_path_factory.mktemp("stored") / "shards"
    shutil.copytree(prepared[0], folder)
    return folder, latents.write_latents(folder, codec_folder, batch_size=2, progress=False)


def test_latents_are_those_of_the_padded_waves(stored, codec_folder):
    folder, info = stored
    codec = interface.load_codec(codec_folder)
    facts = {"codec": interface.hash_latents(codec), "channels": CHANNELS, "frames": 250}
    assert info["latents"] == facts == shards.load_dataset_info(folder)["latents"]
    for name, split in info["splits"].items():
        records = shards.open_split(folder, name, with_latents=True)
        assert len(records) == split["clips"]
        for record in records:
            if "wave" not in record:
                assert record["latent"] == {}
                continue
            wave = pipeline.cut_or_pad(pipeline.read_wave(record), 160_000)
            mean, deviation = codec.encode(wave[None])
            np.testing.assert_array_equal(record["latent"]["deviation"], deviation[0])
            expected = np.asarray(mean[0], np.float16).astype(np.float32)
            np.testing.assert_allclose(record["latent"]["mean"], expected, rtol=2e-3, atol=2e-3)


def test_complete_files_are_kept_and_others_made_again(stored, codec_folder, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(stored[0], folder)
    files = sorted(folder.glob("*.latents.array_record"))
    times = [file.stat().st_mtime_ns for file in files]
    content = files[0].read_bytes()
    files[0].write_bytes(content[:-1])
    info = latents.write_latents(folder, codec_folder, batch_size=2, progress=False)
    assert info == stored[1] and files[0].read_bytes() == content
    assert [file.stat().st_mtime_ns for file in files[1:]] == times[1:]
    assert validation.validate_shards(folder, progress=False).problems == []
    files[0].unlink()
    with pytest.raises(InputError, match=r"latents\.array_record: no such file"):
        for name in info["splits"]:
            shards.open_split(folder, name, with_latents=True)


def test_batches_are_no_larger_than_the_largest_split(
    prepared, codec_folder, tmp_path, monkeypatch
):
    shapes, make_encoder = [], latents._make_encoder
    monkeypatch.setattr(
        latents, "_make_encoder", lambda *args: shapes.append(args[2]) or make_encoder(*args)
    )
    shutil.copytree(prepared[0], tmp_path / "shards")
    info = latents.write_latents(tmp_path / "shards", codec_folder, 1000, progress=False)
    largest = max(split["clips"] for split in info["splits"].values())
    assert {rows for rows, _ in shapes} == {largest}


def test_a_damaged_shard_is_named(prepared, codec_folder, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(prepared[0], folder)
    shard = next(folder.glob("train*.array_record"))
    data = bytearray(shard.read_bytes())
    data[100_000:100_100] = bytes(byte ^ 0xFF for byte in data[100_000:100_100])
    shard.write_bytes(data)
    with pytest.raises(InputError, match=rf"{shard.name}, record \d: corrupt"):
        latents.write_latents(folder, codec_folder, progress=False)


def config_for(folder):
    config = load_recipe("grid")
    config.data.shards, config.data.latents, config.data.duration = str(folder), True, 10.0
    return config


def test_batches_have_latents_instead_of_waves(stored, codec_folder):
    config = config_for(stored[0])
    config.data.batch_size = 2
    dataset = setup.open_dataset(config, stored[0])
    mesh = sharding.make_mesh(dict(config.mesh), jax.devices()[:1])
    data = setup.make_training_data(config, dataset, mesh)
    batch = next(data.batches)
    assert "wave" not in batch
    shapes = {name: array.shape for name, array in batch["latent"].items()}
    assert shapes == {name: (2, 250, CHANNELS) for name in ("mean", "deviation")}
    config.data.latents = False
    waves = next(
        setup.make_training_data(config, setup.open_dataset(config, stored[0]), mesh).batches
    )
    assert list(waves["ids"]) == list(batch["ids"])
    np.testing.assert_array_equal(waves["frames"], batch["frames"])
    codec = interface.load_codec(codec_folder)
    for stored_latent, encoded in zip(
        flow_step.encode_sound(codec, batch), flow_step.encode_sound(codec, waves), strict=True
    ):
        np.testing.assert_allclose(stored_latent, encoded, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config, info: config.data.update(duration=4.0), r"data\.duration: found 100 lat"),
        (lambda config, info: info.pop("latents"), r"data\.latents: found none .*prepare --out="),
    ],
)
def test_training_says_what_it_needs(stored, tmp_path, change, message):
    folder = tmp_path / "shards"
    shutil.copytree(stored[0], folder)
    config, info = config_for(folder), json.loads((folder / "dataset.json").read_text())
    change(config, info)
    (folder / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=message):
        setup.open_dataset(config, folder)


def test_mixtures_and_other_codecs_are_refused(stored, tmp_path):
    config = config_for(stored[0])
    dataset = setup.open_dataset(config, stored[0])
    setup.check_codec(dataset, dataset.latents["codec"])
    with pytest.raises(InputError, match=r"found latents of the codec \w+ .* run's, another"):
        setup.check_codec(dataset, "another")
    config.data.mix.ratio = 0.5
    with pytest.raises(InputError, match=r"data\.mix\.ratio: found 0\.5, expected 0 .* waveforms"):
        setup.check(config, tmp_path)
