"""Parity checks of the codecs that encode waveforms."""

import jax
import jax.numpy as jnp
import numpy as np

from helpers.parity_measures import parameters, relative_error
from vssflow_jax.codecs import oobleck as codecs
from vssflow_jax.weights import oobleck

BOUND = 5e-5


def channels_last(array):
    return np.moveaxis(array, 1, -1)


def probe(model, params, x):
    """The output of a model, and the outputs of its modules."""

    @jax.jit
    def run(params, x):
        return model.apply({"params": params}, x, capture_intermediates=True)

    out, state = run(params, x)
    return out, state["intermediates"]


def inside(probes, path):
    for name in path.split("/"):
        probes = probes[name]
    return probes["__call__"][0]


def check_oobleck(tensors, sidecar):
    sizes, state = sidecar["config"], parameters(tensors)
    config = oobleck.infer_config(state, sizes["sampling_rate"])
    assert (config.width, config.decoder_width) == (
        sizes["encoder_hidden_size"],
        sizes["decoder_channels"],
    )
    assert (list(config.ratios), list(config.multiples)) == (
        sizes["downsampling_ratios"],
        sizes["channel_multiples"],
    )
    assert (config.latent_channels, config.audio_channels, config.hop) == (
        sizes["decoder_input_channels"],
        sizes["audio_channels"],
        sizes["hop"],
    )
    params = oobleck.oobleck_from_official(config, state)
    wave = channels_last(tensors["in.wave"])
    moments, probes = probe(codecs.Encoder(config), params["encoder"], wave)

    def assert_close(actual, name):
        assert relative_error(actual, channels_last(tensors[f"out.{name}"])) <= BOUND, name

    assert_close(inside(probes, "conv1"), "enc_conv1")
    assert_close(inside(probes, "block_0/res_unit1"), "enc_block0_res_unit1")
    for block in range(len(config.ratios)):
        assert_close(inside(probes, f"block_{block}"), f"enc_block{block}")
    assert_close(moments, "encoder")
    mean, deviation = codecs.split_moments(moments)
    assert_close(mean, "mean")
    assert_close(deviation, "std")
    sample = mean + deviation * channels_last(tensors["in.eps"])
    assert_close(sample, "sample")
    decoded, probes = probe(codecs.Decoder(config), params["decoder"], mean)
    assert_close(inside(probes, "conv1"), "dec_conv1")
    assert_close(inside(probes, "block_0/conv_t1"), "dec_block0_conv_t1")
    for block in range(len(config.ratios)):
        assert_close(inside(probes, f"block_{block}"), f"dec_block{block}")
    assert_close(decoded, "decoded_mean")
    assert_close(probe(codecs.Decoder(config), params["decoder"], sample)[0], "decoded_sample")
    nats = jnp.square(mean) + jnp.square(deviation) - 2 * jnp.log(deviation) - 1
    assert relative_error(nats.sum(-1).mean()[None], tensors["out.kl"]) <= BOUND


CHECKS = {"oobleck": check_oobleck, "oobleck_ace": check_oobleck}
