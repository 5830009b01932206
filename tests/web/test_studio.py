"""The page's work without a browser or a model: forms, errors, files that are deleted."""

import tempfile

import numpy as np
import pytest
from helpers import fixtures, odd_media

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.output import Output
from vssflow_jax.reports import plots
from vssflow_jax.web import studio as studio_module
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.studio import Form, Studio, render_spectrograms

RATE = 16_000


class NoiseGenerator:
    """A generator of noise that reports its progress and keeps its requests and options."""

    encoder_set = "built-in"

    def __init__(self):
        self.requests, self.options = [], []

    def generate_candidates(self, request, seeds, options, *, stems, progress):
        self.requests.append(request)
        self.options.append(options)
        progress(0.5)
        rng = np.random.default_rng(0)
        wave = rng.uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
        report = {
            "duration": 2.0, "used": ["clip"], "missing": ["lips"], "warnings": ["slow"],
            "alignment": [[0.5, 1.0, "AH0"]], "spans": [[0.5, 1.0]] * len(request.script),
        }  # fmt: skip
        both = request.video and request.script
        stems = {"speech": wave, "sound": wave} if both else {}
        return [Output(wave, RATE, report | {"seed": seed}, request.video, stems) for seed in seeds]


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    return Studio(NoiseGenerator(), Limits(megabytes=0.5, seconds=5, characters=20, side=100))


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def list_copies(tmp_path):
    return list((tmp_path / "work").rglob("*"))


def test_a_request_leaves_its_result_and_no_copies(studio, out, tmp_path):
    upload = fixtures.write_video(tmp_path / "..%2f..%2fetc passwd.mp4")
    form = Form(video=str(upload), text="set blue", candidates=2)
    *progress, result = studio.generate(form, out)
    assert progress == [0.0, 0.5]
    assert result.video.name == "result.mp4" and media.probe(result.video).has_audio
    names = {
        "result.mp4", "result.wav", "result.speech.wav", "result.sound.wav",
        "candidate2.mp4", "candidate2.wav", "candidate2.speech.wav", "candidate2.sound.wav",
    }  # fmt: skip
    assert {path.name for path in result.files} == names
    assert {path.name for path in out.iterdir()} == names
    for words in ("clip", "missing: lips", "Note: Slow."):
        assert words in result.summary
    assert "<img" in result.spectrograms
    assert studio.generator.requests[0].video.name == "video"
    assert list_copies(tmp_path) == []


def test_the_servers_policy_for_texts_is_that_of_its_requests(out):
    server = Studio(NoiseGenerator(), text_policy="skip")
    list(server.generate(Form(text="set blue"), out))
    assert server.generator.requests[0].text_policy == "skip"


def test_candidates_are_ranked_by_the_servers_recognizer(out, monkeypatch):
    class Ears:
        def rejects(self, text):
            return None

        def transcribe(self, waves):
            return ["good morning" for _ in waves]

    monkeypatch.setattr(studio_module, "load_recognizer", lambda name: {"whisper:x": Ears()}[name])
    server = Studio(NoiseGenerator(), recognizer="whisper:x")
    *_, result = server.generate(Form(text="good evening", candidates=2), out)
    assert result.summary.count("wer 0.50") == 2


def test_a_video_that_is_encoded_again_is_a_note(studio, out, tmp_path):
    upload = odd_media.write_media(tmp_path / "in.gif", codec="gif", pixels="rgb8")
    *_, result = studio.generate(Form(video=str(upload)), out)
    assert media.probe(result.video).has_audio
    assert "Note: The video: encoded again as H.264" in result.summary
    assert str(tmp_path) not in result.summary


def test_a_codec_without_decoder_is_a_sentence(studio, out, tmp_path):
    source = odd_media.write_media(tmp_path / "in.mp4")
    upload = odd_media.rename_codec(source, tmp_path / "unknown.mp4", b"avc1")
    with pytest.raises(InputError, match=r"The video: stream 0 .* zzzz, which cannot be decoded"):
        list(studio.generate(Form(video=str(upload)), out))
    assert not list(out.iterdir())


def test_a_cancelled_request_leaves_nothing(studio, out, tmp_path):
    upload = fixtures.write_video(tmp_path / "in.mp4")
    running = studio.generate(Form(video=str(upload), text="set blue"), out)
    next(running)
    assert list_copies(tmp_path)
    running.close()
    assert list_copies(tmp_path) == [] and list(out.iterdir()) == []


