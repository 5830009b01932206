"""Parity checks of the networks that scores need: DeSync, PaSST, CLAP, SyncNet."""

import dataclasses
import re

import numpy as np

from helpers.parity_encoders import channels_last, import_parameters, module_output, run
from helpers.parity_measures import draw_parameters, parameters, relative_error
from vssflow_jax.encoders import clap, desync, passt, preprocessing, syncnet
from vssflow_jax.encoders.synchformer import split_segments
from vssflow_jax.weights import measure_names, published

BOUND = 5e-5


def assert_close(actual, expected, name="", bound=BOUND):
    error = relative_error(actual, expected)
    assert error <= bound, (name, error)


def make_params(kind, entries, config, state):
    """Our parameters of the tensors that the map names."""
    unused = published.KINDS[kind].unused
    return import_parameters(
        entries, getattr(config, "layers", 1), state, lambda name: re.match(unused, name)
    )


def to_wave(samples):
    return (samples / 32768).astype(np.float32)


# ---- DeSync -------------------------------------------------------------------------------


def check_desync_mel(tensors, sidecar):
    assert_close(desync.mel_filterbank(), tensors["const.fb"])
    for wave, expected in zip(tensors["in.wave_i16"], tensors["out.norm"], strict=True):
        assert_close(desync.log_mel_segments(to_wave(wave)), expected)


def desync_params(tensors, sidecar, **heads):
    state = draw_parameters(tensors, sidecar)
    config = dataclasses.replace(measure_names.desync_config(state), **heads)
    assert config.segments == sidecar["config"]["window"]
    return config, make_params("desync", measure_names.desync_entries(config), config, state)


def check_desync(tensors, sidecar):
    sizes = sidecar["config"]
    config, params = desync_params(
        tensors,
        sidecar,
        heads=sizes["visual_heads"],
        audio_heads=sizes["audio_heads"],
        head_heads=sizes["sync_heads"],
    )
    assert (config.audio_layers, config.head_layers) == (sizes["audio_depth"], sizes["sync_layers"])
    check_audio_encoder(config, params, tensors)
    check_offset_head(config, params, tensors)
    mels = np.stack([desync.log_mel_segments(to_wave(w)) for w in tensors["in.wave_i16"]])
    assert_close(mels[:, :2], tensors["out.mel_first2"])
    encoder = desync.AudioEncoder(config.width, config.audio_layers, config.audio_heads)
    audio, _ = run(encoder, params["audio"], mels.reshape(-1, *mels.shape[2:]))
    audio = np.asarray(audio).reshape(*mels.shape[:2], *audio.shape[1:])
    assert_close(audio, tensors["out.afeats"])
    frames = np.moveaxis(tensors["in.frames_u8"], 2, -1)
    pixels = preprocessing.normalize_pixels(
        frames, preprocessing.SYNC_MEAN, preprocessing.SYNC_DEVIATION
    )
    segments = np.stack([split_segments(clip) for clip in pixels])
    video, _ = run(
        desync.Synchformer(config), params["video"], segments.reshape(-1, *segments.shape[2:])
    )
    video = np.asarray(video).reshape(*segments.shape[:2], *video.shape[1:])
    assert_close(video, tensors["out.vfeats"])
    check_score(config, params, video, audio, tensors)


def check_audio_encoder(config, params, tensors):
    encoder = desync.AudioEncoder(config.width, config.audio_layers, config.audio_heads)
    features, probes = run(encoder, params["audio"], tensors["in.mel_random"][0])
    assert_close(features, tensors["out.afeats_random"][0])
    blocks = module_output(probes, "blocks")
    for layer in range(config.audio_layers):
        assert_close(blocks[layer], tensors[f"out.ast_layer{layer}"], f"layer {layer}")
    attention = module_output(probes, "blocks/attention")
    assert_close(attention[0], tensors["out.ast_layer0_attention"])
    assert_close(module_output(probes, "norm_out"), tensors["out.ast_norm"])


