"""`convert --check`: what a folder of weights has, what is damaged, who lacks what."""

import dataclasses

import numpy as np
import pytest
from helpers import in_process, tiny_encoders
from helpers.in_process import assert_error

from vssflow_jax.codecs.interface import hash_codec, save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.common.files import hash_file
from vssflow_jax.config import recipes
from vssflow_jax.weights import inventory, published, sources

FEATURES = ("clip", "sync", "lips", "speaker")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Converted small encoders, a damaged one, a codec, and a published file that is not."""
    folder = tmp_path_factory.mktemp("weights")
    for kind in ("clip", "sync", "speaker", "clap"):
        tiny_encoders.convert_random(kind, folder)
        (folder / f"{kind}.safetensors").unlink()
    damaged = tiny_encoders.convert_random("vggish", folder) / sources.ARRAYS
    (folder / "vggish.safetensors").unlink()
    damaged.write_bytes(damaged.read_bytes()[:-8])
    (folder / "downloads").mkdir()
    (folder / "downloads" / "self_large_vox_433h.pt").write_bytes(b"tensors")
    (folder / "downloads" / "model.pt").write_bytes(b"somebody else's")
    return folder


def test_weights_are_listed_with_hashes_and_states(folder):
    listed = {weights.kind: weights for weights in inventory.list_weights(folder)}
    assert sorted(listed) == ["clap", "clip", "lips", "speaker", "sync", "vggish"]
    assert listed["clip"].hash == published.load_encoder(folder / "clip", "clip").hash
    assert listed["clip"].usable and listed["clip"].state == "converted, not verified"
    assert "without tokenizer.json" in listed["clap"].state
    assert not listed["vggish"].usable and listed["vggish"].state.startswith("damaged: ")
    file = folder / "downloads" / "self_large_vox_433h.pt"
    assert (listed["lips"].place, listed["lips"].hash) == (file, hash_file(file))
    assert "to be converted" in listed["lips"].state and not listed["lips"].usable


def test_the_command_says_what_is_complete_and_what_is_missing(folder):
    done = in_process.run("convert", "--check", folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (speech,) = (line for line in lines if " --config=tts," in line)
    assert speech.startswith("missing codec: ")
    (joint,) = (line for line in lines if " --config=joint," in line)
    assert joint.startswith("missing lips, codec: ")
    assert any(line.startswith("complete: ") and "--measures=clap" in line for line in lines)
    (lips,) = (line for line in lines if line.startswith("lips: "))
    assert str(folder / "downloads" / "self_large_vox_433h.pt") in lips
    (vggish,) = (line for line in lines if line.startswith("vggish: "))
    assert sources.list_sources("vggish")[0].where in vggish


def test_codecs_are_known_by_their_kind(tmp_path):
    rng = np.random.default_rng(0)
    codec = fit_pca([rng.standard_normal(16_000).astype(np.float32)], channels=4)
    save_codec(codec, tmp_path / "codec")
    (weights,) = inventory.list_weights(tmp_path)
    assert (weights.kind, weights.hash, weights.usable) == ("pca", hash_codec(codec), True)
    (tmp_path / "codec" / "codec.safetensors").write_bytes(b"")
    (weights,) = inventory.list_weights(tmp_path)
    assert not weights.usable and "damaged" in weights.state


def test_needs_follow_from_the_recipes():
    needs = inventory.list_needs()
    assert set(needs["--config=joint"]) == {*FEATURES, "codec"}
    assert set(needs["--config=joint_48k"]) == {*FEATURES, "oobleck"}
    assert set(needs["--config=v2s"]) == {"clip", "sync", "codec"}
    assert set(needs["--config=tts"]) == {"speaker", "codec"}
    assert "--config=quickstart" not in needs
    kinds = {kind for kinds in needs.values() for kind in kinds}
    assert kinds <= {source.kind for source in sources.SOURCES}
    assert recipes.load_recipe("joint").data.corpus == ""


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    assert_error(in_process.run("convert", "--check", tmp_path / "none"), "no such folder")


def test_verified_files_are_told(folder, monkeypatch):
    file = folder / "downloads" / "self_large_vox_433h.pt"
    known = [
        dataclasses.replace(source, sha256=hash_file(file)) if source.kind == "lips" else source
        for source in sources.SOURCES
    ]
    monkeypatch.setattr(sources, "SOURCES", tuple(known))
    (lips,) = (w for w in inventory.list_weights(folder) if w.kind == "lips")
    assert lips.state == "to be converted, as published"
