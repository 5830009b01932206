"""Sound of unusual files: gaps, changes of format, several tracks, wrong scales."""

import av
import numpy as np
import pytest
from helpers import fixtures, odd_media
from helpers.odd_media import RATE, find_clicks, make_click, split_chunks, write_media
from scipy.io import wavfile

from vssflow_jax import media
from vssflow_jax.common.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sound")


def write_track(path, chunks, codec="pcm_s16le", pictures=25, **settings):
    return write_media(path, pictures, [(codec, "mono", chunks)], **settings)


def test_a_gap_stays_a_gap(folder):
    before, after = make_click(2, [1]), make_click(2, [1])
    path = write_track(folder / "gap.mkv", split_chunks(before) + split_chunks(after, 4 * RATE))
    wave = media.read_audio(path)
    assert find_clicks(wave) == [1.0, 5.0] and len(wave) == 6 * RATE
    assert not wave[2 * RATE + 100 : 4 * RATE - 100].any()
    assert media.read_sound(path).notes == (
        f"{path}: found no sound from 2.00 to 4.00 s: it is silence there",
    )
    np.testing.assert_array_equal(media.read_audio(path, start=4.5, seconds=1), wave[72_000:88_000])


def test_small_gaps_add_up(folder):
    chunks = [(k * 1160, np.ones((1, 1000)) * 0.1) for k in range(50)]  # 10 ms lost each
    path = write_track(folder / "lossy.mkv", chunks)
    assert len(media.read_audio(path)) == pytest.approx(50 * 1160, abs=700)


def test_jitter_is_no_gap(folder):
    jitter = np.random.default_rng(0).integers(-160, 160, 32)
    jitter[0] = 0
    chunks = split_chunks(fixtures.make_tone())
    moved = [(max(first + int(j), 0), x) for (first, x), j in zip(chunks, jitter, strict=True)]
    wave = media.read_audio(write_track(folder / "jitter.mkv", moved))
    expected = media.read_audio(write_track(folder / "steady.mkv", chunks))
    np.testing.assert_array_equal(wave[: len(expected)], expected[: len(wave)])


def test_an_overlap_is_cut(folder):
    chunks = split_chunks(make_click(2, [1])) + split_chunks(make_click(2, [1]), 28_000)
    path = write_track(folder / "overlap.mkv", chunks)
    sound = media.read_sound(path)
    assert find_clicks(sound.wave) == [1.0, 2.75]
    assert len(sound.wave) == pytest.approx(60_000, abs=16)
    assert sound.notes == (
        f"{path}: 0.25 s of sound begin before the end of the sound before: they are left out",
    )


@pytest.mark.parametrize(("delay", "is_named"), [(0.4, False), (2.0, True)])
def test_sound_that_begins_late_is_named(folder, delay, is_named):
    chunks = split_chunks(fixtures.make_tone(1), round(delay * RATE))
    path = write_track(folder / f"delay_{delay}.mkv", chunks)
    named = f"{path}: found no sound from 0.00 to 2.00 s: it is silence there"
    assert media.read_sound(path).notes == ((named,) if is_named else ())


@pytest.mark.parametrize("is_audible", [True, False])
def test_sound_before_the_first_picture_is_named(folder, is_audible):
    chunks = split_chunks(fixtures.make_tone(2) * is_audible)
    path = write_track(folder / f"early_{is_audible}.mkv", chunks, start=0.48)
    sound = media.read_sound(path)
    assert len(sound.wave) == 1.52 * RATE
    named = f"{path}: found 0.48 s of sound before the first picture: they are left out"
    assert sound.notes == ((named,) if is_audible else ())


@pytest.mark.parametrize(("video", "sound"), [(0, 2), (2, 0), (5, 5.5), (1.5, 1)])
@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_sound_is_on_the_clock_of_the_pictures(folder, name, video, sound):
    ts = name.endswith("ts")
    chunks = split_chunks(make_click(3, [2.5]), round(sound * RATE), 1024 if ts else 1000)
    path = write_track(
        folder / f"{video}_{sound}_{name}",
        chunks,
        "aac" if ts else "pcm_s16le",
        start=video,
        container="mpegts" if ts else None,
    )
    assert find_clicks(media.read_audio(path)) == pytest.approx([sound + 2.5 - video], abs=0.07)


