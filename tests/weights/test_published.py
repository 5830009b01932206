"""Published encoders: conversion both ways, damaged and foreign files, hashes, downloads."""

import argparse
import dataclasses
import json
import re
import sys

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import in_process, tiny_encoders
from helpers.official_names import assert_same
from helpers.paths import ROOT
from safetensors.numpy import load_file, save_file

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.encoders.avhubert import AvhubertConfig
from vssflow_jax.encoders.clap import ClapConfig
from vssflow_jax.encoders.clip import ClipViTConfig
from vssflow_jax.encoders.cnn14 import Cnn14Config
from vssflow_jax.encoders.desync import DesyncConfig
from vssflow_jax.encoders.dvector import DvectorConfig
from vssflow_jax.encoders.passt import PasstConfig
from vssflow_jax.encoders.rawnet3 import Rawnet3Config
from vssflow_jax.encoders.synchformer import SynchformerConfig
from vssflow_jax.encoders.syncnet import SyncnetConfig
from vssflow_jax.encoders.vggish import VggishConfig
from vssflow_jax.weights import encoder_names, mapping, published, sources

KINDS = tuple(published.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_bit_exact(kind, tmp_path):
    state = tiny_encoders.random_official(kind)
    folder = tiny_encoders.convert_random(kind, tmp_path)
    published.revert(kind, folder, tmp_path / "back.safetensors")
    assert_same(load_file(tmp_path / "back.safetensors"), state)
    encoder = published.load_encoder(folder, kind)
    description = json.loads((folder / "encoder.json").read_text())
    assert encoder.hash == description["hash"]
    source = description["source"]
    assert source["file"] == f"{kind}.safetensors" and not source["as_published"]
    assert source["sha256"] == hash_file(tmp_path / f"{kind}.safetensors")
    # Every head has 64 channels, so the number of heads follows from the shapes.
    assert encoder.config == tiny_encoders.SMALL[kind]
    published.convert(kind, tmp_path / "back.safetensors", tmp_path / "again", unverified=True)
    assert published.load_encoder(tmp_path / "again", kind).hash == encoder.hash


def publish(monkeypatch, kind, path, **fields):
    """Makes a file the only published one of its kind."""
    source = sources.list_sources(kind)[-1]
    fields = {"sha256": hash_file(path), "file": path.name} | fields
    others = tuple(source for source in sources.SOURCES if source.kind != kind)
    replaced = dataclasses.replace(source, **fields)
    monkeypatch.setattr(sources, "SOURCES", (*others, replaced))


def test_a_file_with_another_hash_is_an_error_that_names_both(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(tiny_encoders.random_official("speaker"), path)
    with pytest.raises(InputError) as error:
        published.convert("speaker", path, tmp_path / "speaker")
    for words in (str(path), hash_file(path), sources.list_sources("speaker")[0].sha256):
        assert words in str(error.value)
    assert "--unverified" in str(error.value) and not (tmp_path / "speaker").exists()
    summary = published.convert("speaker", path, tmp_path / "speaker", unverified=True)
    assert summary.endswith(f"{hash_file(path)} (not verified)")


@pytest.mark.parametrize("digits", [64, 8])
def test_a_file_with_the_published_hash_is_marked_so(digits, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_file(tiny_encoders.random_official("speaker"), path)
    publish(monkeypatch, "speaker", path, sha256=hash_file(path)[:digits])
    assert published.convert("speaker", path, tmp_path / "speaker").endswith("(as published)")
    description = json.loads((tmp_path / "speaker" / "encoder.json").read_text())
    assert description["source"]["as_published"] is True


def test_where_no_hash_is_known_the_file_is_converted_and_its_hash_kept(tmp_path):
    assert sources.list_sources("lips")[0].sha256 is None
    path = tmp_path / "lips.safetensors"
    save_file(tiny_encoders.random_official("lips"), path)
    summary = published.convert("lips", path, tmp_path / "lips")
    assert summary.endswith(f"{hash_file(path)} (not verified)")


def assert_parameters(params, kind):
    """The parameters are those of the small encoder, bit for bit."""
    expected = flatten_dict(tiny_encoders.random_params(kind), sep="/")
    assert_same(flatten_dict(params, sep="/"), expected)


def test_hugging_face_names_and_half_precision(tmp_path):
    config = tiny_encoders.SMALL["clip"]
    expected = flatten_dict(tiny_encoders.random_params("clip"), sep="/")
    hugging = tiny_encoders.random_official("clip", names=encoder_names.HUGGING_FACE)
    text_tower = {
        "text_model.embeddings.position_ids": np.arange(3),
        "logit_scale": np.zeros((), np.float32),
        "visual_projection.weight": np.zeros((2, 64), np.float32),
    }
    image_tower = {name.removeprefix("vision_model."): array for name, array in hugging.items()}
    for state in (hugging | text_tower, image_tower):
        inferred, params, left_out = published.from_official("clip", state)
        assert inferred == config
        assert_same(flatten_dict(params, sep="/"), expected)
        assert len(left_out) == (3 if "logit_scale" in state else 0)
    half = {
        name: array.astype(np.float16)
        for name, array in tiny_encoders.random_official("clip").items()
    }
    half["visual.proj"] = np.zeros((64, 2), np.float16)
    _, params, left_out = published.from_official("clip", half)
    assert left_out == ["visual.proj"]
    for path, array in flatten_dict(params, sep="/").items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected[path].astype(np.float16))


def test_the_encoder_of_a_fine_tuned_lip_reader_is_converted():
    state = {f"encoder.w2v_model.{k}": a for k, a in tiny_encoders.random_official("lips").items()}
    state["encoder.w2v_model.mask_emb"] = state["decoder.x"] = np.zeros(2, np.float32)
    config, params, left_out = published.from_official("lips", state)
    assert config == tiny_encoders.SMALL["lips"] and sorted(left_out) == ["decoder.x", "mask_emb"]
    assert_parameters(params, "lips")


LAST = {
    "clip": "visual.ln_post.bias",
    "sync": "vfeat_extractor.norm.bias",
    "lips": "encoder.layer_norm.bias",
    "speaker": "fc6.bias",
    "dvector": "linear.bias",
    "vggish": "embeddings.4.bias",
    "cnn14": "fc_audioset.bias",
    "desync": "transformer.ln_f.bias",
    "passt": "norm.bias",
    "clap": "text_model.pooler.dense.bias",
    "syncnet": "netfcaud.1.running_mean",
}


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_tensors_are_listed(kind, tmp_path):
    good = tiny_encoders.random_official(kind)
    last = sorted(good)[-1]
    for change, message in (
        (lambda s: s.pop(last), last),
        (lambda s: s.pop(LAST[kind]), f"missing tensors {LAST[kind]}"),
        (lambda s: s.update(odd=np.zeros(3, np.float32)), "unknown tensors odd"),
        (lambda s: s.update({last: np.zeros((7, 7), np.float32)}), last),
        (lambda s: s[last].fill(np.nan), "NaN"),
        (lambda s: s.clear(), "expected weights of"),
    ):
        state = {name: array.copy() for name, array in good.items()}
        change(state)
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(InputError, match=r"x\.safetensors") as error:
            published.convert(kind, tmp_path / "x.safetensors", tmp_path / "out", unverified=True)
        assert message.split("[")[0] in str(error.value)
        assert not (tmp_path / "out").exists()


def test_damaged_and_foreign_folders_are_refused(tmp_path):
    folder = tiny_encoders.convert_random("speaker", tmp_path)
    with pytest.raises(InputError, match="found weights of speaker, expected clip"):
        published.load_encoder(folder, "clip")
    arrays = load_file(folder / "encoder.safetensors")
    arrays["bias"] = arrays["bias"] + 1
    save_file(arrays, folder / "encoder.safetensors")
    with pytest.raises(InputError, match="hash"):
        published.load_encoder(folder, "speaker")
    (folder / "encoder.json").write_text("{}")
    with pytest.raises(InputError, match=r"encoder\.json"):
        published.load_encoder(folder, "speaker")


def test_weights_are_looked_for_locally_then_on_the_hub(tmp_path, monkeypatch):
    tiny_encoders.convert_random("clip", tmp_path)
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    assert published.find_weights("clip") == tmp_path / "clip"

    path = tmp_path / "hub.safetensors"
    save_file(tiny_encoders.random_official("speaker"), path)
    revision = sources.list_sources("speaker")[0].hub.revision

    class Hub:
        def hf_hub_download(self, repository, file, *, revision, **_):
            downloads.append((repository, file, revision))
            return str(path)

    downloads = []
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub())
    with pytest.raises(InputError, match="found SHA-256"):
        published.find_weights("speaker")
    assert not (tmp_path / "speaker").exists()
    publish(monkeypatch, "speaker", path)
    assert published.find_weights("speaker") == tmp_path / "speaker"
    assert downloads == 2 * [("jungjee/RawNet3", "model.pt", revision)]
    assert (
        published.load_encoder(tmp_path / "speaker", "speaker").config
        == tiny_encoders.SMALL["speaker"]
    )


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"dvector"}))
def test_absent_weights_say_what_to_put_where(kind, tmp_path, monkeypatch):
    class Hub:
        def hf_hub_download(self, *_, **__):
            raise ConnectionError("no\nnetwork")

    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub())
    with pytest.raises(InputError) as error:
        published.find_weights(kind)
    text = str(error.value)
    source = sources.list_sources(kind)[0]
    assert f"--kind={kind} --src={source.file} --out={tmp_path / kind}" in text
    assert source.where in text and "\n" not in text
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=f"encoder {kind}"):
        published.find_weights(kind)


