"""Raw conditions of a request: voices, stems, feature rates."""

import numpy as np
import pytest
from helpers import fixtures, odd_media
from helpers.synthetic_audio import reference_voice

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import lip_tracks, visemes, voices
from vssflow_jax.generation import conditioning
from vssflow_jax.generation.conditioning import (
    assign_voices,
    check_features,
    encode_request,
    read_voices,
)
from vssflow_jax.generation.request import Request
from vssflow_jax.preparation.examples import EncodedVideo
from vssflow_jax.text.alignment import place_phonemes
from vssflow_jax.text.durations import DurationModel


def test_voices_of_a_script_change_between_utterances(tmp_path):
    media.write_wav(tmp_path / "ada.wav", reference_voice())
    files = [tmp_path / "ada.wav", None, tmp_path / "ada.wav"]
    embeddings, _ = read_voices(files, "built-in")
    assigned = assign_voices(files, [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)], 125, embeddings)
    assert len(assigned.embeddings) == 2 and assigned.embeddings[1] is None
    assert assigned.frames[[0, 30, 45, 80, 95, 124]].tolist() == [0, 0, 1, 1, 0, 0]


def test_a_voice_needs_an_encoder_for_voices(tmp_path):
    media.write_wav(tmp_path / "ada.wav", reference_voice())
    with pytest.raises(InputError, match=r"--speaker=.*ada\.wav: found encoders \(clip=built-in\)"):
        read_voices([tmp_path / "ada.wav"], "clip=built-in")


def test_a_video_gives_its_duration_and_a_silent_script(tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=1.3)
    encoded = encode_request(
        Request.parse(video=video), DurationModel({}), "built-in", {"rates": {}}
    )
    assert encoded.duration == pytest.approx(1.28)  # whole latent frames
    assert not encoded.record["phonemes"].any() and encoded.used == ["clip", "sync"]


def test_phoneme_times_follow_a_mouth_unless_the_request_has_times(tmp_path, monkeypatch):
    text = "they found a boat"
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=4.0)
    truth = place_phonemes("DH EY1 F AW1 N D AH0 B OW1 T".split(), 1.9, 3.1, {})  # noqa: SIM905
    shapes = visemes.trace_mouth(truth, 100, 25.0)
    look = voices.load_voices("espeak").voices[0].look
    track = lip_tracks.track_lips(look, shapes, np.random.default_rng(0))
    lips = {"lips": track}

    def encode(**request):
        monkeypatch.setattr(
            conditioning, "encode_video", lambda *_: EncodedVideo(features={}, meta={}, **lips)
        )
        request = Request.parse(video=video, **request)
        return encode_request(request, DurationModel({}), "built-in", {"rates": {}})

    encoded = encode(text=text)
    assert encoded.describe()["times"] == "lips" and encoded.lips is track
    (span,) = encoded.spans
    assert span == pytest.approx((1.9, 3.1), abs=0.12)
    spoken = np.flatnonzero(encoded.record["phonemes"]) / 25
    assert span[0] - 0.05 < spoken.min() < spoken.max() < span[1] + 0.05
    timed = encode(text=text, speech_start=0.5)
    assert timed.times == "requested" and timed.spans[0][0] == 0.5 and timed.lips is None
    line, media_file = {"text": text}, {"text": text, "speaker": str(tmp_path / "a.wav")}
    media.write_wav(tmp_path / "a.wav", reference_voice())
    assert encode(script=[line, media_file]).times == "predicted", "whose mouth is it"
    lips["lips"] = None
    assert encode(text=text).times == "predicted"


def test_unreadable_text_is_refused_or_skipped_as_the_request_says():
    request = Request.parse(text="set blue ж")
    with pytest.raises(InputError, match="CYRILLIC SMALL LETTER ZHE, character 10"):
        encode_request(request, DurationModel({}), "built-in", {"rates": {}})
    request = Request.parse(script=[{"text": "set blue ж"}], text_policy="skip")
    encoded = encode_request(request, DurationModel({}), "built-in", {"rates": {}})
    assert "skipped 'ж'" in encoded.describe()["warnings"][0]
    assert [i.symbol for i in encoded.intervals] == "S EH1 T B L UW1".split()  # noqa: SIM905


def test_feature_rates_other_than_the_models_are_errors():
    with pytest.raises(InputError, match="sync at 25 a second, expected 24"):
        check_features({"rates": {"sync": 24, "clip": 10}}, "built-in")
    check_features({"rates": {"sync": 25.0, "clip": None}}, "built-in")


def test_features_of_another_width_than_the_models_are_errors():
    with pytest.raises(InputError, match="lips has 1024 channels, expected 21"):
        check_features({"rates": {}, "widths": {"lips": 21}}, "lips=built-in")
    with pytest.raises(InputError, match="lips has 21 channels, expected 1024"):
        check_features({"rates": {}}, "lips=bundled")


def test_a_voice_beyond_30_s_is_a_warning(tmp_path):
    wave = np.tile(reference_voice(), 20)[: 32 * 16_000]
    assert len(wave) == 32 * 16_000
    for seconds, is_cut in ((30, False), (31, True)):
        path = tmp_path / f"{seconds}.wav"
        media.write_wav(path, wave[: seconds * 16_000])
        request = Request.parse(text="set blue", speaker=path)
        warnings = encode_request(request, DurationModel({}), "built-in", {"rates": {}}).warnings
        note = f"{path}: found more than 30 s of sound: the voice is that of the first 30 s"
        assert (note in warnings) == is_cut


def test_pictures_that_a_cut_video_lacks_are_a_warning(tmp_path):
    video = odd_media.write_media(tmp_path / "in.mp4", 100, muxing={"movflags": "faststart"})
    video.write_bytes(video.read_bytes()[:-300])
    encoded = encode_request(
        Request.parse(video=video), DurationModel({}), "built-in", {"rates": {}}
    )
    assert encoded.duration == 4.0
    assert any("the last picture is held" in warning for warning in encoded.warnings)


def test_a_text_of_hours_is_refused_before_the_generation():
    request = Request.parse(text="red river bells " * 6000)
    with pytest.raises(InputError, match=r"text: found \d+ s of speech, expected at most 3600 s"):
        encode_request(request, DurationModel({}), "built-in", {"rates": {}})


def test_a_video_of_days_is_refused_before_the_generation(tmp_path):
    chunks = [(k * 3000 * 16_000, np.ones((1, 1000)) * 0.1) for k in range(2)]
    video = odd_media.write_media(tmp_path / "in.mkv", 10, [("pcm_s16le", "mono", chunks)])
    data = video.read_bytes()
    tag = b"DURATION"
    assert tag in data
    place = data.index(tag) + len(tag)
    place = data.index(b"00:00:00.4", place)
    video.write_bytes(data[:place] + b"02:00:00.4" + data[place + 10 :])
    with pytest.raises(InputError, match=r"in\.mkv: found 7200 s of video, expected at most 3600"):
        encode_request(Request.parse(video=video), DurationModel({}), "built-in", {"rates": {}})
