"""Parity of the published encoders: the check of each kind of fixture."""

import functools
import importlib.util
import pathlib

import jax
import numpy as np

from helpers import unseen_sizes
from helpers.parity_measures import draw_parameters, parameters, relative_error
from vssflow_jax.encoders import avhubert, dvector, preprocessing, vggish
from vssflow_jax.encoders.avhubert import AvhubertConfig
from vssflow_jax.encoders.clip import ClipViT, ClipViTConfig
from vssflow_jax.encoders.rawnet3 import Rawnet3, Rawnet3Config
from vssflow_jax.encoders.synchformer import Synchformer, SynchformerConfig, split_segments
from vssflow_jax.weights import encoder_names, published, torch_files
from vssflow_jax.weights.mapping import import_params

BOUND, RAWNET = 5e-5, 1e-3  # a logarithm near zero: float32 itself is good to 3e-4 there
HALF = 2e-3  # of weights that are stored in float16


def channels_last(array):
    """[B, C, ..] -> [B, .., C]."""
    return np.moveaxis(array, 1, -1)


@functools.partial(jax.jit, static_argnums=0)
def run(model, params, *inputs):
    """The output of a model, and the outputs of its modules by path."""
    out, state = model.apply({"params": params}, *inputs, capture_intermediates=True)
    return out, state["intermediates"]


def module_output(probes, path):
    """The output of the module at a path; the layers of scanned modules are the first axis."""
    for name in path.split("/"):
        probes = probes[name]
    value = probes["__call__"][0]
    return value[0] if isinstance(value, tuple) else value


def inside_layers(tensors, start) -> list[int]:
    """Numbers of the layers whose output a fixture has, under names with this prefix."""
    ends = [key[len(start) :] for key in tensors if key.startswith(start)]
    return [int(end) for end in ends if end.isdigit()]


def import_parameters(entries, layers, state, unused):
    """Our parameters; `unused` tells which official tensors are left out."""
    state = {k: v for k, v in encoder_names.split_qkv(state).items() if not unused(k)}
    return import_params(entries, layers, state)


def check_clip(tensors, sidecar):
    sizes = sidecar["config"]
    config = ClipViTConfig(
        side=sizes["input_resolution"],
        patch=sizes["patch_size"],
        width=sizes["width"],
        layers=sizes["layers"],
        heads=sizes["heads"],
    )
    pixels = channels_last(tensors["in.pixels"])
    files = {"param.": encoder_names.OPENAI, "param_hf.": encoder_names.HUGGING_FACE}
    for start in files.keys() & {key.partition(".")[0] + "." for key in tensors}:
        params = import_parameters(
            encoder_names.clip_entries(config, files[start]),
            config.layers,
            parameters(tensors, start),
            lambda name: name == "visual.proj" or name.endswith("position_ids"),
        )
        features, probes = run(ClipViT(config), params, pixels)
        assert relative_error(features, tensors["out.cls_no_ln_post"]) <= BOUND
        assert relative_error(module_output(probes, "norm_in"), tensors["out.ln_pre"]) <= BOUND
        blocks = module_output(probes, "blocks")
        assert relative_error(blocks[0], tensors["out.block_0"]) <= BOUND
        assert relative_error(blocks[-1], tensors["out.tokens"]) <= BOUND
        normed, _ = run(ClipViT(config, normed=True), params, pixels)
        assert relative_error(normed, tensors["out.cls_ln_post"]) <= BOUND


def check_preprocess(tensors, sidecar):
    frames, sizes = tensors["in.image"][None], sidecar["config"]
    window = np.s_[:, 60:100, 60:100]
    small = preprocessing.resize_squeezed(frames)
    np.testing.assert_array_equal(small[0], tensors["out.clip_resized"])
    assert sizes["clip_mean"] == list(preprocessing.CLIP_MEAN)
    pixels = preprocessing.normalize_pixels(
        small, preprocessing.CLIP_MEAN, preprocessing.CLIP_DEVIATION
    )
    assert (
        relative_error(pixels[window], channels_last(tensors["out.clip_pixels_crop"][None])) <= 1e-6
    )
    small = preprocessing.resize_cropped(frames)
    np.testing.assert_array_equal(small, channels_last(tensors["out.sync_resized_cropped"]))
    pixels = preprocessing.normalize_pixels(
        small, preprocessing.SYNC_MEAN, preprocessing.SYNC_DEVIATION
    )
    assert relative_error(pixels[window], channels_last(tensors["out.sync_pixels_crop"])) <= 1e-6


def run_synchformer(sizes, state, frames):
    """Features of frames [B, T, R, R, 3], and what was inside."""
    config = SynchformerConfig(
        side=sizes["crop"],
        patch=sizes["patch"],
        frames=sizes.get("frames_per_segment", 16),
        width=sizes["dim"],
        layers=sizes["depth"],
        heads=sizes["heads"],
    )
    params = import_parameters(
        encoder_names.sync_entries(config),
        config.layers,
        state,
        lambda name: name.startswith("vfeat_extractor.patch_embed.proj."),
    )
    parts = np.concatenate([split_segments(clip, config.frames) for clip in frames])
    features, probes = run(Synchformer(config), params, parts)
    return features.reshape(len(frames), -1, *features.shape[1:]), probes


