"""The AudioLDM-shaped codec at tiny sizes: properties, its folders, and damage that is named."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import tiny_configs
from safetensors.numpy import load_file, save_file

from vssflow_jax.codecs import audioldm as audioldm_codec
from vssflow_jax.codecs import interface as codecs
from vssflow_jax.codecs import mel, vae
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.chunked import chunk_starts
from vssflow_jax.codecs.vae import VaeConfig
from vssflow_jax.codecs.vocoder import Vocoder, VocoderConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.weights import audioldm

VAE = VaeConfig(widths=(4, 4, 8), blocks=1, groups=2, latent_channels=3)
VOCODER = VocoderConfig(width=32, block_kernels=(3,), block_dilations=((1, 3),))
VAE_FILE, VOCODER_FILE = "vae/diffusion_pytorch_model.safetensors", "vocoder/model.safetensors"


def filled(shapes, seed=0):
    """Random parameters of given shapes, of a size that keeps signals alive."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        fan = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 1
        return np.asarray(rng.normal(0, 1.0 / np.sqrt(fan), leaf.shape), np.float32)

    return jax.tree.map(draw, shapes)


def waves(count=2, samples=16_000, seed=0):
    """Noise that swells and fades."""
    rng = np.random.default_rng(seed)
    swell = np.sin(np.linspace(0, np.pi, samples))
    return (0.2 * rng.normal(size=(count, samples)) * swell).astype(np.float32)


@pytest.fixture(scope="module")
def codec():
    return AudioldmCodec(
        vae=filled(audioldm.vae_shapes(VAE)),
        vocoder=filled(audioldm.vocoder_shapes(VOCODER), seed=1),
        vae_config=VAE,
        vocoder_config=VOCODER,
    )


@pytest.fixture
def folder(codec, tmp_path):
    audioldm.write_codec(codec, tmp_path)
    return tmp_path


encode = jax.jit(lambda codec, wave: codec.encode(wave))
encode_mel = jax.jit(lambda codec, mels: codec.encode_mel(mels))
decode = jax.jit(lambda codec, latent: codec.decode(latent))


def same_arrays(one, other):
    one, other = codecs.codec_arrays(one), codecs.codec_arrays(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_latent_and_waveform_have_the_codecs_lengths(codec):
    mean, deviation = encode(codec, waves(samples=16_000 + 300))
    assert mean.shape == deviation.shape == (2, 25, codec.channels) == (2, codec.rate, 48)
    wave = decode(codec, mean)
    assert wave.shape == (2, 16_000)
    assert np.abs(wave).max() <= 1 and np.std(wave) > 1e-4


def test_published_sizes():
    assert AudioldmCodec({}, {}, VaeConfig(), VocoderConfig()).channels == 128
    shapes = audioldm.vae_shapes(VaeConfig()), audioldm.vocoder_shapes(VocoderConfig())
    count = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in shapes]
    assert count == [55_376_873, 55_265_025]


