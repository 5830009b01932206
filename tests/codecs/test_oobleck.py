"""The Oobleck codec: shapes, chunks, sizes, its published files."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import in_process

from vssflow_jax.codecs import oobleck as codecs
from vssflow_jax.codecs.interface import (
    check_rate,
    hash_codec,
    load_codec,
    reconstruct,
    save_codec,
)
from vssflow_jax.codecs.oobleck import OobleckCodec, OobleckConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import read_arrays, write_arrays
from vssflow_jax.weights import codec as weights_codec
from vssflow_jax.weights import oobleck

TINY = OobleckConfig(
    width=4,
    decoder_width=3,
    ratios=(4, 10),
    multiples=(1, 2),
    latent_channels=2,
    sample_rate=1000,
)


def random_codec(config=TINY, seed=0) -> OobleckCodec:
    rng = np.random.default_rng(seed)

    def draw(leaf):
        scale = 0.5 / np.sqrt(max(np.prod(leaf.shape[:-1]), 1)) if len(leaf.shape) > 1 else 0.1
        return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)

    return OobleckCodec(config=config, **jax.tree.map(draw, oobleck.oobleck_shapes(config)))


@pytest.fixture(scope="module")
def codec():
    return random_codec()


def encode(codec, wave):
    return jax.jit(lambda codec, wave: codec.encode(wave))(codec, wave)


def decode(codec, latent):
    return jax.jit(lambda codec, latent: codec.decode(latent))(codec, latent)


def draw_wave(codec, frames, extra=0, seed=1):
    shape = (2, frames * codec.config.hop + extra, codec.audio_channels)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_waves_become_latents_and_back(codec):
    wave = draw_wave(codec, frames=7, extra=5)
    mean, deviation = encode(codec, wave)
    assert mean.shape == deviation.shape == (2, 7, codec.channels)
    assert (np.asarray(deviation) >= codecs.MIN_DEVIATION).all()
    assert decode(codec, mean).shape == (2, 7 * codec.config.hop, 2)
    assert reconstruct(codec, wave).shape == (2, 7 * codec.config.hop, 2)


def test_a_mono_codec_takes_waves_without_an_axis_for_channels():
    codec = random_codec(OobleckConfig(**{**vars(TINY), "audio_channels": 1}))
    wave = draw_wave(codec, frames=3)[..., 0]
    assert decode(codec, encode(codec, wave)[0]).shape == wave.shape


def test_chunks_give_the_result_of_the_whole_wave(codec, monkeypatch):
    wave = draw_wave(codec, frames=60)
    monkeypatch.setattr(codecs, "CHUNK_SECONDS", 100.0)
    mean = encode(codec, wave)[0]
    decoded = decode(codec, mean)
    monkeypatch.setattr(codecs, "CHUNK_SECONDS", 0.0)  # three times the reach
    np.testing.assert_allclose(encode(codec, wave)[0], mean, atol=2e-5)
    np.testing.assert_allclose(decode(codec, mean), decoded, atol=2e-5)


def test_what_lies_beyond_the_reach_does_not_matter(codec):
    """By gradients: of the encoder's middle frame, and of the decoder's middle sample."""
    config, frames = codec.config, 41
    middle = frames // 2

    def latent(wave):
        return codecs.Encoder(config).apply({"params": codec.encoder}, wave)[0, middle].sum()

    def sample(latent):
        wave = codecs.Decoder(config).apply({"params": codec.decoder}, latent)
        return wave[0, middle * config.hop : (middle + 1) * config.hop].sum()

    wave = jnp.asarray(draw_wave(codec, frames)[:1])
    by_sample = np.abs(jax.jit(jax.grad(latent))(wave))
    ones = jnp.ones((1, frames, config.latent_channels))
    by_latent = np.abs(jax.jit(jax.grad(sample))(ones))
    reached = [
        np.abs(np.flatnonzero(gradient.reshape(frames, -1).sum(1)) - middle).max()
        for gradient in (by_sample, by_latent)
    ]
    assert config.reach - 1 <= max(reached) <= config.reach


def test_the_published_sizes_are_those_of_their_configs():
    ace, stable = OobleckConfig(), OobleckConfig(ratios=(2, 4, 4, 8, 8), sample_rate=44_100)
    numbers = {}
    for config in (ace, stable):
        flat = flatten_dict(oobleck.oobleck_shapes(config), sep="/")
        kernels = {path: leaf for path, leaf in flat.items() if path.endswith("kernel")}
        folded = sum(leaf.size for leaf in flat.values())
        # Weight norm has a magnitude an output channel; transposed ones have one an input channel.
        magnitudes = sum(
            leaf.shape[-2 if path.endswith("conv_t1/kernel") else -1]
            for path, leaf in kernels.items()
        )
        numbers[config.sample_rate] = folded + magnitudes
    assert numbers == {48_000: pytest.approx(168.70e6, rel=1e-4), 44_100: 156_112_514}
    assert (ace.hop, stable.hop, ace.reach) == (1920, 2048, 9)
    check_rate(OobleckCodec(encoder={}, decoder={}, config=ace), "ace")
    with pytest.raises(InputError, match=r"21\.53 latent frames a second, expected 25"):
        check_rate(OobleckCodec(encoder={}, decoder={}, config=stable), "stable")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratios": (4, 9)}, "ratios: found 9"),
        ({"width": 6}, "twice the latent channels"),
        ({"ratios": (4,)}, "2 multiples for 1 ratios"),
        ({"sample_rate": -1}, "sample_rate: found -1"),
    ],
)
def test_sizes_that_cannot_be_are_named(change, message):
    sizes = {**vars(TINY), **change}
    with pytest.raises(InputError, match=message):
        codecs.restore_codec(encoder={}, decoder={}, config=sizes)


# ---- published files ------------------------------------------------------------------------


def test_a_codec_is_saved_loaded_and_written_back_with_the_same_bits(codec, tmp_path):
    save_codec(codec, tmp_path / "ours")
    assert hash_codec(load_codec(tmp_path / "ours")) == hash_codec(codec)
    weights_codec.revert("oobleck", tmp_path / "ours", tmp_path / "published")
    for source in ("published", f"published/{oobleck.FILES[0]}"):
        weights_codec.convert("oobleck", tmp_path / source, tmp_path / "again")
        assert hash_codec(load_codec(tmp_path / "again")) == hash_codec(codec)
    weights_codec.revert("oobleck", tmp_path / "again", tmp_path / "twice")
    for name in (oobleck.FILES[0], "config.json"):
        first, second = (tmp_path / folder / name for folder in ("published", "twice"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
def test_the_command_says_what_it_has_converted(codec, tmp_path):
    oobleck.write_oobleck(codec, tmp_path / "vae")
    done = in_process.run(
        "convert", "--kind=oobleck", f"--src={tmp_path / 'vae'}", f"--out={tmp_path / 'codec'}"
    )
    assert done.returncode == 0, done.stderr
    assert "1,000 Hz, 2 channels, 2 latent channels at 25 a second" in done.stdout


def test_weight_norm_is_folded_over_all_axes_but_the_first(codec, tmp_path):
    """Magnitudes that are not the norms scale the directions."""
    oobleck.write_oobleck(codec, tmp_path)
    state = {k: np.asarray(a) for k, a in read_arrays(tmp_path / oobleck.FILES[0]).items()}
    state["decoder.block.0.conv_t1.weight_g"] = state["decoder.block.0.conv_t1.weight_g"] * 2
    write_arrays(tmp_path / oobleck.FILES[0], state)
    doubled = oobleck.read_oobleck(tmp_path)
    kernel = codec.decoder["block_0"]["conv_t1"]["kernel"]
    np.testing.assert_allclose(
        doubled.decoder["block_0"]["conv_t1"]["kernel"], 2 * kernel, rtol=1e-6
    )


def test_bfloat16_files_are_widened_before_the_norm_is_taken(codec, tmp_path):
    oobleck.write_oobleck(codec, tmp_path)
    state = {k: np.asarray(a) for k, a in read_arrays(tmp_path / oobleck.FILES[0]).items()}
    half = {name: array.astype(ml_dtypes.bfloat16) for name, array in state.items()}
    write_arrays(tmp_path / oobleck.FILES[0], half)
    narrowed = oobleck.read_oobleck(tmp_path)
    name = "encoder.conv1"
    g, v = (np.float64(half[f"{name}.weight_{part}"]) for part in "gv")
    expected = g * v / np.sqrt((v**2).sum((1, 2), keepdims=True))
    kernel = narrowed.encoder["conv1"]["kernel"]
    np.testing.assert_allclose(kernel, expected.transpose(2, 1, 0), rtol=1e-6)


def tools_name(name, blocks):
    """The name that stable-audio-tools has for a tensor of diffusers."""
    outer = {"conv1": "layers.0", "snake1": f"layers.{blocks + 1}", "conv2": f"layers.{blocks + 2}"}
    units = {"snake1": "layers.0", "conv1": "layers.1", "snake2": "layers.2", "conv2": "layers.3"}
    inner = {
        "encoder": {"res_unit1": 0, "res_unit2": 1, "res_unit3": 2, "snake1": 3, "conv1": 4},
        "decoder": {"snake1": 0, "conv_t1": 1, "res_unit1": 2, "res_unit2": 3, "res_unit3": 4},
    }
    part, first, *rest = name.split(".")
    if first != "block":
        return ".".join([part, outer[first], *rest])
    number, layer, *rest = rest
    words = [part, f"layers.{int(number) + 1}", f"layers.{inner[part][layer]}"]
    if layer.startswith("res_unit"):
        words.append(units[rest.pop(0)])
    return ".".join([*words, *rest])


def test_names_of_stable_audio_tools_are_read(codec, tmp_path):
    state = {}
    for name, array in oobleck.oobleck_to_official(codec).items():
        array = array.reshape(-1) if name.endswith(("alpha", "beta")) else array
        state[f"pretransform.model.{tools_name(name, len(TINY.ratios))}"] = array
    state["conditioner.weight"] = np.zeros(3, np.float32)  # of the rest of the model
    write_arrays(tmp_path / "model.safetensors", state)
    (tmp_path / "model_config.json").write_text(json.dumps({"sample_rate": 1000}))
    assert hash_codec(oobleck.read_oobleck(tmp_path)) == hash_codec(codec)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("encoder.conv1.weight_v"), "no tensor encoder.conv1"),
        (lambda state: state.pop("decoder.block.1.snake1.beta"), "missing tensors decoder.block.1"),
        (lambda state: state.update(extra=np.zeros(2, np.float32)), "unknown tensors extra"),
    ],
)
def test_damaged_files_are_named(codec, tmp_path, damage, message):
    oobleck.write_oobleck(codec, tmp_path)
    state = {k: np.asarray(a) for k, a in read_arrays(tmp_path / oobleck.FILES[0]).items()}
    damage(state)
    write_arrays(tmp_path / oobleck.FILES[0], state)
    with pytest.raises(InputError, match=message):
        oobleck.read_oobleck(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", '{"sampling_rate": "x"}', None])
def test_a_missing_sample_rate_is_named(codec, tmp_path, text):
    oobleck.write_oobleck(codec, tmp_path)
    (tmp_path / "config.json").unlink()
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        oobleck.read_oobleck(tmp_path)
