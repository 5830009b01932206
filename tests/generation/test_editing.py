"""Edits: what is kept is kept bit for bit, spans are generated anew, loops join, mistakes."""

import dataclasses

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax import Generator, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import MONO_16K, AudioFormat
from vssflow_jax.features.registry import encode_example
from vssflow_jax.generation import synthesis
from vssflow_jax.generation.conditioning import KEPT_VOICE, encode_request, read_voice
from vssflow_jax.generation.editing import FADE, Edit, KeptSound, join_loop, merge_spans
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import LOOP_DRAWS, score_join
from vssflow_jax.generation.sampling import NUM_SEEDS, SamplingOptions
from vssflow_jax.generation.synthesis import Job

RATE, TEXT = 16_000, "set blue at g nine now"
QUICK = {"steps": 2}


@pytest.fixture(scope="module")
def generator(tiny_run):
    return Generator.from_workdir(tiny_run)


@pytest.fixture(scope="module")
def first(generator, tmp_path_factory):
    """A generated file of four seconds."""
    path = tmp_path_factory.mktemp("keep") / "first.wav"
    generator(text=TEXT, duration=4.0, **QUICK).save(path)
    return path


def inside(wave, *spans):
    """Which samples are in one of the spans."""
    mask = np.zeros(len(wave), bool)
    for start, end in spans:
        mask[round(start * RATE) : round(end * RATE)] = True
    return mask


# ---- redo ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redo", "spans"),
    [
        ("1.0:2.0", [[1.0, 2.0]]),
        ([(3.013, 3.5), (0.5, 1.0)], [[0.5, 1.0], [3.013, 3.5]]),
        ("2.5:", [[2.5, 4.0]]),
        (":1,0.5:2", [[0.0, 2.0]]),
    ],
)
def test_outside_the_spans_a_sound_is_kept_bit_for_bit(generator, first, redo, spans):
    output = generator(text=TEXT, keep=first, redo=redo, seed=5, **QUICK)
    kept, redone = media.read_audio(first), inside(output.wave, *spans)
    np.testing.assert_array_equal(output.wave[~redone], kept[~redone])
    assert np.abs(output.wave - kept)[redone].max() > 1e-2
    assert output.report["generated"] == spans and output.report["kept"] == str(first)
    assert output.report["warnings"] == []


def test_an_empty_span_gives_the_kept_file(generator, first, tmp_path):
    generator(text=TEXT, keep=first, redo="2:2", seed=5, **QUICK).save(tmp_path / "out.wav")
    np.testing.assert_array_equal(media.read_audio(tmp_path / "out.wav"), media.read_audio(first))


def test_a_sound_is_kept_without_a_text_or_a_video(generator, first):
    output = generator(keep=first, redo="1:2", **QUICK)
    redone = inside(output.wave, (1, 2))
    np.testing.assert_array_equal(output.wave[~redone], media.read_audio(first)[~redone])


@pytest.mark.parametrize("options", [{"solver": "dopri5"}, {"guidance_start": 0.5}], ids=str)
def test_the_latent_is_kept_exactly(generator, first, options):
    latents = []
    with pytest.MonkeyPatch.context() as patch:
        solve = generator.synthesizer._solve_job
        patch.setattr(
            generator.synthesizer,
            "_solve_job",
            lambda job, *rest: latents.append((job.known, solve(job, *rest))) or latents[-1][1],
        )
        generator(text=TEXT, keep=first, redo="1.01:2.0", seed=5, **QUICK, **options)
    ((known, latent),) = latents
    assert np.flatnonzero(~known.frames).tolist() == list(range(25, 50))
    encoded = generator.codec.encode(media.read_audio(first)[None])[0][0]
    np.testing.assert_array_equal(latent[0][known.frames], known.latent[known.frames])
    np.testing.assert_allclose(known.latent, encoded, atol=1e-4)


