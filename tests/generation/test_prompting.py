"""Voice prompts: a recording is the kept start of every window and cut off the result."""

import numpy as np
import pytest
from helpers import fixtures
from helpers.synthetic_audio import reference_voice

from vssflow_jax import Generator, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import MONO_16K
from vssflow_jax.generation import synthesis
from vssflow_jax.generation.prompting import EncodedPrompt, VoicePrompt, encode_prompt
from vssflow_jax.generation.request import Request
from vssflow_jax.text.phonemes import pronounce, symbols_to_ids

RATE, TEXT, PROMPT = 16_000, "set blue at g nine now", "lay green in r two soon"
QUICK = {"steps": 2}


@pytest.fixture(scope="module")
def generator(tiny_run):
    return Generator.from_workdir(tiny_run)


@pytest.fixture(scope="module")
def ada(tmp_path_factory):
    """A recording of a voice."""
    path = tmp_path_factory.mktemp("voices") / "ada.wav"
    media.write_wav(path, reference_voice("ada", PROMPT))
    return path


def record_jobs(generator, monkeypatch):
    """Jobs of later calls, with their latents."""
    jobs, solve = [], generator.synthesizer._solve_job

    def record(job, *rest):
        jobs.append((job, solve(job, *rest)))
        return jobs[-1][1]

    monkeypatch.setattr(generator.synthesizer, "_solve_job", record)
    return jobs


def test_the_prompt_is_kept_before_the_speech_and_cut_off(generator, ada, monkeypatch):
    jobs = record_jobs(generator, monkeypatch)
    output = generator(text=TEXT, duration=2.0, prompt_audio=ada, prompt_text=PROMPT, **QUICK)
    ((job, latent),) = jobs
    prompt = job.prefix
    assert prompt / 25 == output.report["prompt_seconds"] == 1.8 and job.num_frames == 95
    assert np.flatnonzero(job.known.frames).tolist() == list(range(prompt))
    np.testing.assert_array_equal(latent[0, :prompt], job.known.latent[:prompt])
    plain = generator(text=TEXT, duration=2.0, speaker=ada, **QUICK)
    phonemes = job.records[0]["phonemes"]
    np.testing.assert_array_equal(phonemes[prompt:], jobs[1][0].records[0]["phonemes"])
    assert len(output.wave) == len(plain.wave) == 2 * RATE
    assert output.report["used"] == plain.report["used"] == ["speaker", "phonemes"]
    assert np.abs(output.wave - plain.wave).max() > 1e-2


def test_every_window_of_a_long_script_sees_the_prompt(generator, ada, monkeypatch):
    jobs = record_jobs(generator, monkeypatch)
    script = [{"text": TEXT, "start": start} for start in (0.5, 4.0)]
    output = generator(script=script, duration=7.0, prompt_audio=ada, prompt_text=PROMPT, **QUICK)
    ((job, _),) = jobs
    plan = job.plan_windows(100)
    assert len(output.wave) == 7 * RATE and len(plan.voice) > 3
    windows = synthesis.stack_windows(job, plan, generator.statistics)["features"]["phonemes"]
    for frames, phonemes in zip(plan.frames, windows, strict=True):
        np.testing.assert_array_equal(
            phonemes[: job.prefix], job.records[0]["phonemes"][: job.prefix]
        )
        assert frames[job.prefix] >= job.prefix


def test_phonemes_of_a_prompt_are_at_their_times(ada):
    """Silence at the ends is left out; the rest of a long recording is a line."""
    prompt = VoicePrompt(audio=ada, text=PROMPT)
    entire = encode_prompt(prompt, MONO_16K, 500, {}, "refuse")
    ids = [
        k for n, k in enumerate(entire.phonemes) if k and (n == 0 or k != entire.phonemes[n - 1])
    ]
    assert ids == symbols_to_ids(s for word in pronounce(PROMPT.split()) for s in word).tolist()
    assert len(entire.wave) == entire.prefix * 640 and entire.prefix % 5 == 0
    half = encode_prompt(prompt, MONO_16K, 60, {}, "refuse")
    assert half.prefix == 30
    np.testing.assert_array_equal(half.wave, entire.wave[: 30 * 640])
    np.testing.assert_array_equal(half.phonemes[:28], entire.phonemes[:28])
    assert "the first 1.2 s are the prompt" in half.notes[0]


def test_a_prompt_is_not_seen():
    """Conditions of a video begin behind it, at their own rates."""
    prompt = EncodedPrompt(wave=np.zeros(25 * 640), phonemes=np.full(25, 7, np.int32), notes=())
    record = {"clip": np.ones((20, 3)), "sync": np.ones((48, 2)), "speaker": np.ones(4)}
    extended = prompt.prepend(record, {"clip": 10.0, "sync": 24.0})
    for name, rows in {"clip": 10, "sync": 24}.items():
        np.testing.assert_array_equal(extended[name][rows:], record[name])
        assert extended[name][:rows].shape[0] == rows and not extended[name][:rows].any()
    assert extended["phonemes"].tolist() == [7] * 25 and extended["speaker"] is record["speaker"]


def test_a_prompt_beside_a_video(generator, ada, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    output = generator(video, TEXT, prompt_audio=ada, prompt_text=PROMPT, **QUICK)
    assert {"clip", "sync", "speaker"} < set(output.report["used"])
    assert len(output.wave) == 2 * RATE


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt_text": PROMPT}, "--prompt_text without --prompt_audio"),
        ({"prompt_audio": "a.wav"}, "--prompt_audio=a.wav: found no --prompt_text"),
        ({"prompt_audio": "a.wav", "prompt_text": " "}, "found no --prompt_text"),
        (
            {"prompt_audio": "a.wav", "prompt_text": "x", "text": None, "video": "in.mp4"},
            "without --text",
        ),
        ({"prompt_audio": "a.wav", "prompt_text": "x", "loop": True}, "beside --loop"),
        ({"prompt_audio": "a.wav", "prompt_text": "x", "keep": "b.wav"}, "beside --keep"),
        (
            {
                "prompt_audio": "a.wav",
                "prompt_text": "x",
                "text": None,
                "script": [{"text": "no"}, {"text": "no", "speaker": "b.wav"}],
            },
            "several voices",
        ),
    ],
)
def test_wrong_prompts_are_errors(fields, message):
    with pytest.raises(InputError, match=message):
        Request.parse(**{"text": TEXT, **fields})


def test_recordings_that_are_no_prompts_are_errors(generator, ada, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis.Synthesizer, "__call__", None)
    media.write_wav(tmp_path / "silent.wav", np.zeros(RATE, np.float32))
    media.write_wav(tmp_path / "short.wav", media.read_audio(ada)[RATE // 2 : RATE])
    words = " ".join(["extraordinary"] * 30)
    for name, text, message in (
        ("silent.wav", PROMPT, "found 0.00 s of speech, expected 0.6 s"),
        ("short.wav", PROMPT, "s of speech, expected 0.6 s"),
        (ada, words, "--prompt_text, --prompt_audio=.*ada.wav: aligner: found no way to say"),
        (ada, "♪", "--prompt_text, --prompt_audio=.*ada.wav: "),
    ):
        with pytest.raises(InputError, match=message):
            generator(text=TEXT, prompt_audio=tmp_path / name, prompt_text=text)
    with pytest.raises(InputError, match="--stems beside --prompt_audio"):
        generator(text=TEXT, prompt_audio=ada, prompt_text=PROMPT, stems=True)
