"""Generated sound with the video's own: levels, loudness, and samples that stay as they were."""

import av
import numpy as np
import pytest
from helpers import ebur128, fixtures, odd_media

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.mixing import ORIGINAL, MixOptions, mix_output
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.text.script import Utterance, align_script
from vssflow_jax.text.word_times import time_words

RATE = 16_000  # of generated sound
SCRIPT = [Utterance(text="set blue", start=1.0, end=1.6)]
SECONDS = 4.0


def write_original(path, channels, rate, seconds=SECONDS):
    """A video with noise in 16 bits; the noise [n, channels] as the file has it."""
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, (round(seconds * rate), channels))
    pcm = media.to_int16(noise.astype(np.float32))
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = file.add_stream("pcm_s16le", rate=rate, layout=media.LAYOUTS[channels])
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", media.LAYOUTS[channels])
        frame.sample_rate = rate
        for picture in fixtures.make_frames(round(seconds * 25)):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux([*video.encode(None), *audio.encode(frame), *audio.encode(None)])
    return pcm.astype(np.float32) / 32768


def make_output(video, used=("phonemes", "speaker"), **fields):
    wave = fixtures.make_voice(seconds=SECONDS)
    lines = time_words(SCRIPT, align_script(SCRIPT, SECONDS, {}).intervals, {})
    return Output(wave, RATE, {"used": list(used)}, video, utterances=lines, **fields)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """(path, samples) of a video with stereo sound at 44.1 kHz."""
    path = tmp_path_factory.mktemp("original") / "in.mkv"
    return path, write_original(path, 2, 44_100)


@pytest.mark.parametrize(
    ("channels", "rate"), [(1, 8000), (1, 48_000), (2, 44_100), (6, 48_000), (8, 32_000)]
)
@pytest.mark.parametrize("mode", ["add", "duck"])
def test_samples_without_speech_are_those_of_the_video(tmp_path, channels, rate, mode):
    noise = write_original(tmp_path / "in.mkv", channels, rate)
    mixed = mix_output(make_output(tmp_path / "in.mkv"), MixOptions(mode=mode))
    assert mixed.sample_rate == rate and len(mixed.wave) == len(noise)
    wave = mixed.wave.reshape(len(noise), -1)
    assert wave.shape == noise.shape
    for part in (slice(0, round(0.6 * rate)), slice(round(2.4 * rate), None)):
        np.testing.assert_array_equal(wave[part], noise[part])
    spoken = slice(round(1.1 * rate), round(1.5 * rate))
    changed = [
        not np.array_equal(a, b) for a, b in zip(wave[spoken].T, noise[spoken].T, strict=True)
    ]
    if mode == "duck":
        assert all(changed)
    else:
        speaking = {1: [True], 2: [True, True]}.get(channels, [n == 2 for n in range(channels)])
        assert changed == speaking  # the center where there is one


def test_what_is_added_is_the_generated_speech(video):
    path, noise = video
    output = make_output(path)
    mixed = mix_output(output, MixOptions(mode="add", generated_level=-6.0))
    added = mixed.wave - noise
    np.testing.assert_allclose(added[:, 0], added[:, 1], atol=1e-6)
    level = np.sqrt(np.mean(np.square(added[48_000:66_000, 0])))
    expected = np.sqrt(np.mean(np.square(output.wave[17_415:23_946]))) / 10**0.3
    assert level == pytest.approx(expected, rel=0.03)


def test_the_original_is_quieter_while_somebody_speaks(video):
    path, noise = video
    silent = make_output(path)
    silent = Output(0 * silent.wave, RATE, silent.report, path, utterances=silent.utterances)
    mixed = mix_output(silent, MixOptions(mode="duck", duck_level=-20.0))
    spoken = slice(round(1.0 * 44_100), round(1.6 * 44_100))
    np.testing.assert_allclose(mixed.wave[spoken], 0.1 * noise[spoken], atol=1e-6)
    loud = np.abs(noise[:, 0]) > 0.05
    gain = mixed.wave[loud, 0] / noise[loud, 0]
    assert np.abs(np.diff(gain)).max() < 0.01  # fades, no steps


def test_other_generated_sound_is_added_everywhere(video):
    path, noise = video
    mixed = mix_output(make_output(path, used=("clip", "phonemes")), MixOptions(mode="add"))
    assert not np.array_equal(mixed.wave[100_000:110_000], noise[100_000:110_000])


@pytest.mark.parametrize("mode", ["replace", "add", "duck"])
def test_loudness_and_true_peak_are_as_asked(video, mode):
    options = MixOptions(mode=mode, loudness=-20.0, generated_level=12.0)
    mixed = mix_output(make_output(video[0]), options)
    reached, peak = ebur128.measure(mixed.wave, mixed.sample_rate)
    assert reached == pytest.approx(-20.0, abs=0.5) and peak <= -1.0
    assert mixed.report["loudness"] == pytest.approx(-20.0, abs=0.1)