def test_candidates_differ_in_the_span_alone(generator, first):
    request = Request.parse(text=TEXT, keep=first, redo="1:2")
    one, two = generator.generate_candidates(request, [3, 4], SamplingOptions(**QUICK))
    redone = inside(one.wave, (1, 2))
    np.testing.assert_array_equal(one.wave[~redone], two.wave[~redone])
    assert np.abs(one.wave - two.wave)[redone].max() > 1e-2


def test_a_span_of_a_long_clip_with_a_video(generator, tmp_path):
    """The clip has several windows; the kept sound is the video file's own."""
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=9)
    output = generator(video, TEXT, keep=video, redo="4:5.5", **QUICK)
    kept, redone = media.read_audio(video), inside(output.wave, (4, 5.5))
    np.testing.assert_array_equal(output.wave[~redone], kept[: len(redone)][~redone])
    assert "clip" in output.report["used"] and len(output.wave) == 9 * RATE


def test_another_text_in_the_span(generator, first):
    """Words outside the span stay where they are; those that a border cuts are named."""
    base = generator(text=TEXT, duration=4.0, **QUICK).utterances[0].words
    start, end = base[2].start, (base[4].start + base[4].end) / 2
    output = generator(text=TEXT, keep=first, redo=[(start, end)], redo_text="red by", **QUICK)
    before, new, after = output.utterances
    assert before.words == base[:2] and before.text == "set blue"
    assert [word.text for word in new.words] == ["red", "by"] and new.text == "red by"
    assert (new.start, new.end) == (pytest.approx(start), pytest.approx(end))
    assert after.text == "nine now" and after.start == pytest.approx(end)
    assert after.words[1] == base[5] and after.end == base[5].end
    symbols = [x[2] for x in output.report["alignment"] if start <= x[0] < end]
    assert symbols == ["R", "EH1", "D", "B", "AY1"]
    (warning,) = [line for line in output.report["warnings"] if "--redo: found borders" in line]
    assert f"within nine ({base[4].start:.2f} to {base[4].end:.2f} s)" in warning
    assert output.report["redo_text"] == "red by" and output.report["times"] == "requested"


def test_new_words_have_the_voice_that_is_kept(generator, first):
    """It is the embedding of the kept words alone, unless the request names a voice."""
    base = generator(text=TEXT, duration=4.0, **QUICK).utterances
    cut = base[0].words[3].start, base[0].words[3].end
    request = Request.parse(text=TEXT, keep=first, redo=[cut], redo_text="k", duration=4.0)
    kept = KeptSound.read(request.edit, 4.0, MONO_16K)

    def embed(request, kept):
        encoded = encode_request(
            request, generator.durations, generator.encoder_set, generator.statistics, kept
        )
        is_kept = encoded.describe().get("voice") == KEPT_VOICE
        assert is_kept == (request.speaker is None and "speaker" in encoded.record)
        return encoded.record.get("speaker")

    speech = media.read_audio(first)[inside(kept.wave, (base[0].start, base[0].end))
                                     & ~inside(kept.wave, cut)]  # fmt: skip
    expected = encode_example(speaker_wave=speech, encoder_set=generator.encoder_set)["speaker"]
    np.testing.assert_array_equal(embed(request, kept), expected)
    named = dataclasses.replace(request, speaker=first)
    of_file = read_voice(first, generator.encoder_set)[0]
    np.testing.assert_array_equal(embed(named, kept), of_file)
    assert np.abs(of_file - expected).max() > 1e-3
    for spans in ([(0.0, base[0].end)], [(base[0].start + 0.9, 4.0)]):
        assert embed(request, dataclasses.replace(kept, spans=spans)) is None


def test_borders_may_be_rounded_times_of_words(generator, first):
    """Nothing is left of the words in the span, and nothing is taken from those around it."""
    base = generator(text=TEXT, duration=4.0, **QUICK).utterances[0].words
    for shift in (-0.004, 0.004):
        span = base[2].start + shift, base[4].end - shift
        output = generator(text=TEXT, keep=first, redo=[span], redo_text="red by", **QUICK)
        assert output.report["warnings"] == []
        assert [line.text for line in output.utterances] == ["set blue", "red by", "now"]
        new = ["R", "EH1", "D", "B", "AY1"]
        before, behind = (
            [x.symbol for word in words for x in word.phonemes] for words in (base[:2], base[5:])
        )
        assert [x[2] for x in output.report["alignment"]] == before + new + behind