def test_weights_of_the_package_serve_where_the_user_has_none(tmp_path, monkeypatch):
    monkeypatch.setenv("VSSFLOW_WEIGHTS", str(tmp_path))
    bundled = published.load_encoder(published.find_weights("dvector"), "dvector")
    assert bundled.config == DvectorConfig()
    assert {array.dtype for array in jax.tree.leaves(bundled.params)} == {np.dtype("float32")}
    tiny_encoders.convert_random("dvector", tmp_path)
    assert published.find_weights("dvector") == tmp_path / "dvector"


def test_the_document_has_the_table():
    page = (ROOT / "docs" / "weights.md").read_text()
    assert "\n".join(sources.markdown_table()) + "\n\n" in page
    for source in sources.SOURCES:
        assert source.license and source.where
        assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{8}", source.sha256)
        assert source.hub is None or re.fullmatch(r"[0-9a-f]{40}", source.hub.revision)


def test_command(tmp_path):
    save_file(tiny_encoders.random_official("speaker"), tmp_path / "model.safetensors")
    files = (f"--src={tmp_path}/model.safetensors", f"--out={tmp_path}/speaker")
    done = in_process.run("convert", "--kind=speaker", *files, "--unverified")
    assert done.returncode == 0, done.stderr
    assert (
        published.load_encoder(tmp_path / "speaker", "speaker").config
        == tiny_encoders.SMALL["speaker"]
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_and_objects_beside_tensors_are_read_without_running_them(tmp_path):
    torch = pytest.importorskip("torch")

    class Node(torch.nn.Module):
        def forward(self, x):
            return x

    root, state = Node(), tiny_encoders.random_official("clip")
    for name, array in state.items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if not hasattr(node, part):
                node.add_module(part, Node())
            node = getattr(node, part)
        node.register_parameter(leaf, torch.nn.Parameter(torch.tensor(array)))
    torch.jit.script(root).save(tmp_path / "ViT-B-16.pt")
    published.convert("clip", tmp_path / "ViT-B-16.pt", tmp_path / "clip", unverified=True)
    encoder = published.load_encoder(tmp_path / "clip", "clip")
    assert_parameters(encoder.params, "clip")
    lips = {
        name: torch.tensor(array) for name, array in tiny_encoders.random_official("lips").items()
    }
    torch.save({"model": lips, "args": argparse.Namespace(x=1)}, tmp_path / "large.pt")
    published.convert("lips", tmp_path / "large.pt", tmp_path / "lips")
    with pytest.raises(InputError, match="argparse"):
        published.convert("sync", tmp_path / "large.pt", tmp_path / "sync")


def test_other_tensors_in_the_releases_of_sound_networks_are_left_out(tmp_path):
    torch = pytest.importorskip("torch")
    state = {
        name: torch.tensor(array) for name, array in tiny_encoders.random_official("cnn14").items()
    }
    for part in ("real", "imag"):
        state[f"spectrogram_extractor.stft.conv_{part}.weight"] = torch.zeros(33, 1, 64)
    state["bn0.num_batches_tracked"] = torch.tensor(7)
    torch.save({"iteration": 600_000, "model": state}, tmp_path / "Cnn14_mAP=0.431.pth")
    path = tmp_path / "Cnn14_mAP=0.431.pth"
    summary = published.convert("cnn14", path, tmp_path / "cnn14", unverified=True)
    assert "left out: 3 tensors" in summary
    assert_parameters(published.load_encoder(tmp_path / "cnn14", "cnn14").params, "cnn14")
    vggish = tiny_encoders.random_official("vggish") | {
        "pproc.pca_means": np.zeros((128, 1), np.float32)
    }
    _, params, left_out = published.from_official("vggish", vggish)
    assert left_out == ["pproc.pca_means"]
    assert_parameters(params, "vggish")


FULL = {
    "clip": (ClipViTConfig(), "visual.transformer.resblocks.11.attn.in_proj_weight", (2304, 768)),
    "sync": (
        SynchformerConfig(),
        "vfeat_extractor.blocks.11.timeattn.qkv.weight",
        (2304, 768),
    ),
    "lips": (AvhubertConfig(), "encoder.layers.23.fc1.weight", (4096, 1024)),
    "speaker": (Rawnet3Config(), "layer3.convs.6.weight", (128, 128, 3)),
    "dvector": (DvectorConfig(), "lstm.weight_hh_l2", (1024, 256)),
    "vggish": (VggishConfig(), "embeddings.0.weight", (4096, 12_288)),
    "cnn14": (Cnn14Config(), "conv_block6.conv2.weight", (2048, 2048, 3, 3)),
    "desync": (DesyncConfig(), "transformer.pos_emb_cfg.pos_emb", (1, 198, 768)),
    "passt": (PasstConfig(), "time_new_pos_embed", (1, 768, 1, 99)),
    "clap": (
        ClapConfig(),
        "audio_model.audio_encoder.layers.2.blocks.5.attention.self.relative_position_bias_table",
        (225, 16),
    ),
    "syncnet": (SyncnetConfig(), "netcnnlip.4.weight", (256, 96, 1, 5, 5)),
}
NUMBERS = {"desync": 237_460_245 - 590_592, "syncnet": 13_640_256}  # of the published files


@pytest.mark.parametrize("kind", KINDS)
def test_full_sizes_have_the_published_names_and_shapes(kind):
    """Shapes alone: our map has every parameter once, and the official shapes tell the size."""
    config, name, shape = FULL[kind]
    flat = flatten_dict(published.parameter_shapes(kind, config), sep="/")
    entries = list(published.KINDS[kind].entries(config))
    assert sorted(entry.path for entry in entries) == sorted(flat)
    shapes = mapping.official_shapes(entries, getattr(config, "layers", 1), flat)
    state = encoder_names.join_qkv(
        {k: np.broadcast_to(np.float32(0), v) for k, v in shapes.items()}
    )
    assert state[name].shape == shape
    assert NUMBERS.get(kind) in (None, sum(array.size for array in state.values()))
    assert published.KINDS[kind].sizes(state) == config


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_full_size_round_trip(kind, tmp_path):
    config = FULL[kind][0]
    state = tiny_encoders.random_official(kind, config)
    save_file(state, tmp_path / "official.safetensors")
    path = tmp_path / "official.safetensors"
    published.convert(kind, path, tmp_path / "ours", unverified=True)
    published.revert(kind, tmp_path / "ours", tmp_path / "back.safetensors")
    assert_same(load_file(tmp_path / "back.safetensors"), state)