def make_head(config):
    return desync.OffsetHead(config.head_layers, config.head_heads, config.classes)


def check_offset_head(config, params, tensors):
    inputs = tensors["in.vfeats_random"], tensors["in.afeats_random"]
    logits, probes = run(make_head(config), params["head"], *inputs)
    assert_close(logits, tensors["out.logits_random"])
    assert_close(module_output(probes, "video"), tensors["out.vproj"])
    assert_close(module_output(probes, "audio"), tensors["out.aproj"])
    blocks = module_output(probes, "blocks")
    for layer in range(config.head_layers):
        assert_close(blocks[layer], tensors[f"out.sync_block{layer}"], f"block {layer}")
    assert_close(module_output(probes, "blocks/attention")[0], tensors["out.sync_block0_attn"])
    assert_close(module_output(probes, "norm_out"), tensors["out.sync_norm"])


def check_score(config, params, video, audio, tensors):
    count, columns = config.segments, []
    for span, name in ((np.s_[:, :count], "first"), (np.s_[:, -count:], "last")):
        logits, _ = run(make_head(config), params["head"], video[span], audio[span])
        assert_close(logits, tensors[f"out.logits_{name}"], name)
        columns.append(desync.offset_grid()[np.asarray(logits).argmax(1)])
    offsets = np.stack(columns, 1)
    np.testing.assert_array_equal(offsets, tensors["out.offsets"])
    assert_close(np.abs(offsets).mean()[None], tensors["out.desync"])


def check_desync_full(tensors, sidecar):
    sizes = sidecar["config"]
    rng, state = np.random.default_rng(sizes["input_seed"]), draw_parameters(tensors, sidecar)
    mel = (rng.standard_normal((1, 14, 1, 128, 66)) * 0.5).astype(np.float32)[:, :, 0]
    video = rng.standard_normal((1, 14, 8, sizes["dim"])).astype(np.float32)
    np.testing.assert_array_equal(mel[0, 0, :4, :4], tensors["in.mel_corner"])
    config = desync.DesyncConfig()
    entries = [e for e in measure_names.desync_entries(config) if not e.path.startswith("video")]
    params = import_parameters(entries, 1, state, lambda name: False)
    encoder = desync.AudioEncoder(config.width, config.audio_layers, config.audio_heads)
    audio, _ = run(encoder, params["audio"], mel[0])
    assert_close(audio[:2], tensors["out.afeats_first2"][0])
    logits, _ = run(make_head(config), params["head"], video, np.asarray(audio)[None])
    assert_close(logits, tensors["out.logits"])


# ---- PaSST --------------------------------------------------------------------------------


def check_passt(tensors, sidecar):
    sizes, state = sidecar["config"], parameters(tensors)
    assert_close(passt.kaldi_filterbank().T, tensors["const.mel_basis"])
    mels = np.stack([passt.log_mel(to_wave(wave)) for wave in tensors["in.wave_i16"]])
    assert_close(mels, tensors["out.mel"])
    config = dataclasses.replace(measure_names.passt_config(state), heads=sizes["heads"])
    assert (config.layers, config.classes) == (sizes["depth"], sizes["classes"])
    params = make_params("passt", measure_names.passt_entries(config), config, state)
    (features, logits), probes = run(passt.Passt(config), params, mels)
    assert_close(features, tensors["out.features"])
    assert_close(logits, tensors["out.logits"])
    patches = module_output(probes, "patches")
    assert_close(patches, channels_last(tensors["out.patch_embed"]))
    blocks = module_output(probes, "blocks")
    for layer in range(config.layers):
        assert_close(blocks[layer], tensors[f"out.block{layer}"], f"block {layer}")
    assert_close(module_output(probes, "blocks/attention")[0], tensors["out.block0_attn"])
    assert_close(module_output(probes, "norm_out"), tensors["out.norm"])


# ---- CLAP ---------------------------------------------------------------------------------


def check_clap_mel(tensors, sidecar):
    assert_close(clap.mel_filterbank(), tensors["const.mel_filters"])
    assert_close(clap.log_mel(to_wave(tensors["in.wave_i16"])), tensors["out.input_features"][0, 0])


