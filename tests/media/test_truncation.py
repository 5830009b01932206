"""Files that broke off are named, also where no header says how long they were."""

import numpy as np
import pytest
from helpers import fixtures
from helpers.odd_media import split_chunks, write_media

from vssflow_jax import media
from vssflow_jax.media.truncation import describe_truncation

SECONDS = 3
SOUNDS = {  # container: codec, options of the container
    "a.caf": ("pcm_s16le", {}),
    "a.w64": ("pcm_s16le", {}),
    "opus.ogg": ("libopus", {}),
    "flac.ogg": ("flac", {}),
    "sound.avi": ("pcm_s16le", {}),
    "live.mka": ("aac", {"live": "1"}),
    "fragments.mp4": ("aac", {"movflags": "frag_keyframe+empty_moov"}),
}
VIDEOS = {  # container: codec, FFmpeg's name of the container, options of the container
    "a.flv": ("libx264", None, {}),
    "a.wmv": ("wmv2", "asf", {}),
    "fragments.mov": ("libx264", None, {"movflags": "frag_keyframe+empty_moov"}),
    "live.webm": ("libvpx-vp9", None, {"live": "1"}),
}


def write_sound(folder, name):
    codec, muxing = SOUNDS[name]
    chunks = split_chunks(fixtures.make_tone(SECONDS), size=1024)
    return write_media(folder / name, 0, [(codec, "mono", chunks)], muxing=muxing)


def write_pictures(folder, name):
    codec, container, muxing = VIDEOS[name]
    options = {"g": "10"}
    return write_media(
        folder / name, 25 * SECONDS, (), container, codec, muxing=muxing, options=options
    )


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def write_riff(chunks):
    return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks


@pytest.mark.parametrize("name", SOUNDS)
def test_a_missing_end_of_a_sound_is_named(tmp_path, name):
    path = write_sound(tmp_path, name)
    original = media.read_sound(path)
    assert not original.notes
    sound = media.read_sound(cut(path))
    assert len(sound.wave) < 0.9 * len(original.wave)
    assert [note.startswith(f"{path}: truncated: ") for note in sound.notes] == [True]
    assert not media.read_sound(path, seconds=0.5).notes  # which is there


@pytest.mark.parametrize("name", VIDEOS)
def test_a_missing_end_of_a_video_is_named(tmp_path, name):
    path = write_pictures(tmp_path, name)
    assert not media.read_video(path).notes
    video = media.read_video(cut(path))
    assert len(video.frames) < 0.9 * 25 * SECONDS
    assert any(note.startswith(f"{path}: truncated: ") for note in video.notes)
    assert not media.read_video(path, seconds=0.4).notes


def test_an_ogg_that_ends_with_a_page_may_be_whole(tmp_path):
    path = write_sound(tmp_path, "opus.ogg")
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"OggS")])
    (note,) = media.read_sound(path).notes
    assert note == f"{path}: its last page is not marked as the end: the end may be missing"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.wav", b"RIFF" + (2**31).to_bytes(4, "little") + b"AVI " + bytes(90), ""),
        ("a.wav", b"RIFF" + (100).to_bytes(4, "little") + b"AVI " + bytes(90), ""),
        ("a.wav", b"RIFF" + (900).to_bytes(4, "little") + b"AVI " + bytes(90), "lacks 806 bytes"),
        ("a.wav", b"RIFF" + (102).to_bytes(4, "little") + b"AVI " + bytes(90), ""),
        ("a.wav", write_riff(b"data\x08\0\0\0" + bytes(8) + b"LIST\4\0\0\0INFO"), ""),
        ("a.wav", write_riff(b"data\x08\0\0\0" + b"\1" * 80), "no part of it from byte 28 of"),
        ("a.wav", write_riff(b"data\x08\0\0\0" + bytes(80)), ""),
        ("a.wav", write_riff(b"data\x07\0\0\0" + bytes(7) + b"LIST\4\0\0\0INFO"), ""),
        ("a.wav", write_riff(b"data\x08\0\0\0" + bytes(8)) + bytes(9), ""),
        ("a.wav", write_riff(b"data\x08\0\0\0" + bytes(8)) + bytes(90), "from byte 28 of 118"),
        ("a.aiff", b"FORM" + (900).to_bytes(4, "big") + b"AIFF" + bytes(90), "lacks 806 bytes"),
        ("a.aiff", b"FORM" + b"\xff" * 4 + b"AIFF" + bytes(90), ""),
        ("a.caf", b"caff\0\1\0\0data" + b"\xff" * 8 + bytes(90), ""),
        ("a.mp4", bytes([0, 0, 0, 16]) + b"ftypisom" + bytes(30), ""),
        ("a.mp4", bytes([0, 0, 0, 16]) + b"ftypisom0000" + b"\xff" * 30, "no part of it"),
        ("a.mp4", bytes([0, 0, 0, 16]) + b"ftypisom0000" + b"\xff" * 5, ""),
        ("a.mkv", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7, ""),
        ("a.mkv", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x44\0" + bytes(50), "lacks 974 bytes"),
        ("a.mkv", b"\x1a\x45\xdf\xa3" + bytes(60), ""),
        (
            "a.mkv",
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x1f\x43\xb6",
            "within the header of a part",
        ),
        ("a.flv", b"FLV\1\5\0\0\0\x09" + bytes(4) + b"\x09\0\1\0" + bytes(40), "lacks 223 bytes"),
        ("a.flv", b"FLV\1\5\0\0\0\x09" + b"\1" * 90, ""),
        ("a.txt", b"anything", ""),
        ("a.ogg", b"OggS", "within a page"),
    ],
)
def test_sizes_of_parts(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    description = describe_truncation(tmp_path / name)
    assert words in description and bool(words) == bool(description)


def test_any_bytes_end_somewhere(tmp_path):
    """No sizes of parts lead to an endless search, or to an error."""
    rng = np.random.default_rng(0)
    marks = [b"RIFF", b"RF64", b"FORM", b"riff\x2e\x91\xcf\x11", b"caff", b"\x1a\x45\xdf\xa3"]
    marks += [b"FLV", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), b"\0\0\0\x08ftyp", b"OggS"]
    for number in range(200):
        body = rng.integers(0, 256, 100, np.uint8) * rng.integers(0, 2, 100, np.uint8)
        path = tmp_path / f"{number}"
        path.write_bytes(marks[number % len(marks)] + body.tobytes())
        assert "\n" not in describe_truncation(path)