@pytest.mark.parametrize("name", ["out.mp4", "out.webm"])
def test_the_encoded_sound_has_the_loudness_and_true_peak(tmp_path, name):
    """Codecs make noise softer: Opus by 0.8 LU here."""
    write_original(tmp_path / "in.mkv", 2, 48_000)
    mixed = mix_output(make_output(tmp_path / "in.mkv"), MixOptions(mode="add", loudness=-23.0))
    mixed.save(tmp_path / name)
    sound = media.read_sound(tmp_path / name, None, channels=None)
    reached, peak = ebur128.measure(sound.wave, sound.sample_rate)
    assert reached == pytest.approx(-23.0, abs=0.5) and peak <= -1.0
    assert not [line for line in mixed.report["warnings"] if "LUFS" in line]


def test_peaks_are_limited_where_speech_is_added_and_only_there(video):
    path, noise = video
    mixed = mix_output(make_output(path), MixOptions(mode="add", generated_level=20.0))
    assert ebur128.measure(mixed.wave, 44_100)[1] <= -1.0
    np.testing.assert_array_equal(mixed.wave[:20_000], noise[:20_000])


def test_stems_have_the_gain_of_the_whole(video):
    output = make_output(video[0])
    output = Output(**(vars(output) | {"stems": {"speech": output.wave}}))
    mixed = mix_output(output, MixOptions(mode="duck", loudness=-26.0))
    assert set(mixed.stems) == {"speech", ORIGINAL}
    total = mixed.stems["speech"] + mixed.stems[ORIGINAL]
    np.testing.assert_allclose(total, mixed.wave, atol=1e-5)
    replaced = mix_output(output, MixOptions(loudness=-26.0))
    np.testing.assert_allclose(replaced.stems["speech"], replaced.wave)


def test_without_options_nothing_changes(video):
    output = make_output(video[0])
    assert mix_output(output, MixOptions()) is output


def test_several_tracks_are_a_line_and_the_file_says_what_was_mixed(tmp_path):
    tone = fixtures.make_tone(SECONDS)[None]
    tracks = [("pcm_s16le", "mono", [(0, tone)]), ("pcm_s16le", "mono", [(0, 0 * tone)])]
    source = odd_media.write_media(tmp_path / "in.mkv", pictures=100, tracks=tracks)
    mixed = mix_output(make_output(source), MixOptions(mode="add"))
    assert any("found 2 audio tracks: number 1 is mixed" in n for n in mixed.report["warnings"])
    mixed.save(tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        comment = {k.lower(): v for k, v in file.metadata.items()}["comment"]
        assert "mixed with the video's own sound (add)" in comment


@pytest.mark.parametrize(
    ("seconds", "loud", "is_noted"), [(5, 1, True), (4.1, 1, False), (5, 0, False)]
)
def test_sound_behind_the_last_picture_is_a_line(tmp_path, seconds, loud, is_noted):
    tone = fixtures.make_tone(seconds)
    tone[round(SECONDS * RATE) :] *= loud
    tracks = [("pcm_s16le", "mono", [(0, tone[None])])]
    source = odd_media.write_media(tmp_path / "in.mkv", pictures=100, tracks=tracks)
    mixed = mix_output(make_output(source), MixOptions(mode="add"))
    line = (
        f"{source}: found 5.00 s of sound for a clip of 4.00 s: the rest of the sound is left out"
    )
    assert mixed.report["warnings"] == [line] * is_noted
    assert mixed.wave.shape == (round(SECONDS * RATE),)


def test_a_mix_in_a_video_keeps_rate_and_channels(tmp_path):
    write_original(tmp_path / "in.mkv", 6, 44_100)
    mixed = mix_output(make_output(tmp_path / "in.mkv"), MixOptions(mode="add"))
    for name in ("out.mp4", "out.wav"):
        mixed.save(tmp_path / name)
        header = media.read_header(tmp_path / name)
        assert header.sample_rate == 44_100
        assert len(media.read_track_header(tmp_path / name).channels) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "mix"}, "--mix: found 'mix'"),
        ({"duck_level": "-3"}, "--duck_level: found '-3', expected -60 to 60 dB"),
        ({"original_level": 100.0}, "--original_level: found 100, expected -60 to 60 dB"),
        ({"loudness": float("nan")}, "--loudness: found nan"),
        ({"loudness": 0.0}, "--loudness: found 0, expected -60 to -5 LUFS"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        MixOptions(**options).check(Request.parse(text="set blue"))


def test_requests_that_cannot_be_mixed(tmp_path, video):
    silent = fixtures.write_video(tmp_path / "in.mp4", sound=False)
    for request, options, message in (
        (Request.parse(text="a"), MixOptions(mode="add"), "found no --video"),
        (Request.parse(silent), MixOptions(mode="add"), "found no audio stream"),
        (Request.parse(video[0]), MixOptions(mode="duck"), "found neither --text"),
    ):
        with pytest.raises(InputError, match=message):
            options.check(request)
    write_original(tmp_path / "wide.mkv", 8, 8000, seconds=1.0)
    with pytest.raises(InputError, match="--loudness: found the channels"):
        MixOptions(mode="add", loudness=-23.0).check(Request.parse(tmp_path / "wide.mkv"))
