"""Rows of a manifest as records: contents, lengths, windows, and times of phonemes."""

import numpy as np
import pytest
from helpers import fixtures
from helpers.manifests import GOOD, SENTENCE, TIMES, read_records, write_manifest
from helpers.synthetic_audio import say

from vssflow_jax import conditions, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import lip_tracks, visemes, voices
from vssflow_jax.data import pipeline, shards
from vssflow_jax.data.lip_track import LipTrack, write_lip_track
from vssflow_jax.data.manifest import read_manifest
from vssflow_jax.features import lip_geometry, lips
from vssflow_jax.preparation import examples, validation
from vssflow_jax.preparation.prepare import prepare
from vssflow_jax.text import aligner, alignment, phonemes
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.durations import measure_durations
from vssflow_jax.text.grid import phonemes_to_frames


def test_records_contain_what_the_row_has(prepared):
    out, info = prepared
    by_id = read_records(out)
    video = {"clip", "sync"}
    assert {name: record.keys() - {"meta"} for name, record in by_id.items()} == {
        "a": {"wave", "speaker", "phonemes", "lips"} | video,
        "b": {"wave"} | video,
        "c": {"wave", "speaker", "phonemes"} | video,
        "d": {"wave", "speaker", "phonemes"},
        "e": {"speaker", "phonemes"} | video,
        "f": {"wave"} | video,
    }
    assert [by_id[name]["meta"]["task"] for name in "abcdef"] == (
        ["speech", "sound", "joint", "speech", "speech", "sound"]
    )
    assert shards.load_dataset_info(out) == info
    assert info["splits"]["train"]["tasks"] == {"joint": 1, "sound": 1, "speech": 1}
    assert info["splits"]["train"]["missing"] == {"lips": 2, "phonemes": 1, "speaker": 1}
    assert info["splits"]["test"]["missing"] == {"lips": 2, "phonemes": 1, "speaker": 1, "wave": 1}
    assert info["splits"]["test"]["silent"] == [0] and info["skipped"] == 0
    assert info["splits"]["train"]["seconds"] == {"joint": 2.0, "sound": 2.0, "speech": 2.0}
    assert info["splits"]["valid"]["files"] == ["valid-00000.array_record"]


def test_voices_are_missing_without_an_encoder_for_them(corpus, tmp_path):
    manifest = write_manifest(corpus, GOOD[:1], "voiced.csv")
    options = {"workers": 0, "progress": False}
    info = prepare(manifest, tmp_path, encoder_set="clip=built-in,sync=built-in", **options)
    assert info["splits"]["train"]["missing"] == {"lips": 1, "speaker": 1}
    assert read_records(tmp_path)["a"].keys() == {"wave", "phonemes", "clip", "sync", "meta"}


def test_what_is_not_spoken_of_a_text_is_noted(corpus, tmp_path, capsys):
    rows = ["a,0.mp4,,set blue ♪,,,train,", "b,1.mp4,,set ж blue,,,train,", "c,2.mp4,,,,,train,"]
    manifest = write_manifest(corpus, rows, "notes.csv")
    info = prepare(manifest, tmp_path / "refuse", workers=0)
    assert info["notes"].keys() == {"a"} and info["skipped"] == 1
    told = capsys.readouterr().err
    assert "note: a: text: left out '♪' (EIGHTH NOTE" in told
    assert "CYRILLIC SMALL LETTER ZHE" in told
    info = prepare(manifest, tmp_path / "skip", workers=0, text_policy="skip", progress=False)
    assert info["notes"].keys() == {"a", "b"} and info["skipped"] == 0
    assert "skipped 'ж'" in read_records(tmp_path / "skip")["b"]["meta"]["text_notes"][0]


def test_lengths_are_those_of_the_clip(prepared):
    out, info = prepared
    for record in read_records(out).values():
        duration = record["meta"]["duration"]
        assert duration == 2.0
        for name, feature in info["features"].items():
            if name not in record:
                continue
            rows = conditions.num_frames(name, duration, feature["rate"])
            width = () if name == "phonemes" else (feature["width"],)
            expected = width if feature["rate"] is None else (rows, *width)
            assert record[name].shape == expected and record[name].dtype == feature["dtype"]
        if "wave" in record:
            assert record["wave"].shape == (32_000,) and record["wave"].dtype == np.int16


def test_phonemes_follow_the_alignment_or_are_predicted(prepared):
    out, info = prepared
    by_id = read_records(out)
    aligned = by_id["a"]["meta"]["alignment"]
    assert [row[2] for row in aligned] == ["S", "EH1", "T"]
    np.testing.assert_array_equal(by_id["a"]["phonemes"], phonemes_to_frames(TIMES, 50))
    assert info["statistics"]["phoneme_durations"] == pytest.approx(
        measure_durations([TIMES]), abs=1e-4
    )
    assert "alignment" not in by_id["c"]["meta"], "predicted times are no alignment"
    spoken = np.flatnonzero(by_id["c"]["phonemes"])
    assert (
        len(spoken) == spoken[-1] - spoken[0] + 1 and len(set(by_id["c"]["phonemes"][spoken])) > 8
    )


