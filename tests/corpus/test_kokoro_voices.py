"""Kokoro's voices and their mixtures; its network is not needed for these tests."""

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError

kokoro_voices = pytest.importorskip("vssflow_jax.corpus.kokoro_voices")
NAMES = tuple(f"{kind}_{name}" for kind in ("af", "am", "bf") for name in ("one", "two", "three"))


def test_mixtures_of_known_voices_train_and_of_held_out_ones_do_not():
    listed = kokoro_voices.list_voices(NAMES)
    assert {voice.name for voice in listed} > set(NAMES)
    assert len({voice.name for voice in listed}) == len(listed)
    held_out = {voice.name for voice in listed if voice.held_out}
    assert held_out & set(NAMES)
    for voice in listed:
        mixture = voice.settings
        assert {mixture.first in held_out, mixture.second in held_out} == {voice.held_out}
        assert 0.3 <= mixture.share <= 0.7 or mixture.first == mixture.second == voice.name


def test_tables_are_read_by_name_and_those_of_another_size_are_refused(tmp_path):
    (tmp_path / "voices").mkdir()
    for name in ("af_one", "zf_other"):
        np.zeros((510, 1, 256), "<f4").tofile(tmp_path / f"voices/{name}.bin")
    voices = kokoro_voices.KokoroVoices(str(tmp_path))
    assert [voice.name for voice in voices.voices] == ["af_one"]
    np.zeros(100, "<f4").tofile(tmp_path / "voices/am_two.bin")
    with pytest.raises(InputError, match=r"am_two\.bin: found 100 numbers, expected 130560"):
        kokoro_voices.KokoroVoices(str(tmp_path))


def test_a_folder_without_a_network_names_what_is_needed(tmp_path, monkeypatch):
    np.zeros((510, 1, 256), "<f4").tofile(tmp_path / "af_one.bin")
    monkeypatch.setattr(kokoro_voices, "WHEELS", ("absent_part_1",))
    with pytest.raises(InputError, match=r"found no \*\.onnx in it"):
        _ = kokoro_voices.KokoroVoices(str(tmp_path)).session