def test_a_text_that_does_not_fit_its_span_is_an_error(generator, first):
    with pytest.raises(InputError, match="--redo_text: text: found 15 phonemes"):
        generator(keep=first, redo="1:1.2", redo_text=TEXT)


# ---- extend -------------------------------------------------------------------------------


def test_a_sound_is_extended(generator, first):
    output = generator(text=TEXT, keep=first, duration=9.0, speech_start=5.0, **QUICK)
    assert output.report["generated"] == [[3.92, 9.0]] and len(output.wave) == 9 * RATE
    kept = media.read_audio(first)
    np.testing.assert_array_equal(output.wave[: round(3.92 * RATE)], kept[: round(3.92 * RATE)])
    assert np.abs(output.wave[round(4.5 * RATE) :]).max() > 1e-2


# ---- mixing -------------------------------------------------------------------------------


def keep_sound(wave, *spans, audio=MONO_16K):
    spans = merge_spans(spans)
    return KeptSound(wave=wave, audio=audio, spans=spans, duration=len(wave) / audio.sample_rate)


@pytest.mark.parametrize("shape", [(2 * RATE,), (2 * RATE, 2)])
def test_a_mix_fades_inside_the_borders_at_equal_power(shape):
    old, new = np.random.default_rng(0).normal(0, 0.1, (2, *shape)).astype(np.float32)
    audio = AudioFormat(RATE, len(shape))
    mixed = keep_sound(old, (0.5, 1.0), audio=audio).mix(new)
    gain = mixed[12_000] / new[12_000]
    redone, fade = inside(old, (0.5, 1.0)), round(FADE * RATE)
    np.testing.assert_array_equal(mixed[~redone], old[~redone])
    clear = inside(old, (0.5 + FADE, 1.0 - FADE))
    np.testing.assert_allclose(mixed[clear], new[clear] * gain, atol=1e-6)
    for start in (8000, 16_000 - fade):
        power = np.square(mixed[start : start + fade]).mean()
        assert power == pytest.approx(0.01, rel=0.25)
    np.testing.assert_allclose(keep_sound(old, (0.5, 1.0), audio=audio).mix(old), old, atol=1e-6)


def test_a_mix_has_the_level_of_what_is_kept():
    """Some codecs normalize the level of what they decode."""
    wave = np.random.default_rng(0).normal(0, 0.02, RATE).astype(np.float32)
    np.testing.assert_allclose(keep_sound(wave, (0.2, 0.6)).mix(9 * wave), wave, atol=1e-6)
    silence = np.zeros(RATE, np.float32)
    mixed = keep_sound(silence, (0.2, 0.6)).mix(wave)
    np.testing.assert_array_equal(mixed[inside(wave, (0.3, 0.5))], wave[inside(wave, (0.3, 0.5))])


def test_spans_that_touch_are_joined():
    assert merge_spans([(3, 4), (1, 1), (0, 2), (2, 2.5)]) == [(0, 2.5), (3, 4)]


# ---- loops --------------------------------------------------------------------------------


def solve_job(generator, job):
    """The latents of a job, without the decoding."""
    sampling = SamplingOptions(**QUICK).resolve(generator.config)
    return np.asarray(
        generator.synthesizer._solve_job(job, job.plan_windows(100), sampling, watch=None)
    )


def test_a_loop_has_no_place_where_it_begins(generator, monkeypatch):
    """Noise that is shifted round by a window gives the same latent, shifted round."""
    record = {"phonemes": np.full(100, 7, np.int32)}
    job = Job(records=[record], noise_ids=["a"], seeds=[0], num_frames=100, is_loop=True)
    loop, straight = (
        solve_job(generator, job),
        solve_job(generator, dataclasses.replace(job, is_loop=False)),
    )
    draw = synthesis.draw_noises
    monkeypatch.setattr(synthesis, "draw_noises", lambda *args: np.roll(draw(*args), 50, axis=1))
    rolled = solve_job(generator, job)
    np.testing.assert_allclose(rolled, np.roll(loop, 50, axis=1), atol=1e-4)
    assert np.abs(loop - straight).max() > 1e-3