def test_deviation_is_that_of_the_log_variance(codec):
    wave = waves()
    log_mel = jax.jit(lambda wave: mel.log_mel(mel.normalize_peak(wave)))(wave)
    mean, log_variance = encode_mel(codec, log_mel)
    encoded, deviation = encode(codec, wave)
    np.testing.assert_allclose(encoded, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(deviation, np.exp(log_variance / 2), rtol=1e-3)
    assert np.std(np.asarray(log_variance)) > 0.01
    vae = jax.tree.map(np.copy, codec.vae)
    vae["to_moments"]["bias"] += 1e4
    assert encode(codec.replace(vae=vae), wave)[1].max() == pytest.approx(np.exp(10), rel=1e-5)


def test_latent_channels_run_inside_mel_cells(codec):
    """Channel = cell * Z + latent channel: a cell's band moves Z neighbouring channels most."""
    quiet = np.zeros((2, 100, 64), np.float32)
    loud = quiet.copy()
    loud[:, :, 32:36] = 3.0  # the band of cell 8
    moved = encode_mel(codec, loud)[0] - encode_mel(codec, quiet)[0]
    by_cell = np.abs(np.asarray(moved)).mean((0, 1)).reshape(16, VAE.latent_channels).mean(-1)
    assert abs(int(np.argmax(by_cell)) - 8) <= 1


def test_loudness_and_offset_do_not_matter(codec):
    wave = waves()
    mean, _ = encode(codec, wave)
    again, _ = encode(codec, 0.1 * wave + 0.01)
    np.testing.assert_allclose(again, mean, atol=0.02 * np.std(mean))


def test_a_clip_does_not_depend_on_its_batch(codec):
    wave = waves(3)
    mean, _ = encode(codec, wave[:2])
    other, _ = encode(codec, wave[[2, 0]])
    np.testing.assert_allclose(other[1], mean[0], rtol=1e-3, atol=1e-4)


def test_vocoder_moves_with_its_frames(codec):
    mels = np.random.default_rng(0).normal(size=(1, 40, 64)).astype(np.float32)
    run = jax.jit(lambda mels: Vocoder(VOCODER).apply({"params": codec.vocoder}, mels))
    wave, later = run(mels), run(np.roll(mels, 1, axis=1))
    assert wave.shape == (1, 40 * mel.HOP + 32)
    inner = slice(12 * mel.HOP, 28 * mel.HOP)
    moved = np.asarray(later)[:, inner.start + mel.HOP : inner.stop + mel.HOP]
    assert np.std(moved) > 1e-4
    np.testing.assert_allclose(moved, np.asarray(wave)[:, inner], atol=1e-5)


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of 60 latent frames."""
    monkeypatch.setattr(audioldm_codec, "CHUNK", 60)
    monkeypatch.setattr(audioldm_codec, "FADE", 4)


def test_a_long_clip_is_vocoded_as_in_one_piece(codec, short_chunks):
    mels = np.random.default_rng(0).normal(size=(2, 600, 64)).astype(np.float32)
    reference = jax.jit(codec._vocode_chunk)(mels)
    chunked = jax.jit(codec.vocode)(mels)
    assert np.std(reference) > 1e-4
    np.testing.assert_allclose(chunked, reference, atol=1e-6)


def test_chunks_are_exact_where_the_autoencoder_is_local(codec, short_chunks, monkeypatch):
    """Without its norms and its attention, which see all frames, it gives the whole clip's."""
    monkeypatch.setattr(vae, "_norm", lambda groups, name: lambda x: 0.5 * x)
    params = jax.tree.map(np.copy, codec.vae)
    for part in ("encoder", "decoder"):
        params[part]["middle"]["attention"]["out"] = jax.tree.map(
            np.zeros_like, params[part]["middle"]["attention"]["out"]
        )
    codec = codec.replace(vae=params)
    wave = waves(samples=150 * 640)
    padded = mel.reflect_pad(mel.normalize_peak(wave))
    moments = jax.jit(codec._encode_padded)(padded)
    for chunked, expected in zip(jax.jit(codec.encode)(wave), moments, strict=True):
        assert chunked.shape == (2, 150, codec.channels)
        np.testing.assert_allclose(chunked, expected, rtol=1e-4, atol=1e-5)
    decoded = jax.jit(codec._decode_mel_chunk)(moments[0])
    assert np.std(decoded) > 1e-3
    np.testing.assert_allclose(jax.jit(codec.decode_mel)(moments[0]), decoded, rtol=1e-4, atol=1e-4)


def test_inside_a_chunk_a_long_clip_is_coded_as_that_chunk_alone(codec, short_chunks):
    wave = waves(samples=150 * 640)
    mean, deviation = jax.jit(codec.encode)(wave)
    padded = np.asarray(mel.reflect_pad(mel.normalize_peak(wave)))
    first = chunk_starts(150, 60, 2 * VAE.encoder_reach + 4)[1]
    part = padded[:, first * 640 : (first + 60) * 640 + 2 * mel.PAD]
    alone = jax.jit(codec._encode_padded)(part)
    inside = slice(VAE.encoder_reach + 4, 60 - VAE.encoder_reach - 4)
    for array, expected in zip((mean, deviation), alone, strict=True):
        np.testing.assert_allclose(
            array[:, first:][:, inside], expected[:, inside], rtol=1e-4, atol=1e-5
        )


def test_memory_does_not_grow_with_length(codec, short_chunks):
    """But for the waveform, the log-mel and the latent themselves."""

    def temporary(frames):
        function = jax.jit(lambda wave: codec.decode(codec.encode(wave)[0]))
        compiled = function.lower(jax.ShapeDtypeStruct((1, frames * 640), np.float32)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    waveform = 4 * 640  # bytes a latent frame
    assert temporary(1200) - temporary(600) < 600 * 8 * waveform
    assert temporary(600) > 600 * 4 * waveform


def test_saving_and_loading_keeps_the_codec(codec, tmp_path):
    codecs.save_codec(codec, tmp_path)
    again = codecs.load_codec(tmp_path)
    same_arrays(again, codec)
    assert codecs.hash_codec(again) == codecs.hash_codec(codec)
    assert (again.vae_config, again.vocoder_config) == (VAE, VOCODER)
    names = load_file(tmp_path / "codec.safetensors")
    assert "vae/encoder/level_0/block_0/conv1/kernel" in names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codec.json", "codec.safetensors"]


def test_the_hash_depends_on_each_parameter_and_size(codec):
    vocoder = jax.tree.map(np.copy, codec.vocoder)
    vocoder["block_0"]["plain_1"]["bias"][0] += 1
    slope = dataclasses.replace(VOCODER, slope=0.2)
    changed = codec.replace(vocoder=vocoder), codec.replace(vocoder_config=slope)
    assert len({codecs.hash_codec(c) for c in (codec, *changed)}) == 3


def test_damaged_settings_are_named(codec, tmp_path):
    codecs.save_codec(codec, tmp_path)
    path = tmp_path / "codec.json"
    saved = json.loads(path.read_text())
    for change, message in (
        ({"vae_config": {}}, "widths"),
        ({"vae_config": 3}, "audioldm"),
        ({"vae_config": {**saved["vae_config"], "widths": [4, 4, 7]}}, "multiples of 2"),
        ({"vocoder_config": {**saved["vocoder_config"], "slope": 0.3}}, "hash"),
        ({"kind": ["pca"]}, "expected one of"),
        ({"kind": "pca"}, "pca"),
    ):
        path.write_text(json.dumps({**saved, **change}))
        with pytest.raises(InputError, match=message):
            codecs.load_codec(tmp_path)
    path.write_text("[]")
    with pytest.raises(InputError, match="expected a codec's settings"):
        codecs.load_codec(tmp_path)


def test_published_folders_round_trip(codec, folder):
    again = audioldm.read_codec(folder)
    same_arrays(again, codec)
    assert codecs.hash_codec(again) == codecs.hash_codec(codec)
    first = (folder / VAE_FILE).read_bytes(), (folder / VOCODER_FILE).read_bytes()
    audioldm.write_codec(again, folder)
    assert ((folder / VAE_FILE).read_bytes(), (folder / VOCODER_FILE).read_bytes()) == first


def test_older_attention_names(codec, folder):
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, array in load_file(folder / VAE_FILE).items():
        for new, old in older.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        state[name] = array
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in state
    save_file(state, folder / VAE_FILE)
    same_arrays(audioldm.read_codec(folder), codec)


@pytest.mark.parametrize("names", audioldm.WEIGHT_NORM, ids=["older", "newer"])
def test_weight_norm_is_folded(codec, folder, names):
    rng = np.random.default_rng(3)
    state = {}
    for name, array in load_file(folder / VOCODER_FILE).items():
        if not name.endswith(".weight"):
            state[name] = array
            continue
        norm = np.sqrt((array**2).sum((1, 2), keepdims=True))
        base, size = name.removesuffix("weight"), rng.uniform(0.5, 2)
        state[base + names[0]], state[base + names[1]] = norm, np.float32(size) * array
    save_file(state, folder / VOCODER_FILE)
    again = flatten_dict(audioldm.read_codec(folder).vocoder, sep="/")
    for path, array in flatten_dict(codec.vocoder, sep="/").items():
        np.testing.assert_allclose(again[path], array, rtol=1e-5, atol=1e-7, err_msg=path)
    lost = {name: array for name, array in state.items() if name != f"conv_pre.{names[0]}"}
    save_file(lost, folder / VOCODER_FILE)
    with pytest.raises(InputError, match=rf"missing .*conv_pre\.weight.*conv_pre\.{names[1]}"):
        audioldm.read_codec(folder)
    wide = {**state, f"conv_pre.{names[0]}": np.ones((3, 1, 1), np.float32)}
    save_file(wide, folder / VOCODER_FILE)
    with pytest.raises(InputError, match=rf"conv_pre\.{names[0]} .*\[3, 1, 1\].*\[32, 1, 1\]"):
        audioldm.read_codec(folder)
    both = {**state, "conv_pre.weight": state[f"conv_pre.{names[1]}"]}
    save_file(both, folder / VOCODER_FILE)
    with pytest.raises(InputError, match=rf"unknown .*conv_pre\.{names[0]}"):
        audioldm.read_codec(folder)


def put(name, array):
    return lambda state: state.update({name: np.ascontiguousarray(array(state[name]))})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("conv_post.bias"), r"missing tensors conv_post\.bias"),
        (lambda state: state.update(extra=np.zeros(3)), "unknown tensors extra"),
        (
            lambda state: state.update({"conv_prae.bias": state.pop("conv_pre.bias")}),
            r"missing tensors conv_pre\.bias.* unknown tensors conv_prae\.bias",
        ),
        (
            put("upsampler.0.weight", lambda a: a.transpose(1, 0, 2)),
            r"upsampler\.0\.weight .*\[16, 32, 16\].*\[32, 16, 16\]",
        ),
        (put("mean", lambda a: a.astype(np.float16)), "mean is float16"),
        (put("resblocks.2.convs1.1.weight", lambda a: a * np.nan), r"resblocks\.2\.convs1\.1"),
    ],
    ids=["missing", "unknown", "renamed", "transposed", "dtype", "nan"],
)
def test_damaged_tensors_are_named(folder, damage, message):
    state = load_file(folder / VOCODER_FILE)
    damage(state)
    save_file(state, folder / VOCODER_FILE)
    with pytest.raises(InputError, match=rf"model\.safetensors.*{message}"):
        audioldm.read_codec(folder)