def test_an_estimated_length_does_not_cut_the_end(folder):
    noise = np.random.default_rng(0).uniform(-0.8, 0.8, 2 * RATE).astype(np.float32)
    wave = np.concatenate([noise, make_click(5, [4.5])])
    path = write_track(folder / "tail.aac", [(0, wave[None])], "aac", 0, container="adts")
    assert find_clicks(media.read_audio(path))[-1] == pytest.approx(6.5, abs=0.07)


def test_a_change_of_format_midway_is_resampled(folder):
    parts = [("libmp3lame", "mono", 44_100), ("libmp3lame", "stereo", 44_100)]
    parts += [("libmp3lame", "mono", 22_050)]
    data = b""
    for number, (codec, layout, rate) in enumerate(parts):
        path = folder / f"{number}.mp3"
        wave = np.stack([fixtures.make_tone(2, 440, rate)] * (2 if layout == "stereo" else 1))
        write_sound(path, wave, codec, layout, rate)
        data += path.read_bytes()
    (folder / "all.mp3").write_bytes(data)
    sound = media.read_sound(folder / "all.mp3")
    assert len(sound.wave) == pytest.approx(6 * RATE, abs=4000)
    (note,) = sound.notes  # encoders begin with silence, which decoders leave out
    assert ": found no sound from " in note
    for second in (0.5, 2.5, 4.5):
        spectrum = np.abs(np.fft.rfft(sound.wave[round(second * RATE) :][:RATE]))
        assert spectrum.argmax() == pytest.approx(440, abs=2)
        assert np.abs(sound.wave[round(second * RATE) :][:RATE]).max() == pytest.approx(
            0.58, abs=0.15
        )


def write_sound(path, wave, codec, layout, rate):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), "fltp", layout)
        frame.sample_rate, frame.pts = rate, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def test_the_track_is_the_default_one_or_the_one_asked_for(folder):
    tracks = [("aac", "mono", split_chunks(make_click(2, [k / 2]))) for k in (1, 2)]
    path = write_media(folder / "tracks.mkv", 50, tracks, default=1)
    for track, second in ((None, 1.0), (1, 0.5), (2, 1.0)):
        wave = media.read_sound(path, track=track).wave
        assert find_clicks(wave) == pytest.approx([second], abs=0.02)
    for read in (lambda: media.read_sound(path, track=3), lambda: media.probe(path, 3)):
        with pytest.raises(InputError, match=r"tracks\.mkv: found 2 audio tracks, expected number"):
            read()


@pytest.mark.parametrize(
    ("name", "right", "channel"),
    [("opposite", -1.0, 1), ("nearly", -0.95, 1), ("louder", -1.05, 2), ("float", -1.0, 1)],
)
def test_channels_that_cancel_out(folder, name, right, channel):
    tone = fixtures.make_tone()
    path = folder / f"{name}.wav"
    wave = np.stack([tone, right * tone], 1)
    wavfile.write(path, RATE, wave if name == "float" else (wave * 32767).astype(np.int16))
    sound = media.read_sound(path)
    assert np.abs(sound.wave).max() > 0.49
    assert f"{name}.wav: found channels in opposite phase" in sound.notes[0]
    assert f"channel {channel} alone" in sound.notes[0]


