"""Conversion of AudioLDM's folders to a codec, at once or one part at a time, and back."""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import in_process

from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.interface import hash_codec, load_codec, save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.codecs.vae import VaeConfig
from vssflow_jax.codecs.vocoder import VocoderConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.weights import audioldm, codec

VAE = VaeConfig(widths=(4, 4, 4), blocks=1, groups=2, latent_channels=2)
VOCODER = VocoderConfig(width=32, block_kernels=(3,), block_dilations=((1,),))


def random_codec(seed=0) -> AudioldmCodec:
    """A codec of random parameters."""
    rng = np.random.default_rng(seed)
    vae, vocoder = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32),
        (audioldm.vae_shapes(VAE), audioldm.vocoder_shapes(VOCODER)),
    )
    return AudioldmCodec(vae=vae, vocoder=vocoder, vae_config=VAE, vocoder_config=VOCODER)


@pytest.fixture
def published(tmp_path):
    """An AudioLDM folder."""
    audioldm.write_codec(random_codec(), tmp_path / "audioldm")
    return tmp_path / "audioldm"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_command_round_trip(published, tmp_path):
    ours, back = tmp_path / "codec", tmp_path / "back"
    done = in_process.run("convert", "--kind=codec", f"--src={published}", f"--out={ours}")
    assert done.returncode == 0, done.stderr
    assert hash_codec(load_codec(ours)) == hash_codec(random_codec())
    codec.revert("codec", ours, back)
    assert contents(back) == contents(published)


@pytest.mark.parametrize("order", [codec.PARTS, codec.PARTS[::-1]])
def test_the_two_parts_join_in_any_order(order, published, tmp_path):
    first, second = order
    ours = tmp_path / "codec"
    summary = codec.convert(first, published / first, ours)
    assert f"no codec until the {second}" in summary and not (ours / "codec.json").exists()
    codec.convert(second, published / second / codec.FILES[second][0], ours)  # by its file
    assert hash_codec(load_codec(ours)) == hash_codec(random_codec())
    assert set(contents(ours)) == {"codec.json", "codec.safetensors"}
    for part in order:
        codec.revert(part, ours, tmp_path / part)
        assert contents(tmp_path / part) == contents(published / part)


def test_one_part_can_be_replaced(published, tmp_path):
    save_codec(random_codec(seed=1), tmp_path / "codec")
    codec.convert("vocoder", published / "vocoder", tmp_path / "codec")
    actual, expected = (
        load_codec(tmp_path / "codec"),
        random_codec(seed=1).replace(vocoder=random_codec().vocoder),
    )
    assert hash_codec(actual) == hash_codec(expected)


def test_wrong_sources_are_named_and_nothing_is_written(published, tmp_path):
    out = tmp_path / "codec"
    other = published / "vae" / "config.json"
    for kind, src, word in (
        ("vae", published / "vocoder", r"config\.json"),
        ("vae", other, "--src="),
        ("codec", published / "vae", r"config\.json"),
        ("vocoder", tmp_path / "nowhere", "nowhere"),
    ):
        with pytest.raises(InputError, match=word):
            codec.convert(kind, src, out)
    assert not out.exists()


def test_parts_that_do_not_fit_are_an_error(published, tmp_path):
    config = dataclasses.replace(VOCODER, rates=(5, 4, 2, 2), kernels=(16, 16, 8, 4))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32), audioldm.vocoder_shapes(config)
    )
    audioldm.write_vocoder(config, params, published / "vocoder")
    codec.convert("vae", published / "vae", tmp_path / "codec")
    with pytest.raises(InputError, match="expected 160"):
        codec.convert("vocoder", published / "vocoder", tmp_path / "codec")
    assert not (tmp_path / "codec" / "codec.json").exists()


def test_codecs_of_other_kinds_have_no_such_parts(published, tmp_path):
    waves = np.random.default_rng(0).standard_normal((3, 64_000), np.float32)
    save_codec(fit_pca(waves, channels=8, whitening=0.5), tmp_path / "codec")
    before = contents(tmp_path / "codec")
    with pytest.raises(InputError, match="pca"):
        codec.convert("vae", published / "vae", tmp_path / "codec")
    with pytest.raises(InputError, match="pca"):
        codec.revert("vae", tmp_path / "codec", tmp_path / "back")
    assert contents(tmp_path / "codec") == before


def test_published_sizes_have_the_published_names():
    """Spot checks of the real model's state dict: names, shapes, counts of the halves."""
    vae = {e.official for e in audioldm.vae_entries(VaeConfig())}
    assert {"encoder.mid_block.attentions.0.to_out.0.weight", "quant_conv.bias"} <= vae
    assert "decoder.up_blocks.1.upsamplers.0.conv.weight" in vae
    assert len(vae) == len(flatten_dict(audioldm.vae_shapes(VaeConfig()), sep="/"))
    vocoder = {e.official for e in audioldm.vocoder_entries(VocoderConfig())}
    assert {"conv_pre.weight", "upsampler.4.bias", "resblocks.14.convs2.2.weight"} <= vocoder