def test_damaged_files_are_named(folder):
    content = (folder / VAE_FILE).read_bytes()
    (folder / VAE_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="diffusion_pytorch_model"):
        audioldm.read_codec(folder)
    (folder / VAE_FILE).unlink()
    with pytest.raises(InputError, match="no weights, expected diffusion_pytorch_model"):
        audioldm.read_codec(folder)
    with pytest.raises(InputError, match=r"vae.config\.json: no such file"):
        audioldm.read_codec(folder / "nowhere")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("vae", {"block_out_channels": None}, "block_out_channels: not there"),
        ("vae", {"block_out_channels": 8}, "block_out_channels: found 8"),
        ("vae", {"layers_per_block": "2"}, "layers_per_block: found '2'"),
        ("vae", {"layers_per_block": True}, "layers_per_block: found True"),
        ("vae", {"norm_num_groups": 0}, "norm_num_groups: found 0"),
        ("vae", {"norm_num_groups": 3}, "multiples of 3"),
        ("vae", {"act_fn": "relu"}, "act_fn: found 'relu', expected 'silu'"),
        ("vae", {"down_block_types": ["AttnDownEncoderBlock2D"] * 3}, "down_block_types"),
        ("vocoder", {"upsample_rates": []}, "upsample_rates: found"),
        ("vocoder", {"upsample_rates": [5, 4, 2, 2]}, "5 kernels for 4 rates"),
        ("vocoder", {"resblock_dilation_sizes": [1, 3]}, "resblock_dilation_sizes: found"),
        ("vocoder", {"sampling_rate": 22050}, "sampling_rate: found 22050, expected 16000"),
        ("vocoder", {"leaky_relu_slope": "steep"}, "leaky_relu_slope: found 'steep'"),
        ("vocoder", {"normalize_before": 1}, "normalize_before: found 1"),
    ],
)
def test_damaged_configs_are_named(folder, part, change, message):
    path = folder / part / "config.json"
    changed = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}))
    with pytest.raises(InputError, match=rf"{part}/config\.json: .*{message}"):
        audioldm.read_codec(folder)
    path.write_text("{")
    with pytest.raises(InputError, match=rf"{part}/config\.json"):
        audioldm.read_codec(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vae_config": dataclasses.replace(VAE, widths=(4, 8))}, "2 mel frames a latent frame"),
        ({"vocoder_config": dataclasses.replace(VOCODER, bands=80)}, "80 mel bands"),
        (
            {"vocoder_config": dataclasses.replace(VOCODER, rates=(4, 4, 2, 2, 2))},
            "128 samples a mel frame",
        ),
    ],
)
def test_parts_that_do_not_fit_are_an_error(codec, tmp_path, change, message):
    other = codec.replace(**change)
    other = other.replace(
        vae=filled(audioldm.vae_shapes(other.vae_config)),
        vocoder=filled(audioldm.vocoder_shapes(other.vocoder_config)),
    )
    audioldm.write_codec(other, tmp_path)
    with pytest.raises(InputError, match=message):
        audioldm.read_codec(tmp_path)


def test_normalizing_is_transformers_default(folder):
    path = folder / "vocoder" / "config.json"
    published = json.loads(path.read_text())
    assert published.pop("normalize_before") is False
    path.write_text(json.dumps(published))
    assert audioldm.read_codec(folder).vocoder_config.normalize


@pytest.mark.slow
def test_training_and_sampling_with_it(codec, tmp_path):
    codecs.save_codec(codec, tmp_path / "codec")
    done = tiny_configs.train(tmp_path, "--config.train.steps=2")
    assert done.returncode == 0, done.stderr
    again = codecs.load_codec(tmp_path / "codec")
    assert codecs.hash_codec(again) == codecs.hash_codec(codec)
    out = tmp_path / "out.wav"
    done = tiny_configs.run(
        "sample", f"--workdir={tmp_path}", "--text=set blue now", f"--out={out}"
    )
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 16_000