@pytest.mark.parametrize("right", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("level", [1.0, 1.99])
def test_other_channels_are_mixed_without_clipping(folder, right, level):
    tone = fixtures.make_tone() * level
    wave = np.stack([tone, right * tone], 1)
    sound = media.read_sound(odd_media.write_float_wav(folder / "mixed.wav", wave))
    assert not sound.notes
    factor = sound.wave @ tone / (tone @ tone)
    assert 0.25 <= factor / (1 + right) * 2 * 0.5 <= 0.75
    np.testing.assert_allclose(sound.wave, factor * tone, atol=1e-4)


def test_a_lone_bass_channel_is_heard(folder):
    wave = np.zeros((6, 2 * RATE), np.float32)
    wave[3] = fixtures.make_tone(2, 60)
    path = write_media(folder / "bass.mkv", 0, [("flac", "5.1", split_chunks(wave))])
    sound = media.read_sound(path)
    assert np.abs(sound.wave).max() > 0.4 and "channel 4 alone" in sound.notes[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(folder, value):
    wave = fixtures.make_tone()
    wave[8000] = value
    path = odd_media.write_float_wav(folder / "bad.wav", wave)
    with pytest.raises(InputError, match=r"bad\.wav: found samples that are not finite numbers"):
        media.read_audio(path)


@pytest.mark.parametrize(
    ("factor", "scale"),
    [(1.9, None), (3.0, 1.5), (2.0**15, 2.0**15), (2.0**16, 2.0**15), (2.0**23, 2.0**23)],
)
def test_samples_beyond_full_scale_are_scaled(folder, factor, scale):
    tone = fixtures.make_tone()
    sound = media.read_sound(odd_media.write_float_wav(folder / "loud.wav", tone * factor))
    if scale is None:
        assert not sound.notes
    else:
        assert "loud.wav: found samples of up to" in sound.notes[0]
    np.testing.assert_allclose(sound.wave, tone * factor / (scale or 1), atol=1e-3)


def test_samples_of_no_scale_are_refused(folder):
    path = odd_media.write_float_wav(folder / "wild.wav", fixtures.make_tone() * 1e15)
    with pytest.raises(InputError, match=r"wild\.wav: found samples of up to 5e\+14"):
        media.read_audio(path)


def test_a_wav_of_unknown_length_is_read_to_its_end(folder):
    """Programs that write into a pipe do not know the length and store the largest number."""
    path = folder / "stream.wav"
    media.write_wav(path, fixtures.make_tone())
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert len(media.read_audio(path)) == 2 * RATE


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float64])
def test_other_sample_formats(folder, kind):
    tone = fixtures.make_tone().astype(np.float64)
    scaled = {np.uint8: tone * 127 + 128, np.int32: tone * (2**31 - 1), np.float64: tone}[kind]
    wavfile.write(folder / "kind.wav", RATE, scaled.astype(kind))
    np.testing.assert_allclose(media.read_audio(folder / "kind.wav"), tone, atol=0.02)


def test_chained_streams_of_one_file(folder):
    tone = fixtures.make_tone()
    write_sound(folder / "one.ogg", tone[None], "libopus", "mono", RATE)
    data = (folder / "one.ogg").read_bytes()
    (folder / "two.ogg").write_bytes(data + data)
    assert len(media.read_audio(folder / "two.ogg")) == pytest.approx(4 * RATE, abs=1000)


# ---- stereo ---------------------------------------------------------------------------------


def write_stereo(path, left, right, **settings):
    track = ("pcm_s16le", "stereo", split_chunks(np.stack([left, right])))
    return write_media(path, settings.pop("pictures", 25), [track], **settings)


def test_stereo_keeps_its_channels_and_their_phase(folder):
    left = fixtures.make_tone(1.0)
    path = write_stereo(folder / "stereo.mkv", left, -0.5 * left)
    sound = media.read_sound(path, channels=2)
    assert sound.wave.shape == (RATE, 2) and sound.notes == ()
    np.testing.assert_allclose(sound.wave, np.stack([left, -0.5 * left], 1), atol=1e-4)


def test_mono_sound_is_as_loud_in_both_channels(folder):
    tone = fixtures.make_tone(1.0)
    path = write_track(folder / "mono.mkv", split_chunks(tone))
    wave = media.read_audio(path, channels=2)
    np.testing.assert_array_equal(wave[:, 0], wave[:, 1])
    np.testing.assert_array_equal(wave[:, 0], media.read_audio(path))