def test_the_conditions_of_a_loop_are_shifted_with_its_windows(generator, monkeypatch):
    record = {"phonemes": np.arange(100, dtype=np.int32) % 60}
    job = Job(records=[record], noise_ids=["a"], seeds=[0], num_frames=100, is_loop=True)
    loop = solve_job(generator, job)
    draw = synthesis.draw_noises
    monkeypatch.setattr(synthesis, "draw_noises", lambda *args: np.roll(draw(*args), 50, axis=1))
    shifted = dataclasses.replace(job, records=[{"phonemes": np.roll(record["phonemes"], 50)}])
    np.testing.assert_allclose(solve_job(generator, shifted), np.roll(loop, 50, axis=1), atol=1e-4)


def test_conditions_wrap_at_their_own_rates():
    rates = {"clip": 10.0, "sync": 24.0, "phonemes": 25.0}
    record = {
        "clip": np.arange(40)[:, None],
        "sync": np.arange(96)[:, None],
        "phonemes": np.arange(90),
        "speaker": np.ones(3),
    }
    frames = np.arange(50, 150) % 100
    cropped = synthesis.crop_record(record, frames, rates)
    np.testing.assert_array_equal(cropped["clip"][:, 0], np.roll(np.arange(40), -20))
    np.testing.assert_array_equal(cropped["sync"][:, 0], np.roll(np.arange(96), -48))
    expected = np.roll(np.pad(np.arange(90), (0, 10)), -50)  # the record ends early
    np.testing.assert_array_equal(cropped["phonemes"], expected)
    assert cropped["speaker"] is record["speaker"]


def test_the_end_of_a_loop_goes_on_at_its_start(generator):
    """The step from the last sample to the first is among the steps around it."""
    output = generator(text=TEXT, duration=3.03, loop=True, **QUICK)
    steps = np.abs(np.diff(np.concatenate([output.wave, output.wave[:1]])))
    assert steps[-1] <= max(steps[-200:-1].max(), steps[:200].max())
    assert len(output.wave) == 3.04 * RATE and output.report["loop"] is True
    assert "--loop: found a --duration of 3.03 s, which is 3.04 s" in output.report["warnings"][0]


def test_a_loop_is_the_best_of_several_and_its_seed_gives_it_again(generator):
    """Seeds count on from the first one, and beyond the last one there is from 0."""
    first = NUM_SEEDS - 2
    output = generator(text=TEXT, duration=2.0, loop=True, seed=first, **QUICK)
    request = Request.parse(text=TEXT, duration=2.0, loop=True)
    seeds = [(first + number) % NUM_SEEDS for number in range(LOOP_DRAWS)]
    draws = generator.generate_candidates(request, seeds, SamplingOptions(**QUICK))
    joins = [score_join(draw) for draw in draws]
    best = joins.index(min(joins))
    assert output.report["scores"] == {"loop_join": joins[best]} and len(set(joins)) > 1
    assert (output.report["seed"], output.report["draws"]) == (seeds[best], LOOP_DRAWS)
    np.testing.assert_array_equal(output.wave, draws[best].wave)
    (alone,) = generator.generate_candidates(request, [seeds[best]], SamplingOptions(**QUICK))
    assert "draws" not in alone.report
    assert np.corrcoef(alone.wave, output.wave)[0, 1] > 0.98
    with pytest.raises(InputError, match="--seed: found -1"):
        generator(text=TEXT, loop=True, seed=-1)


def test_the_start_of_a_loop_is_what_goes_on_behind_its_end():
    wave, behind = np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32)
    loop, fade = join_loop(wave, behind, RATE), round(FADE * RATE)
    np.testing.assert_array_equal(loop[fade:], wave[fade:])
    assert abs(loop[0] - behind[0]) < 0.01 < abs(loop[0] - wave[0])


# ---- files in other formats -------------------------------------------------------------------


