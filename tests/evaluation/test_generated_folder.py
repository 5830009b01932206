"""Folders of sound files: each file that cannot be scored is named with its reason."""

import numpy as np
import pytest
from helpers.fixtures import make_tone
from scipy.io import wavfile

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation import generated_folder


def records(*names, seconds=2.0):
    return [{"meta": {"id": name, "duration": seconds}} for name in names]


@pytest.fixture
def mixed_folder(tmp_path):
    """Good files of other rates, lengths and formats, and every kind of bad one."""
    media.write_wav(tmp_path / "good.wav", make_tone(2.0))
    media.write_wav(tmp_path / "fast.wav", make_tone(2.0, sample_rate=44_100), 44_100)
    media.write_wav(tmp_path / "long.wav", make_tone(3.0))
    media.write_wav(tmp_path / "nearly.wav", make_tone(1.95))
    media.write_wav(tmp_path / "short.wav", make_tone(0.5))
    media.write_wav(tmp_path / "stranger.wav", make_tone(2.0))
    media.write_wav(tmp_path / "hollow.wav", make_tone(0.0))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "corrupt.wav").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "torn.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:20_000])
    (tmp_path / "notes.txt").write_text("not a sound")
    return tmp_path


def test_each_bad_file_is_named_and_the_rest_is_read(mixed_folder):
    names = (
        "good",
        "fast",
        "long",
        "nearly",
        "short",
        "hollow",
        "empty",
        "corrupt",
        "torn",
        "gone",
    )
    kept, waves, skipped = generated_folder.read_waves(
        records(*names), generated_folder.find_files(mixed_folder)
    )
    assert [clip["meta"]["id"] for clip in kept] == ["good", "fast", "long", "nearly"]
    assert [len(wave) for wave in waves] == [32_000] * 4
    np.testing.assert_allclose(waves[1][1000:30_000], waves[0][1000:30_000], atol=0.01)
    assert not waves[3][-700:].any()
    kinds = {row["id"]: row["reason"].split(":")[0] for row in skipped}
    assert kinds == {
        "short": "too short", "hollow": "empty", "empty": "empty", "corrupt": "corrupt",
        "torn": "too short", "gone": "missing",
    }  # fmt: skip
    assert all(row["id"] in row["reason"] or row["id"] == "gone" for row in skipped)


def test_lengths_other_than_the_clips_are_named(mixed_folder, capsys):
    quiet = np.concatenate([make_tone(2.0), np.zeros(16_000, np.float32)])
    media.write_wav(mixed_folder / "quiet.wav", quiet)
    for name in ("long", "quiet", "good", "nearly"):
        wave = generated_folder.read_wave(mixed_folder / f"{name}.wav", 2.0)
        assert len(wave) == 32_000
    assert capsys.readouterr().err.splitlines() == [
        f"note: {mixed_folder / 'long.wav'}: found 3.00 s of sound for a clip of 2.00 s: the rest "
        "is left out",
        f"note: {mixed_folder / 'nearly.wav'}: found 1.95 s of sound for a clip of 2.00 s: silence "
        "follows it",
    ]


def test_files_of_no_clip_are_extra(mixed_folder):
    files = generated_folder.find_files(mixed_folder)
    (extra,) = generated_folder.extra_files(mixed_folder, files, set(files) - {"stranger"})
    assert extra["file"] == "stranger.wav"


def test_a_second_file_of_a_clip_is_extra(tmp_path):
    media.write_wav(tmp_path / "a.wav", make_tone(1.0))
    (tmp_path / "a.flac").write_bytes((tmp_path / "a.wav").read_bytes())
    files = generated_folder.find_files(tmp_path)
    assert files == {"a": tmp_path / "a.wav"}
    assert [row["file"] for row in generated_folder.extra_files(tmp_path, files, {"a"})] == [
        "a.flac"
    ]


def test_a_manifest_maps_ids_to_files(tmp_path):
    for name in ("1", "2", "3"):
        media.write_wav(tmp_path / f"{name}.wav", make_tone(1.0))
    (tmp_path / "manifest.csv").write_text("id,audio\na,1.wav\nb,2.wav\nc,4.wav\n")
    files = generated_folder.find_files(tmp_path)
    assert files["a"] == tmp_path / "1.wav"
    _, waves, skipped = generated_folder.read_waves(records("a", "c", seconds=1.0), files)
    assert len(waves) == 1
    assert skipped[0]["reason"].startswith("missing")
    extra = generated_folder.extra_files(tmp_path, files, {"a", "c"})
    assert {row["file"] for row in extra} == {"2.wav", "3.wav"}


def test_accents_match_in_either_form(tmp_path):
    composed, apart = "\u00e9", "e\u0301"
    media.write_wav(tmp_path / f"{apart}.wav", make_tone(1.0))
    for _ in range(2):
        files = generated_folder.find_files(tmp_path)
        _, waves, skipped = generated_folder.read_waves(records(composed, seconds=1.0), files)
        assert len(waves) == 1 and not skipped
        assert not generated_folder.extra_files(tmp_path, files, [composed])
        (tmp_path / "manifest.csv").write_text(f"Id, Audio\n{apart}, {composed}.wav\n")


def test_samples_that_are_not_numbers_are_named(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16_000, np.full(16_000, np.nan, np.float32))
    with pytest.raises(InputError, match=r"corrupt: .*a\.wav: found samples that are not finite"):
        generated_folder.read_wave(tmp_path / "a.wav", 1.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,name\na,b\n", "'audio' is missing"),
        ("id,audio,audio\na,1.wav,2.wav\n", "'audio' is there twice"),
        ("id,audio\na,\n", "row 2, field audio: empty"),
        ("id,audio\n,1.wav\n", "row 2, field id: empty"),
        ("id,audio\na,http://x/1.wav\n", "row 2, field audio: found 'http://x/1.wav'"),
        (b"\xff\xfe\x00\xd8", "not UTF-8 text"),
    ],
)
def test_a_wrong_manifest_is_an_error(tmp_path, content, words):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        generated_folder.find_files(tmp_path)


def test_no_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    for name, words in (("none", "nothing"), ("file", "a file")):
        with pytest.raises(InputError, match=words):
            generated_folder.find_files(tmp_path / name)
