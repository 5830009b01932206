"""The codec of a run."""

import jax
import numpy as np
import pytest

from vssflow_jax import train
from vssflow_jax.codecs.interface import hash_codec, load_codec, save_codec
from vssflow_jax.codecs.oobleck import OobleckCodec, OobleckConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import AudioFormat
from vssflow_jax.config import load_recipe
from vssflow_jax.training import codec_setup
from vssflow_jax.weights.oobleck import oobleck_shapes


def test_a_run_takes_the_codec_that_its_config_names_and_keeps_it(tiny_run, tmp_path):
    config = load_recipe("grid")
    config.codec.folder = str(tiny_run / "codec")
    taken = codec_setup.ensure_codec(config, (), tmp_path)
    assert hash_codec(taken) == hash_codec(load_codec(tiny_run / "codec"))
    config.codec.folder = str(tmp_path / "elsewhere")
    assert hash_codec(codec_setup.ensure_codec(config, (), tmp_path)) == hash_codec(
        taken
    )  # it keeps its own
    with pytest.raises(InputError, match="elsewhere"):
        codec_setup.ensure_codec(config, (), tmp_path / "new")


def test_a_fitted_codec_decodes_with_the_iterations_of_the_config(tmp_path):
    config = load_recipe("grid")
    config.codec.update(iterations=5, channels=8)
    waves = np.random.default_rng(0).integers(-9999, 9999, (4, 64_000)).astype(np.int16)
    records = [{"wave": wave} for wave in waves]
    assert codec_setup.ensure_codec(config, records, tmp_path).iterations == 5


def save_oobleck(folder, **sizes):
    config = OobleckConfig(
        width=4,
        decoder_width=4,
        ratios=(4, 10),
        multiples=(1, 1),
        latent_channels=2,
        **{"sample_rate": 1000, **sizes},
    )
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), oobleck_shapes(config))
    save_codec(OobleckCodec(config=config, **params), folder)
    return str(folder)


@pytest.mark.parametrize(
    ("name", "sizes", "audio", "message"),
    [
        ("audioldm", {}, (1000, 2), "codec.name: found 'audioldm', expected 'oobleck'"),
        ("oobleck", {}, (16_000, 1), "codec for 1000 Hz stereo, .* shards' 16000 Hz mono"),
        ("", {"sample_rate": 1100}, (1100, 2), r"27\.50 latent frames a second, expected 25"),
    ],
)
def test_a_codec_that_does_not_fit_the_run_is_named(tmp_path, name, sizes, audio, message):
    config = load_recipe("grid")
    config.codec.name = name
    config.codec.folder = save_oobleck(tmp_path / "oobleck", **sizes)
    with pytest.raises(InputError, match=message):
        codec_setup.ensure_codec(config, (), tmp_path / "run", AudioFormat(*audio))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "audio", "message"),
    [
        ("oobleck", (16_000, 1), "codec.folder: found nothing, expected the folder of a codec"),
        ("", (48_000, 2), "found sound of 48000 Hz stereo, expected 16000 Hz mono"),
    ],
)
def test_a_codec_that_cannot_be_fitted_is_named(tmp_path, name, audio, message):
    config = load_recipe("grid")
    config.codec.name = name
    with pytest.raises(InputError, match=message):
        codec_setup.ensure_codec(config, (), tmp_path, AudioFormat(*audio))


def test_a_run_takes_a_codec_of_the_format_of_its_shards(tmp_path):
    config = load_recipe("grid")
    config.codec.name = "oobleck"
    config.codec.folder = save_oobleck(tmp_path / "oobleck")
    codec = codec_setup.ensure_codec(config, (), tmp_path / "run", AudioFormat(1000, 2))
    assert codec.kind == "oobleck" and (tmp_path / "run" / "codec" / "codec.json").exists()


def test_a_codec_is_trained_first_until_it_is_there(tiny_run, tmp_path):
    config = load_recipe("grid")
    assert not codec_setup.trains_codec_first(config, tmp_path)
    config.codec.train_steps = 3
    assert codec_setup.trains_codec_first(config, tmp_path)
    save_codec(load_codec(tiny_run / "codec"), tmp_path / codec_setup.FIRST_STAGE / "codec")
    assert not codec_setup.trains_codec_first(config, tmp_path)
    taken = codec_setup.ensure_codec(config, (), tmp_path)
    assert hash_codec(taken) == hash_codec(load_codec(tiny_run / "codec"))
    config.codec.folder = str(tiny_run / "codec")
    assert not codec_setup.trains_codec_first(config, tmp_path / "other")


def test_the_stage_of_the_codec_has_the_runs_data_and_the_recipes_optimizer(tmp_path):
    config = load_recipe("grid")
    config.seed = 5
    config.codec.update(train_steps=30, width=48, head="istft")
    stage = codec_setup.first_stage_config(config, tmp_path)
    assert (stage.train.task, stage.train.steps, stage.seed) == ("codec", 30, 5)
    assert (stage.codec.width, stage.codec.head, stage.codec.train_steps) == (48, "istft", 0)
    assert stage.data.shards == str(tmp_path) and stage.data.duration == config.data.duration
    assert stage.optim == load_recipe("codec").optim
    assert config.codec.train_steps == 30


def test_a_codec_that_cannot_be_trained_first_is_an_error(tmp_path):
    config = load_recipe("grid")
    config.codec.update(train_steps=30, crop=9.0)
    with pytest.raises(InputError, match=r"codec.crop: found 9.0 s, expected at most"):
        train.train(config, tmp_path)


@pytest.mark.slow
def test_a_run_trains_its_codec_and_then_its_flow(tiny_run, tmp_path, capsys):
    config = load_recipe("grid")
    config.data.update(shards=str(tiny_run / "shards"), batch_size=2)
    config.codec.update(
        train_steps=2, head="istft", channels=8, width=16, encoder_blocks=1, decoder_blocks=1
    )
    config.model.update(layers=1, heads=2, kv_heads=1, head_dim=16, duration_width=0)
    config.train.update(steps=2, checkpoint_every=1, evaluate=False)
    train.train(config, tmp_path)
    assert "training a codec first: 2 steps" in capsys.readouterr().out
    trained = load_codec(tmp_path / codec_setup.FIRST_STAGE / "codec")
    assert hash_codec(load_codec(tmp_path / "codec")) == hash_codec(trained)
    config.train.steps = 3
    train.train(config, tmp_path)
    output = capsys.readouterr().out
    assert "training a codec first" not in output and "resuming from step 2" in output