def test_a_failed_generation_leaves_nothing(studio, out, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(studio.generator, "generate_candidates", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(studio.generate(Form(text="set blue"), out))
    assert list_copies(tmp_path) == [] and list(out.iterdir()) == []


def test_scales_are_passed_on_with_none_for_the_common_scale(studio, out):
    scales = {"clip": None, "sync": 0.0}
    list(studio.generate(Form(text="set blue", guidance=3.0, scales=scales), out))
    (options,) = studio.generator.options
    assert options.guidance == 3.0 and options.scales == scales


def test_phonemes_are_marked_where_they_condition_the_sound(monkeypatch):
    """In the complete sound and in stems with that condition, whatever their names."""
    marked = []
    plot = plots.plot_spectrogram
    monkeypatch.setattr(plots, "plot_spectrogram", lambda *a: marked.append(a[3]) or plot(*a))
    monkeypatch.setattr(studio_module, "STEMS", {"sound of a voice": ("phonemes",), "rest": ()})
    wave, phonemes = fixtures.make_tone(1.0), [[0.1, 0.3, "AH0"]]
    report = {"duration": 1.0, "alignment": phonemes}
    for stems in ({"rest": wave, "sound of a voice": wave}, {"rest": wave}):
        render_spectrograms(Output(wave, RATE, report, None, stems))
    assert marked == [phonemes, (), phonemes, phonemes]


def wrong_forms(folder):
    (folder / "text.mp4").write_text("not a video")
    (folder / "large.mp4").write_bytes(bytes(600_000))
    media.write_wav(folder / "sound.mp4", fixtures.make_tone())
    long, wide = folder / "long.mp4", folder / "wide.mp4"
    media.write_video(long, fixtures.make_frames(6 * 25), 25)
    media.write_video(wide, fixtures.make_frames(10, width=160), 25)
    yield Form(video=str(folder / "text.mp4")), "The video: "
    yield Form(video=str(folder / "large.mp4")), "1 MB; this page takes up to 0.5"
    yield Form(video=str(folder / "sound.mp4")), "The video: "
    yield Form(video=str(folder / "gone.mp4")), "no longer there"
    yield Form(video=str(long)), "lasts 6 s; this page takes up to 5 s"
    yield Form(video=str(wide)), "160 x 48 pixels"
    yield Form(), "neither a video nor a text"
    yield Form(text="set blue", task="speech and lies"), "task"
    yield Form(task="speech"), "no text"
    yield Form(text="set blue " * 3), "27 characters; this page takes up to 20"
    yield Form(text="set blue", steps=10_000), "number of steps is 10000"
    yield Form(text="set blue", candidates=99), "number of candidates is 99"
    yield Form(text="set blue", seed=-1), "seed is -1"
    yield Form(text="set blue", duration=6.0), "duration is 6"
    yield Form(text="set blue", guidance=float("nan")), "guidance"
    yield Form(text="set blue", scales={"clip": 1e9}), "(clip)"
    yield Form(lines="0,1\n"), "line 1: found no text"
    for number in ("2", "../voice/1", "/etc"):
        form = Form(lines=f",,set,{number}", voices=[str(folder / "sound.mp4")])
        yield form, "expected the number of one of the voices"


def test_what_is_wrong_is_said_in_a_sentence(studio, out, tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    for form, words in wrong_forms(folder):
        with pytest.raises(InputError) as caught:
            list(studio.generate(form, out))
        message = str(caught.value)
        assert words in message, message
        assert str(tmp_path) not in message and "--" not in message
        assert list_copies(tmp_path) == [] and not studio.generator.requests


def test_lines_call_voices_by_their_numbers(studio, out, tmp_path):
    voice = tmp_path / "voice.wav"
    media.write_wav(voice, fixtures.make_tone())
    list(studio.generate(Form(lines="0,1,set\n1,,lay,3", voices=[voice, None, voice]), out))
    (request,) = studio.generator.requests
    names = [line.speaker and line.speaker.name for line in request.script]
    assert names == [None, "3"] and request.speaker.name == "1"


def test_a_preview_of_the_video(studio, tmp_path):
    strip, seconds = studio.preview(str(fixtures.write_video(tmp_path / "in.mp4")))
    assert "<img" in strip and seconds == pytest.approx(2.0, abs=0.05)
    assert studio.preview(None) == ("", 0.0)