def check_clap_audio(tensors, sidecar):
    sizes, state = sidecar["config"], parameters(tensors)
    config = clap.ClapConfig(**measure_names.clap_sound_sizes(state))
    assert (config.bands, config.side, config.window) == (
        sizes["mel"],
        sizes["spec"],
        sizes["window"],
    )
    assert (list(config.depths), list(config.heads)) == (sizes["depths"], sizes["heads"])
    params = make_params("clap", measure_names.clap_sound_entries(config), config, state)
    mels = tensors["in.input_features"][:, 0]
    vectors, probes = run(clap.SoundEncoder(config), params["sound"], mels)
    assert_close(vectors, tensors["out.audio_embeds"])
    normed = module_output(probes, "norm_in")
    assert_close(normed, tensors["out.batch_norm"][:, 0])
    assert_close(clap.fold_time(normed, config.side), tensors["out.image"][:, 0])

    def flat(path):
        output = np.asarray(module_output(probes, path))
        return output.reshape(len(output), -1, output.shape[-1])

    assert_close(flat("norm_patches"), tensors["out.patch_embed"])
    assert_close(flat("stage_0_block_0"), tensors["out.layer0_block0"])
    for block, shift in ((0, 0), (1, config.window // 2)):
        attention = np.asarray(module_output(probes, f"stage_0_block_{block}/attention"))
        windows = clap.split_windows(np.roll(attention, (-shift, -shift), (1, 2)), config.window)
        assert_close(windows, tensors[f"out.layer0_block{block}_attention"], block)
    last = len(config.depths) - 1
    for stage in range(last):
        assert_close(flat(f"stage_{stage}_merge"), tensors[f"out.layer{stage}"], stage)
    end = f"stage_{last}_block_{config.depths[-1] - 1}"
    assert_close(flat(end), tensors[f"out.layer{last}"])
    assert_close(flat("norm_out"), tensors["out.norm"])
    assert_close(flat("norm_out").mean(1), tensors["out.pooled"])


def check_clap_text(tensors, sidecar):
    sizes, state = sidecar["config"], parameters(tensors)
    output = measure_names.clap_text_sizes(state) | {"text_heads": sizes["heads"]}
    config = clap.ClapConfig(**output)
    params = make_params("clap", measure_names.clap_text_entries(config), config, state)
    inputs = tensors["in.input_ids"], tensors["in.attention_mask"]
    vectors, probes = run(clap.TextEncoder(config), params["text"], *inputs)
    assert_close(vectors, tensors["out.text_embeds"])
    assert_close(module_output(probes, "norm_in"), tensors["out.embeddings"])
    blocks = module_output(probes, "blocks")
    for layer in range(config.text_layers):
        assert_close(blocks[layer], tensors[f"out.layer{layer}"], f"layer {layer}")
    assert_close(np.tanh(module_output(probes, "pool")), tensors["out.pooled"])


# ---- SyncNet ------------------------------------------------------------------------------


def check_syncnet_mfcc(tensors, sidecar):
    np.testing.assert_array_equal(syncnet.band_edges(), tensors["out.bins"])
    assert_close(syncnet.filterbank(), tensors["out.filterbank"], bound=1e-12)
    for number in range(sidecar["config"]["n_waves"]):
        mfcc = syncnet.compute_mfcc(tensors[f"in.wave_{number}"])
        np.testing.assert_allclose(mfcc, tensors[f"out.mfcc_{number}"], atol=1e-9)


def check_syncnet(tensors, sidecar):
    sizes, state = sidecar["config"], draw_parameters(tensors, sidecar)
    config = measure_names.syncnet_config(state)
    assert config.width == sizes["num_layers_in_fc_layers"]
    params = make_params("syncnet", measure_names.syncnet_entries(config), config, state)
    frames = tensors["in.frames_small"].repeat(8, 1).repeat(8, 2)
    windows = syncnet.count_windows(len(frames), len(tensors["in.audio"]))
    assert windows == sizes["windows"]
    pictures = np.stack([frames[i : i + syncnet.FRAMES] for i in range(windows)])
    mfcc = syncnet.compute_mfcc(tensors["in.audio"])
    assert_close(mfcc, tensors["out.mfcc"], bound=1e-12)
    parts = syncnet.split_sound(mfcc, windows)
    assert_close(parts[0], tensors["out.mfcc_window0"])
    lips, _ = run(syncnet.LipTower(config), params["lips"], pictures.astype(np.float32))
    sound, probes = run(syncnet.SoundTower(config), params["sound"], parts)
    assert_close(lips, tensors["out.lip_feat"])
    assert_close(sound, tensors["out.audio_feat"])
    hidden = np.maximum(module_output(probes, "tower/norm"), 0)
    assert_close(hidden[0], tensors["out.aud_hidden"])
    check_lse(np.asarray(lips), np.asarray(sound), tensors, "")


def check_lse(lips, sound, tensors, ending, max_shift=syncnet.MAX_SHIFT, start=""):
    scores = syncnet.score_lip_sync(lips, sound, max_shift)
    expected = {
        name: tensors[f"out.{start}{name}{ending}"]
        for name in ("dists", "mdist", "min", "conf", "offset", "framewise")
    }
    bound = 2e-5 + 1e-6 if start or ending else BOUND
    assert_close(scores.distances, expected["dists"], bound=bound)
    assert_close(scores.distances.mean(0), expected["mdist"], bound=bound)
    assert abs(scores.distance - expected["min"][0]) <= 2e-4
    assert abs(scores.confidence - expected["conf"][0]) <= 2e-4
    assert scores.offset == expected["offset"][0]
    np.testing.assert_allclose(scores.framewise, expected["framewise"], atol=2e-4)
    return scores


def check_syncnet_lse(tensors, sidecar):
    scores = []
    for clip in sidecar["clips"]:
        number = clip["clip"]
        pair = (tensors[f"in.{part}_{number}"] for part in ("lip", "audio"))
        scores.append(check_lse(*pair, tensors, f"_{number}"))
        assert scores[-1].offset == clip["offset"]
    for name, value in (("d", "distance"), ("c", "confidence")):
        mean = np.mean([getattr(score, value) for score in scores])
        assert_close(mean[None], tensors[f"out.average_lse_{name}"])
    worked = tensors["in.worked_lip"], tensors["in.worked_audio"]
    check_lse(*worked, tensors, "", max_shift=1, start="worked_")


def check_syncnet_crop(tensors, sidecar):
    sizes = sidecar["config"]
    smooth = syncnet.smooth_track(tensors["out.track_boxes"])
    for values, name in zip(smooth, ("s", "x", "y"), strict=True):
        np.testing.assert_array_equal(values, tensors[f"out.{name}"])
    rectangles = [syncnet.crop_rectangle(*place) for place in zip(*smooth, strict=True)]
    np.testing.assert_array_equal(rectangles, tensors["out.rect"])
    picture = tensors["in.image_small"].repeat(8, 0).repeat(8, 1)
    assert picture.shape[:2] == (sizes["H"], sizes["W"])
    for frame, expected in zip(tensors["out.crop_frames"], tensors["out.crops_sub8"], strict=True):
        crop = syncnet.crop_face(picture, *(values[frame] for values in smooth))
        assert np.abs(crop[::8, ::8].astype(int) - expected).max() <= 1


CHECKS = {
    "desync_mel": check_desync_mel,
    "desync": check_desync,
    "desync_full": check_desync_full,
    "passt": check_passt,
    "clap_mel": check_clap_mel,
    "clap_audio": check_clap_audio,
    "clap_text": check_clap_text,
    "syncnet_mfcc": check_syncnet_mfcc,
    "syncnet": check_syncnet,
    "syncnet_full": check_syncnet,
    "syncnet_lse": check_syncnet_lse,
    "syncnet_crop": check_syncnet_crop,
}