def test_stereo_gaps_and_late_starts_are_silence_in_both_channels(folder):
    tone = np.stack([fixtures.make_tone(1.0)] * 2)
    chunks = split_chunks(tone, RATE) + split_chunks(tone, 3 * RATE)
    path = write_media(folder / "late.mkv", 100, [("pcm_s16le", "stereo", chunks)])
    wave = media.read_audio(path, 48_000, channels=2)
    assert wave.shape == (4 * 48_000, 2)
    assert not wave[: 48_000 - 100].any() and not wave[2 * 48_000 + 100 : 3 * 48_000 - 100].any()
    assert wave[48_000 + 4800 : 2 * 48_000 - 100].any(0).all()


@pytest.mark.parametrize(
    ("name", "codec", "muxing"),
    [
        ("short.wav", "pcm_s16le", {}),
        ("long.wav", "pcm_s16le", {"rf64": "always"}),
        ("adpcm.wav", "adpcm_ms", {}),
        ("a.aiff", "pcm_s16be", {}),
        ("a.flac", "flac", {}),
        ("a.mp3", "libmp3lame", {}),
        ("a.m4a", "aac", {"movflags": "faststart"}),
        ("a.mka", "aac", {}),
    ],
)
def test_a_missing_end_is_named(folder, name, codec, muxing):
    chunks = split_chunks(fixtures.make_tone(4))
    path = write_media(folder / name, 0, [(codec, "mono", chunks)], muxing=muxing)
    assert not media.read_sound(path).notes
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    (note,) = media.read_sound(path).notes
    assert note.startswith(f"{path}: truncated: found ") and " s of sound, expected 4.0" in note
    assert not media.read_sound(path, seconds=1.0).notes  # which is there


def test_damaged_packets_are_counted(folder):
    tracks = [("aac", "mono", split_chunks(fixtures.make_tone(4)))]
    path = write_media(folder / "damaged.mp4", 100, tracks)
    sound = media.read_sound(odd_media.damage_packets(path, "audio", slice(20, 23)))
    assert sound.notes == (
        f"{path}: found 3 packets of sound that cannot be decoded: they are silence",
        f"{path}: found no sound from 1.22 to 1.41 s: it is silence there",
    )
    assert len(sound.wave) == pytest.approx(4 * RATE, abs=1)


def test_an_encrypted_file_is_refused(folder):
    muxing = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "26a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
        "fflags": "+bitexact",  # no random numbers, on which the decoder's words depend
    }
    tracks = [("aac", "mono", split_chunks(fixtures.make_tone(2)))]
    path = write_media(folder / "encrypted.mp4", 50, tracks, muxing=muxing)
    with pytest.raises(InputError, match=r"packets .*that cannot be decoded"):
        media.read_video(path)
    with pytest.raises(InputError, match=r"an audio stream without samples \(Invalid data"):
        media.read_sound(path)


@pytest.mark.parametrize("count", [8, 16])
def test_any_number_of_channels_is_read(folder, count):
    wave = np.repeat(fixtures.make_tone()[:, None], count, 1)
    sound = media.read_sound(odd_media.write_float_wav(folder / f"{count}.wav", wave))
    assert len(sound.wave) == 2 * RATE and 0.4 < np.abs(sound.wave).max() <= 1


def test_more_channels_than_ffmpeg_mixes_are_one_line(folder):
    wave = np.zeros((100, 170), np.float32)
    with pytest.raises(
        InputError, match=r"many\.wav: cannot be read \(Invalid argument\), expected"
    ):
        media.read_sound(odd_media.write_float_wav(folder / "many.wav", wave))


def test_silence_of_hours_is_refused(folder):
    chunks = [(k * 3000 * RATE, np.ones((1, 1000)) * 0.1) for k in range(3)]
    path = write_track(folder / "hours.mkv", chunks)
    with pytest.raises(InputError, match="found a gap of 6000 s"):
        media.read_sound(path)
