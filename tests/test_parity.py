"""Our modules against numbers of the official code: `--golden=DIR` checks any other folder.

A fixture is NAME.safetensors with its sidecar NAME.json; its config gives every size, so
fixtures of other widths, lengths, depths and seeds are checked by the same functions.
"""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import parity_codecs, parity_encoders, parity_scores
from helpers.parity_measures import parameters, relative_error
from safetensors.numpy import load_file

from vssflow_jax import conditions, weights
from vssflow_jax.codecs import mel
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.vae import Vae
from vssflow_jax.codecs.vocoder import Vocoder
from vssflow_jax.flow import guidance, path, solvers
from vssflow_jax.models import alignment
from vssflow_jax.models.conditioner import ConditionerConfig
from vssflow_jax.models.dit import DiT, DiTConfig
from vssflow_jax.models.vssflow import VSSFlow
from vssflow_jax.weights import audioldm

FORWARD, GRADIENT, FIXED, ADAPTIVE = 2e-5, 1e-4, 1e-4, 2e-4
ROUTES = {
    "lip_synch_text": "joint",
    "none": "none",
    "lip_synch": "lip_sync",
    "video_text": "video_text",
    "lip_synch_video_text": "all_concat",
}


def swap(array):
    """[B, C, L] <-> [B, L, C]."""
    return np.swapaxes(array, 1, 2)


def dit_config(sizes) -> DiTConfig:
    """Our config of an official network."""
    return DiTConfig(
        channels=sizes["in_channels"],
        latent_channels=sizes["in_channels"],
        context_width=sizes.get("cross_attention_dim", 0),
        layers=sizes["num_layers"],
        heads=sizes["num_attention_heads"],
        kv_heads=sizes["num_key_value_attention_heads"],
        head_dim=sizes["attention_head_dim"],
        time_features=sizes["time_proj_dim"],
    )


def dit_params(config, state) -> dict:
    """Parameters of the network alone, with or without the official prefix."""
    state = {f"vaflow.{key.removeprefix('vaflow.')}": value for key, value in state.items()}
    return {
        "params": weights.import_params(weights.dit_entries(config), config.layers, state)["dit"]
    }


def whole_model(config) -> VSSFlow:
    """Conditioner and network of a fixture of the training step."""
    widths = {
        "clip": config["cond_feat_dim"],
        "speaker": config["cond_feat_dim"],
        "phonemes": config["phone_ebd_dim"],
        "lips": config["lip_feat_dim"],
        "sync": config["synch_feat_dim"],
    }
    route = conditions.ROUTES[ROUTES[config["route"]]]
    network = dit_config(config["dit"])
    assert route.input_width(config["original_channel"], widths) == network.channels
    assert route.context_width(widths) == network.context_width
    conditioner = ConditionerConfig(route=route, widths=tuple(sorted(widths.items())))
    return VSSFlow(conditioner, network)


def check_dit(tensors, sidecar):
    config = dit_config(sidecar["config"]["model"])
    model, variables = DiT(config), dit_params(config, parameters(tensors))

    @jax.jit
    def run(variables, context, x, t):
        keys = model.apply(variables, context, method="context_kv")
        return model.apply(variables, x, t, keys, capture_intermediates=True)

    sample, probes = run(
        variables, tensors["in.encoder_hidden_states"], swap(tensors["in.x"]), tensors["in.t"]
    )
    assert relative_error(swap(sample), tensors["out.sample"]) <= FORWARD
    inside = probes["intermediates"]
    assert relative_error(inside["time"]["__call__"][0], tensors["out.time_token"]) <= FORWARD
    assert relative_error(inside["embed"]["__call__"][0], tensors["out.proj_in"]) <= FORWARD
    parts = {"": (), ".attn1": ("attention",), ".attn2": ("cross",), ".ff": ("feed_forward",)}
    for layer in range(config.layers):
        for suffix, names in parts.items():
            probe = inside["blocks"]
            for name in names:
                probe = probe[name]
            value = probe["__call__"][0]
            value = value[0] if isinstance(value, tuple) else value
            assert relative_error(value[layer], tensors[f"out.block_{layer}{suffix}"]) <= FORWARD