def test_a_file_in_another_format_is_converted_with_a_line(generator, first, tmp_path):
    wave = media.read_audio(first)
    stereo = np.repeat(np.stack([wave, wave], 1), 2, axis=0)
    media.write_wav(tmp_path / "stereo.wav", stereo, 2 * RATE)
    output = generator(text=TEXT, keep=tmp_path / "stereo.wav", redo="1:2", **QUICK)
    assert "found 32000 Hz stereo, expected 16000 Hz mono" in output.report["warnings"][0]
    assert len(output.wave) == len(wave)
    rest = ~inside(wave, (1, 2))
    assert np.corrcoef(output.wave[rest], wave[rest])[0, 1] > 0.95


def test_an_end_that_rounding_cuts_is_a_line(generator, first, tmp_path):
    wave = np.pad(media.read_audio(first), (0, 320))
    media.write_wav(tmp_path / "longer.wav", wave)
    output = generator(text=TEXT, keep=tmp_path / "longer.wav", redo="1:2", duration=4.0, **QUICK)
    assert "left out the last 20 ms" in output.report["warnings"][0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"redo": "1:2"}, "--redo without --keep"),
        ({"keep": "first.wav"}, "found --keep of 4 s without --redo"),
        ({"keep": "first.wav", "redo": "3:5"}, "found 3:5, expected a span within 0 to 4 s"),
        ({"keep": "first.wav", "redo": "5:"}, "found 5:, expected a span within 0 to 4 s"),
        ({"keep": "first.wav", "redo": "1:2", "duration": 3.5}, "found 4.00 s of sound"),
        ({"keep": "first.wav", "redo": "1:2", "duration": 2.0}, "found more than 3.00 s of sound"),
        ({"keep": "first.wav", "redo": "1:2", "stems": True}, "--stems beside --keep"),
        ({"keep": "nowhere.wav", "redo": "1:2"}, "nowhere.wav"),
        ({"keep": "empty.wav", "redo": "1:2"}, "empty.wav"),
        ({"loop": True, "duration": 0.8}, "--loop: found 0.8 s, expected at least 1 s"),
    ],
)
def test_mistakes_are_found_before_the_generation(generator, first, fields, message, monkeypatch):
    monkeypatch.chdir(first.parent)
    media.write_wav("empty.wav", np.zeros(0, np.float32))
    monkeypatch.setattr(synthesis.Synthesizer, "__call__", None)
    text = None if "keep" in fields else "no"
    with pytest.raises(InputError, match=message):
        generator(text=text, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"redo": "2"}, "--redo: found '2', expected seconds such as 2.0:3.5"),
        ({"redo": "a:b"}, "--redo: found 'a:b'"),
        ({"redo": [(1, 2, 3)]}, r"--redo: found \(1, 2, 3\)"),
        ({"redo": [5]}, "--redo: found 5"),
        ({"redo": "3:2"}, "--redo: found '3:2', expected a start of 0 or more before the end"),
        ({"redo": "-1:2"}, "--redo: found '-1:2'"),
        ({"redo": "nan:2"}, "--redo: found 'nan:2'"),
        ({"redo": "inf:inf"}, "--redo: found 'inf:inf'"),
        ({"redo": ["0:1"] * 1001}, "found 1001 spans"),
        ({"redo": "1:2", "redo_text": " "}, "--redo_text: found ' '"),
        ({"redo": "1:2,3:4", "redo_text": "no"}, "--redo_text: found 2 spans in --redo"),
        ({"redo_text": "no"}, "--redo_text: found 0 spans in --redo"),
        ({"redo": "1:2", "loop": True}, "--loop beside --keep"),
    ],
)
def test_wrong_edits_are_errors(fields, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Edit.parse(tmp_path, **fields)


def test_known_frames_are_those_that_no_span_touches():
    kept = keep_sound(np.zeros(2 * RATE, np.float32), (0.5, 0.58), (1.01, 1.02))
    frames = kept.find_known_frames(60)
    assert np.flatnonzero(~frames).tolist() == [12, 13, 14, 25, *range(50, 60)]