def check_synchformer(tensors, sidecar):
    frames = np.moveaxis(tensors["in.frames"], 2, -1)
    features, probes = run_synchformer(sidecar["config"], parameters(tensors), frames)
    assert relative_error(features, tensors["out.features"]) <= BOUND
    expected = tensors["out.patch_embed"]
    assert (
        relative_error(module_output(probes, "patches").reshape(expected.shape), expected) <= BOUND
    )
    blocks = module_output(probes, "blocks")
    for layer in inside_layers(tensors, "out.block_"):
        assert relative_error(blocks[layer], tensors[f"out.block_{layer}"]) <= BOUND
    for ours, theirs in (("time", "timeattn"), ("space", "spaceattn")):
        first = module_output(probes, f"blocks/{ours}")[0]
        assert relative_error(first, tensors[f"out.block_0.{theirs}"]) <= BOUND
    assert relative_error(module_output(probes, "norm_out"), tensors["out.norm"]) <= BOUND


def check_synchformer_full(tensors, sidecar):
    sizes = sidecar["config"]
    shape = (1, sizes["n_frames"], 3, sizes["crop"], sizes["crop"])
    frames = np.random.default_rng(sizes["input_seed"]).standard_normal(shape)
    frames = frames.astype(np.float32) * np.float32(0.5)
    np.testing.assert_array_equal(frames[0, 0, :, :4, :4], tensors["in.frames_corner"])
    state = draw_parameters(tensors, sidecar)
    features, _ = run_synchformer(sizes, state, np.moveaxis(frames, 2, -1))
    assert relative_error(features, tensors["out.features"]) <= BOUND


def check_rawnet3(tensors, sidecar):
    sizes, state = sidecar["config"], draw_parameters(tensors, sidecar)
    config = encoder_names.speaker_config(state)
    assert (config.channels, config.taps) == (sizes["C"], sizes["kernel"])
    assert (config.slices, config.width) == (sizes["model_scale"], sizes["nOut"])
    assert config.stride == Rawnet3Config().stride == sizes["sinc_stride"]
    unused = ("bn1.", "bn6.")
    params = import_parameters(
        encoder_names.speaker_entries(config), 1, state, lambda name: name.startswith(unused)
    )
    model, wave = Rawnet3(config), tensors["in.wave"]
    embedding, probes = run(model, params, wave)
    assert relative_error(embedding, tensors["out.embedding"]) <= RAWNET
    assert relative_error(module_output(probes, "sinc/bank").T, tensors["out.filters"]) <= BOUND
    sinc = channels_last(tensors["out.sinc_first20"])
    every = config.filters // sinc.shape[-1]
    inside = module_output(probes, "sinc")[:, : sinc.shape[1], ::every]
    assert relative_error(inside, sinc) <= RAWNET
    # Of the third layer's first frames the official numbers are 1e-3 from those in float64.
    for ours, theirs, bound in (("block_0", "layer1", RAWNET), ("block_2", "layer3", 3 * RAWNET)):
        crop = channels_last(tensors[f"out.{theirs}_crop"])
        inside = module_output(probes, ours)[:, : crop.shape[1], : crop.shape[2]]
        assert relative_error(inside, crop) <= bound
    assert relative_error(module_output(probes, "norm_out"), tensors["out.pooled_bn5"]) <= RAWNET


def check_avhubert_resnet(tensors, sidecar):
    state = draw_parameters(tensors, sidecar)
    config = AvhubertConfig(**encoder_names.resnet_sizes(state, ""))
    assert config.prelu == (sidecar["config"]["relu_type"] == "prelu")
    params = import_parameters(
        encoder_names.resnet_entries(config, "", ""), 1, state, lambda name: False
    )
    features, probes = run(
        avhubert.ResNet(config), params, avhubert.stack_neighbors(tensors["in.frames"][:, 0])
    )
    assert relative_error(features, np.concatenate(channels_last(tensors["out.features"]))) <= BOUND
    crop = channels_last(tensors["out.layer2_crop"])
    inside = module_output(probes, f"stage_1_{config.blocks[1] - 1}")
    assert relative_error(inside[..., : crop.shape[-1]], crop) <= BOUND


def check_avhubert_encoder(tensors, sidecar):
    sizes, state = sidecar["config"], parameters(tensors)
    output = encoder_names.lip_transformer_sizes(state) | {"heads": sizes["heads"]}
    config = AvhubertConfig(**output)
    expected = (sizes["D"], sizes["FF"], sizes["layers"], sizes["kpos"], sizes["gpos"])
    assert expected == (
        config.width, config.hidden, config.layers, config.reach, config.groups,
    )  # fmt: skip
    rows = encoder_names.lip_transformer_entries(config, "")
    params = import_parameters(rows, config.layers, state, lambda name: False)
    features = channels_last(tensors["in.resnet_features"])
    output, probes = run(avhubert.LipTransformer(config), params, features)
    assert relative_error(output, tensors["out.features"]) <= BOUND
    parts = {
        "video": "video_proj",
        "fused_norm": "fused_norm",
        "fused": "post_extract_proj",
        "position": "pos_conv",
    }
    for ours, theirs in parts.items():
        assert relative_error(module_output(probes, ours), tensors[f"out.{theirs}"]) <= BOUND
    blocks = module_output(probes, "blocks")
    for layer in inside_layers(tensors, "out.after_layer_"):
        assert relative_error(blocks[layer], tensors[f"out.after_layer_{layer}"]) <= BOUND