def check_step(tensors, sidecar):
    config = sidecar["config"]
    batch, length = config["B"], config["L"]
    model = whole_model(config)
    params = weights.from_official(model, parameters(tensors))
    features = {
        "clip": tensors["in.clip"],
        "speaker": tensors["in.speaker"],
        "phonemes": tensors["in.phone_id"],
        "lips": tensors["in.lip"],
        "sync": tensors["in.sync"].reshape(batch, -1, tensors["in.sync"].shape[-1]),
    }
    # Channel = mel cell * latent channels + latent channel.
    x1 = tensors["in.vae_latent"].transpose(0, 2, 3, 1).reshape(batch, length, -1)
    x0, t = swap(tensors["in.noise"]), tensors["in.t"]
    latent = x0.shape[-1]

    def loss(params, keep):
        velocity = model.apply({"params": params}, path.interpolate(x0, x1, t), t, features, keep)
        return path.flow_matching_loss(velocity, path.velocity_target(x0, x1)), velocity

    @jax.jit
    def run(params, keep):
        routed = model.apply(
            {"params": params}, features, keep, length, method=lambda m, *a: m.conditioner(*a)
        )
        return jax.value_and_grad(loss, has_aux=True)(params, keep), routed

    for drop in (0, 1):
        keep = {name: jnp.full(batch, 1.0 - drop) for name in conditions.NAMES}
        ((value, velocity), gradient), routed = run(params, keep)
        expected = tensors[f"out.drop{drop}.prediction_full"][:, :latent]
        assert relative_error(swap(velocity), expected) <= FORWARD
        assert relative_error(value[None], tensors[f"out.drop{drop}.loss"]) <= FORWARD
        official = weights.to_official(model, gradient)
        mixed = tensors[f"out.drop{drop}.x_t"][:, latent:]
        if not drop and mixed.size:
            assert relative_error(swap(routed.concat), mixed) <= FORWARD
        if not drop and f"out.drop{drop}.cross_cond" in tensors:
            assert relative_error(routed.context, tensors[f"out.drop{drop}.cross_cond"]) <= FORWARD
        start = f"out.drop{drop}.grad."
        for key in (key for key in tensors if key.startswith(start)):
            assert relative_error(official[key.removeprefix(start)], tensors[key]) <= GRADIENT, key


def check_cfg_sample(tensors, sidecar):
    config = dit_config(sidecar["config"]["dit"])
    model, variables = DiT(config), dit_params(config, parameters(tensors))
    concat, context = swap(tensors["in.latent_cond"]), tensors["in.cross_cond"]
    x = swap(tensors["in.x"])[..., : config.channels - concat.shape[-1]]
    latent = x.shape[-1]

    @functools.cache
    def guided(scale):
        """The velocity at a guidance scale, traced once however often a solver calls it."""
        groups = ((("all",), float(scale)),)
        if guidance.is_unguided(groups):
            rows, attended = concat, context
        else:
            rows, attended = (np.concatenate([0 * a, a]) for a in (concat, context))
        keys = jax.jit(functools.partial(model.apply, method="context_kv"))(variables, attended)

        def velocity(x, t):
            out = model.apply(variables, jnp.concatenate([x, rows], -1), t, keys)
            return out[..., :latent]

        return jax.jit(guidance.make_guided_velocity(velocity, groups))

    for key in (key for key in tensors if key.startswith("out.velocity_w")):
        scale = float(key.removeprefix("out.velocity_w"))
        output = guided(scale)(x, tensors["in.t"][0])
        assert relative_error(swap(output), tensors[key][:, :latent]) <= FORWARD, key
    velocity, noise = guided(sidecar["config"]["guidance"]), swap(tensors["in.noise"])
    for solver in ("euler", "midpoint"):
        solve = jax.jit(
            lambda x, s=solver: solvers.solve(velocity, x, s, sidecar["config"]["sample_steps"])
        )
        assert relative_error(swap(solve(noise)), tensors[f"out.{solver}"][:, :latent]) <= FIXED
    official = jax.jit(lambda x: solvers.dopri5(velocity, x, constants=jnp.asarray(concat)))(noise)
    assert official.evaluations == sidecar["solver_log"]["dopri5"]["nfe"]
    assert relative_error(swap(official.x), tensors["out.dopri5"][:, :latent]) <= ADAPTIVE
    active = jax.jit(lambda x: solvers.dopri5(velocity, x))(noise)
    assert active.evaluations == sidecar["solver_log"]["dopri5_active_channels_only"]["nfe"]
    assert relative_error(swap(active.x), tensors["out.dopri5_active_channels_only"]) <= ADAPTIVE


def check_index_maps(tensors, sidecar):
    maps = {
        "nearest": alignment.nearest_indices,
        "nearest_exact": alignment.nearest_exact_indices,
        "phones_index": alignment.uniform_duration_indices,
    }
    for key, expected in tensors.items():
        match = re.fullmatch(r"out\.(nearest|nearest_exact|phones_index)_(\d+)_to_(\d+)", key)
        if match:
            index = maps[match[1]](int(match[2]), int(match[3]))
            np.testing.assert_array_equal(index, expected, err_msg=key)


def check_mel(tensors, sidecar):
    assert relative_error(mel.mel_filterbank(), tensors["out.mel_basis"]) <= FORWARD
    wave = tensors["in.wave"]
    log_mel = mel.log_mel(mel.normalize_peak(wave))
    for key in (key for key in tensors if key.startswith("out.mel_cut")):
        expected = tensors[key]
        fitted = np.asarray(mel.fit_length(log_mel, expected.shape[1]))
        assert np.abs(fitted - expected).mean() <= 1e-4
        assert np.abs(fitted - expected).max() <= 1e-2  # next to the clamp, where float32 ends
    padded = np.pad(wave[2:3], ((0, 0), (0, 160_000 - wave.shape[1])))
    assert (
        relative_error(mel.log_mel(mel.normalize_peak(padded)), tensors["out.mel_10s_speech"])
        <= FORWARD
    )


