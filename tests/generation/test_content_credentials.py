"""Signed manifests in generated files."""

import json

import numpy as np
import pytest
from helpers import fixtures, odd_media

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation import content_credentials
from vssflow_jax.generation.content_credentials import read_credentials
from vssflow_jax.generation.output import Output

c2pa = pytest.importorskip("c2pa")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    from helpers import certificates

    return certificates.write_chain(tmp_path_factory.mktemp("pem"))


def read_manifest(path):
    with c2pa.Reader(str(path)) as reader:
        content = json.loads(reader.json())
    return content["validation_state"], content["manifests"][content["active_manifest"]]


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.avi"])
def test_all_files_with_sound_are_signed(tmp_path, pem, name):
    source = odd_media.write_media(tmp_path / "in.mp4", pictures=25)
    wave = fixtures.make_tone(1.0)
    output = Output(wave, 16_000, {"seed": 4}, source, {"speech": wave})
    for path in output.save(tmp_path / name, credentials=read_credentials(*pem)):
        state, manifest = read_manifest(path)
        assert state == "Valid" and manifest["claim_generator_info"][0]["name"] == "vssflow_jax"
        assert "seed 4" in manifest["title"]
        labels = {one["label"].partition(".v")[0]: one["data"] for one in manifest["assertions"]}
        (action,) = labels["c2pa.actions"]["actions"]
        kind = "trainedAlgorithmicMedia"
        if path.suffix != ".wav":
            kind = "compositeWithTrainedAlgorithmicMedia"
        assert action["digitalSourceType"].endswith(f"/{kind}")
        np.testing.assert_allclose(media.read_audio(path)[:8000], wave[:8000], atol=0.05)
    with (tmp_path / "out.wav").open("r+b") as file:  # a changed sample
        file.seek(1000)
        file.write(b"\x11\x22")
    assert read_manifest(tmp_path / "out.wav")[0] == "Invalid"


def test_files_without_manifests_are_refused(tmp_path, pem):
    source = odd_media.write_media(tmp_path / "in.mp4", pictures=25)
    output = Output(fixtures.make_tone(1.0), 16_000, {}, source)
    with pytest.raises(InputError, match="without content credentials"):
        output.save(tmp_path / "out.mkv", credentials=read_credentials(*pem))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_certificates_and_keys_that_are_refused(tmp_path, pem):
    chain, key = pem
    with pytest.raises(InputError, match="--c2pa_certificates: cannot sign"):
        read_credentials(key, key)
    with pytest.raises(InputError, match="found no private key"):
        read_credentials(chain, chain)
    with pytest.raises(InputError, match=r"no\.pem: no such file"):
        read_credentials(chain, tmp_path / "no.pem")


def test_a_missing_package_is_an_error(monkeypatch, pem):
    monkeypatch.setitem(content_credentials.importlib.sys.modules, "c2pa", None)
    with pytest.raises(InputError, match="found no package c2pa-python"):
        read_credentials(*pem)