def check_dvector_tiny(tensors, sidecar):
    sizes, state = sidecar["config"], parameters(tensors)
    config = encoder_names.dvector_config(state)
    assert (config.bands, config.hidden) == (sizes["mel"], sizes["hidden"])
    assert (config.layers, config.width) == (sizes["layers"], sizes["embedding"])
    params = import_parameters(encoder_names.dvector_entries(config), 1, state, lambda name: False)
    embedding, probes = run(dvector.Dvector(config), params, tensors["in.mel"])
    assert relative_error(embedding, tensors["out.embed"]) <= BOUND
    assert (
        relative_error(module_output(probes, f"layer_{config.layers - 1}"), tensors["out.lstm"])
        <= BOUND
    )
    for layer in range(config.layers):
        hidden = module_output(probes, f"layer_{layer}")[:, -1]
        assert relative_error(hidden, tensors["out.hidden"][layer]) <= BOUND
    assert relative_error(module_output(probes, "out"), tensors["out.linear"]) <= BOUND


def dvector_weights():
    """Config and parameters of the real network, and the bound that their precision supports.

    Those of Resemblyzer's wheel, where it is installed beside torch; else those of the package.
    """
    wheel = importlib.util.find_spec("resemblyzer")
    if wheel and importlib.util.find_spec("torch"):
        file = pathlib.Path(wheel.origin).parent / "pretrained.pt"
        state = torch_files.read_tensors(file)
        config, params, _ = published.from_official("dvector", state)
        return config, params, BOUND
    bundled = published.load_encoder(published.find_weights("dvector"), "dvector")
    return bundled.config, bundled.params, HALF


def check_dvector(tensors, sidecar):
    config, params, bound = dvector_weights()
    model = dvector.Dvector(config)
    utterances = []
    for number in range(sidecar["config"]["n_waves"]):
        expected = {
            name: tensors[f"out.{name}_{number}"]
            for name in ("norm_gain", "vad_flags", "vad_keep", "pre_len", "slices", "mel",
                         "partials", "embed", "embed_novad")
        }  # fmt: skip
        wave = (tensors[f"in.wave_{number}"] / 32768).astype(np.float32)
        louder = dvector.amplify(wave)
        assert relative_error(louder, wave * expected["norm_gain"]) <= BOUND
        flags = expected["vad_flags"]
        np.testing.assert_array_equal(dvector.smooth_flags(flags), expected["vad_keep"])
        speech = dvector.cut_pauses(louder, flags)
        assert len(speech) == expected["pre_len"][0]
        starts = dvector.find_starts(len(speech))
        np.testing.assert_array_equal(starts, expected["slices"][:, 0])
        windows = dvector.split_windows(speech)
        for start, window in zip(starts, windows, strict=True):
            assert relative_error(window, expected["mel"][start : start + len(window)]) <= BOUND
        partials, _ = run(model, params, windows)
        assert relative_error(partials, expected["partials"]) <= bound
        utterances.append(dvector.mean_direction(np.asarray(partials)))
        assert relative_error(utterances[-1], expected["embed"]) <= bound
        with_pauses, _ = run(model, params, dvector.split_windows(louder))
        with_pauses = dvector.mean_direction(np.asarray(with_pauses))
        assert relative_error(with_pauses, expected["embed_novad"]) <= bound
    utterances = np.stack(utterances)
    assert relative_error(dvector.mean_direction(utterances), tensors["out.speaker"]) <= bound
    assert relative_error(utterances @ utterances.T, tensors["out.similarity"]) <= bound


def check_unseen(tensors, sidecar):
    assert tensors.keys() == {f"out.{name}" for name in (*unseen_sizes.CASES, "vggish_mels")}
    (mels,) = vggish.log_mel_patches(unseen_sizes.draw_wave(1.1))
    assert relative_error(mels, tensors["out.vggish_mels"]) <= 1e-6
    for name in unseen_sizes.CASES:
        error = relative_error(unseen_sizes.run_ours(name), tensors[f"out.{name}"])
        assert error <= BOUND, (name, error)


CHECKS = {
    "clip": check_clip,
    "preprocess": check_preprocess,
    "synchformer": check_synchformer,
    "synchformer_full": check_synchformer_full,
    "rawnet3": check_rawnet3,
    "avhubert_resnet": check_avhubert_resnet,
    "avhubert_encoder": check_avhubert_encoder,
    "dvector": check_dvector,
    "dvector_tiny": check_dvector_tiny,
    "unseen": check_unseen,
}