def channels_first(array):
    """[B, .., C] -> [B, C, ..]."""
    return np.moveaxis(array, -1, 1)


def inside(state, path):
    """The output of the module at a path, channels first."""
    for name in path.split("/"):
        state = state[name]
    return channels_first(state["__call__"][0])


def probed(model, method="__call__"):
    """(parameters, input) -> the output of the model, and the outputs of its modules."""

    @jax.jit
    def run(params, x):
        out, state = model.apply({"params": params}, x, method=method, capture_intermediates=True)
        return out, state["intermediates"]

    return run


def check_vae(tensors, sidecar):
    config = audioldm.vae_config(sidecar["config"])
    params = audioldm.vae_from_official(config, parameters(tensors))
    model, mels = Vae(config), tensors["in.mel"][:, 0]
    (mean, log_variance), probes = probed(model, "encode")(params, mels)
    assert relative_error(inside(probes, "encoder/level_0"), tensors["out.enc_down0"]) <= FORWARD
    assert relative_error(inside(probes, "encoder/middle"), tensors["out.enc_mid"]) <= FORWARD
    assert relative_error(inside(probes, "encoder"), tensors["out.encoder"]) <= FORWARD
    assert relative_error(channels_first(mean), tensors["out.mean"]) <= FORWARD
    assert relative_error(channels_first(log_variance), tensors["out.logvar"]) <= FORWARD
    codec = AudioldmCodec(vae=params, vocoder={}, vae_config=config, vocoder_config=None)
    mean, log_variance = jax.jit(codec.encode_mel)(mels)
    latent = np.moveaxis(tensors["out.sample"], 1, -1)
    noise = np.moveaxis(tensors["in.eps"], 1, -1).reshape(mean.shape)
    sample = mean + jnp.exp(0.5 * log_variance) * noise
    assert relative_error(swap(sample), tensors["out.latent_flat"]) <= FORWARD
    decoded, probes = probed(model, "decode")(params, latent)
    assert relative_error(inside(probes, "decoder/middle"), tensors["out.dec_mid"]) <= FORWARD
    assert relative_error(inside(probes, "decoder/level_0"), tensors["out.dec_up0"]) <= FORWARD
    assert relative_error(decoded, tensors["out.decoded"][:, 0]) <= FORWARD
    decoded_flat = jax.jit(codec.decode_mel)(swap(tensors["out.latent_flat"]))
    assert relative_error(decoded_flat, decoded) <= FORWARD


def check_vocoder(tensors, sidecar):
    plain, mels = parameters(tensors), tensors["in.mel"]
    config = audioldm.vocoder_config({**sidecar["config"], "normalize_before": False})
    params = audioldm.vocoder_from_official(config, plain)
    run = probed(Vocoder(config))
    wave, probes = run(params, mels)
    assert relative_error(inside(probes, "conv_in"), tensors["out.conv_pre"]) <= FORWARD
    assert relative_error(inside(probes, "stage_0"), tensors["out.upsampler_0"]) <= FORWARD
    assert relative_error(inside(probes, "block_0"), tensors["out.resblock_0"]) <= FORWARD
    assert relative_error(wave, tensors["out.wave"]) <= FORWARD
    assert relative_error(wave[0], tensors["out.wave_single"]) <= FORWARD
    normalizing = audioldm.vocoder_config({**sidecar["config"], "normalize_before": True})
    wave, _ = probed(Vocoder(normalizing))(params, mels)
    assert relative_error(wave, tensors["out.wave_normalize_before"]) <= FORWARD
    kept = {name: a for name, a in plain.items() if not name.endswith("weight")}
    for start in ("param_wn.", "param_wn_legacy."):
        normed = {k.removeprefix(start): a for k, a in tensors.items() if k.startswith(start)}
        params = audioldm.vocoder_from_official(config, kept | normed)
        wave, _ = run(params, mels)
        assert relative_error(wave, tensors["out.wave_weight_norm"]) <= FORWARD


CHECKS = {
    "dit": check_dit,
    "vssflow_step": check_step,
    "routing": check_step,
    "cfg_sample": check_cfg_sample,
    "index_maps": check_index_maps,
    "mel": check_mel,
    "vae": check_vae,
    "vocoder": check_vocoder,
    **parity_codecs.CHECKS,
    **parity_encoders.CHECKS,
    **parity_scores.CHECKS,
}


def test_parity(golden):
    sidecar = json.loads(golden.with_suffix(".json").read_text())
    kind = sidecar["fixture"]
    check = CHECKS.get("routing" if kind.startswith("routing") else kind)
    if check is None:
        pytest.skip(f"no module of ours for fixtures of the kind {kind}")
    check(load_file(golden), sidecar)