def test_records_contain_annotations_and_lips(prepared, corpus):
    out, _ = prepared
    by_id = read_records(out)
    assert by_id["a"]["meta"]["annotation"]["speaker"] == "v"
    assert "annotation" not in by_id["b"]["meta"]
    frames = media.read_video(corpus / "0.mp4").frames
    expected = lips.crop_mouth(frames, (10, 10, 30, 30)).astype(np.float16)
    np.testing.assert_array_equal(by_id["a"]["lips"], expected)


def test_geometry_of_lips_is_read_from_the_rows_file_in_place_of_tracking(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(examples.face_tracking, "track_mouth", None)
    rng = np.random.default_rng(0)
    track = LipTrack(rng.normal(size=(50, 10)).astype(np.float32), np.ones(50, bool))
    write_lip_track(corpus / "a.safetensors", track)
    (corpus / "lips.csv").write_text(
        f"id,video,text,split,lips\na,0.mp4,{SENTENCE},train,a.safetensors\n"
    )
    options = {"workers": 0, "progress": False, "encoder_set": "lips=bundled"}
    info = prepare(corpus / "lips.csv", tmp_path, **options)
    features = read_records(tmp_path)["a"]["lips"]
    np.testing.assert_array_equal(features, lip_geometry.encode_lips(track).astype(np.float16))
    assert info["features"]["lips"]["width"] == lip_geometry.WIDTH


def test_a_text_without_sound_follows_the_lips(corpus, tmp_path):
    words = phonemes.pronounce(SENTENCE.split())
    truth = alignment.place_phonemes([s for word in words for s in word], 0.4, 1.9, {})
    shapes = visemes.trace_mouth(truth, 50, 25.0)
    look = voices.load_voices("espeak").voices[0].look
    track = lip_tracks.track_lips(look, shapes, np.random.default_rng(0))
    write_lip_track(corpus / "said.safetensors", track)
    (corpus / "said.csv").write_text(
        f"id,video,text,split,lips\na,silent.mp4,{SENTENCE},train,said.safetensors\n"
    )
    prepare(corpus / "said.csv", tmp_path, workers=0, progress=False, encoder_set="bundled")
    meta = read_records(tmp_path)["a"]["meta"]
    assert meta["times"] == examples.TIMES_FROM_LIPS
    times = np.array([row[:2] for row in meta["alignment"]])
    assert np.abs(times - np.array([i[:2] for i in truth])).mean() < 0.06


def test_long_sounds_are_cut_into_windows(corpus, tmp_path):
    path = write_manifest(corpus, ["long,long.mp4,,,,,train,"], "long.csv")
    prepare(path, tmp_path, workers=0, max_seconds=2.0, progress=False)
    by_id = read_records(tmp_path)
    assert {name: r["meta"]["duration"] for name, r in by_id.items()} == {
        "long_0": 2.0,
        "long_1": 2.0,
        "long_2": 1.0,
    }
    wave = media.to_int16(media.read_audio(corpus / "long.mp4"))
    np.testing.assert_array_equal(np.concatenate([r["wave"] for r in by_id.values()]), wave)
    onsets = [r["meta"]["annotation"]["onsets"] for r in by_id.values()]
    assert onsets == [[1], [], [0]]


def test_long_speech_is_cut_where_it_pauses(corpus, tmp_path):
    """Three words before 1.9 s, two from 2.5 s on, one at the end; then silence."""
    spoken = []
    for text, start, end in (("set blue at", 0.3, 1.9), ("g nine", 2.5, 3.2), ("now", 3.4, 3.8)):
        symbols = [s for word in phonemes.pronounce(text.split()) for s in word]
        spoken += alignment.place_phonemes(symbols, start, end, {})
    alignment.write_alignment(corpus / "pauses.csv", spoken)
    rows = [f"x,long.mp4,,{SENTENCE},voice.wav,pauses.csv,train,joint"]
    path = write_manifest(corpus, rows, "pauses.csv.csv")
    prepare(path, tmp_path, workers=0, max_seconds=2.2, progress=False)
    by_id = read_records(tmp_path)
    texts = {name: (r["meta"].get("text"), r["meta"]["task"]) for name, r in by_id.items()}
    assert texts == {
        "x_0": ("set blue at", "joint"),
        "x_1": ("g nine now", "joint"),
        "x_2": (None, "sound"),
    }
    durations = [r["meta"]["duration"] for r in by_id.values()]
    assert sum(durations) == pytest.approx(5.0) and durations[:2] == [2.2, 2.2]
    wave = media.to_int16(media.read_audio(corpus / "long.mp4"))
    np.testing.assert_array_equal(np.concatenate([r["wave"] for r in by_id.values()]), wave)
    again = [
        (start + shift, end + shift, symbol)
        for record, shift in zip(by_id.values(), np.cumsum([0, *durations]), strict=False)
        for start, end, symbol in record["meta"].get("alignment", [])
    ]
    assert [row[2] for row in again] == [i.symbol for i in spoken]
    np.testing.assert_allclose([r[:2] for r in again], [i[:2] for i in spoken], atol=2e-4)
    assert "speaker" in by_id["x_1"] and "phonemes" in by_id["x_1"]
    assert not {"speaker", "phonemes"} & by_id["x_2"].keys()


def test_odd_lengths_become_latent_frames(tmp_path):
    """29.97 frames a second and 4.004 s become whole latent frames."""
    source = fixtures.find_real_video("carphone_pristine.mp4")
    path = write_manifest(tmp_path, [f"x,{source},,,,,test,"])
    prepare(path, tmp_path / "out", workers=0, progress=False)
    record = read_records(tmp_path / "out")["x"]
    assert record["meta"]["duration"] == 4.0
    assert record["clip"].shape == (40, 768) and record["sync"].shape == (100, 768)


# ---- texts without an alignment -------------------------------------------------------------


def write_speech(folder, wave, text):
    """The row of a manifest with one sound and its text."""
    media.write_wav(folder / "a.wav", wave, 16_000)
    path = write_manifest(folder, [f'a,,a.wav,"{text}",,,train,'])
    (row,) = read_manifest(path)
    return row


def test_a_clip_without_an_alignment_is_aligned(tmp_path):
    pytest.importorskip("pocketsphinx")
    speech, sounds = say(SENTENCE)
    wave = np.zeros(56_000, np.float32)
    wave[6400:][: len(speech)] = 0.5 * speech
    expected = [Interval(start + 0.4, end + 0.4, symbol) for start, end, symbol in sounds]
    row = write_speech(tmp_path, wave, SENTENCE)
    (record,) = examples.make_records(row, None, examples.ExampleSettings())
    assert record["meta"]["times"] == "heard"
    times = np.array([interval[:2] for interval in record["meta"]["alignment"]])
    assert np.median(np.abs(times - [i[:2] for i in expected])) < 0.02
    frames = phonemes_to_frames(expected, len(record["phonemes"]))
    assert np.mean(record["phonemes"] == frames) > 0.8


@pytest.mark.parametrize("installed", [True, False])
def test_times_are_predicted_where_alignment_fails(tmp_path, monkeypatch, installed):
    pytest.importorskip("pocketsphinx")
    if not installed:
        monkeypatch.setattr(aligner, "is_available", lambda: False)
    wave = np.random.default_rng(0).normal(0, 0.2, 32_000).astype(np.float32)
    text = "the morning train was late because of heavy snow" + " and rain" * installed
    row = write_speech(tmp_path, wave, text)
    (record,) = examples.make_records(row, None, examples.ExampleSettings())
    assert record["meta"]["times"] == "predicted" and "alignment" not in record["meta"]
    assert record["meta"]["times_note"].startswith("aligner: found" if installed else "aligner: P")
    assert record["phonemes"].any()


def test_waves_are_stored_in_the_format_that_is_asked_for(prepared, corpus, tmp_path):
    """All conditions are those of the shards at 16 kHz."""
    manifest = write_manifest(corpus, [row for row in GOOD if row[0] in "adf"], "stereo.csv")
    audio = conditions.AudioFormat(48_000, 2)
    info = prepare(manifest, tmp_path / "out", workers=0, progress=False, audio=audio)
    assert shards.read_audio_format(info) == audio
    assert validation.validate_shards(tmp_path / "out", progress=False).problems == []
    mono, stereo = read_records(prepared[0]), read_records(tmp_path / "out")
    for name, record in stereo.items():
        assert record["wave"].shape == (96_000, 2) and record["wave"].dtype == np.int16
        assert record["meta"].pop("sample_rate") == 48_000
        assert record["meta"] == mono[name]["meta"]
        for key in record.keys() - {"wave", "meta"}:
            np.testing.assert_array_equal(record[key], mono[name][key])
        low = pipeline.read_mono({**record, "meta": {"sample_rate": 48_000}})
        np.testing.assert_allclose(low, pipeline.read_wave(mono[name]), atol=0.02)


@pytest.mark.parametrize(
    ("audio", "message"),
    [((44_101, 1), "--sample_rate: found 44101"), ((48_000, 3), "--audio_channels: found 3")],
)
def test_formats_that_cannot_be_are_named(corpus, tmp_path, audio, message):
    with pytest.raises(InputError, match=message):
        prepare(corpus, tmp_path / "out", audio=conditions.AudioFormat(*audio))
